"""Shares of inputs: which objects one execution reads, in the order in which a node is given them."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from orchestrator.inputs.listings import Listings
from orchestrator.rules.frozen_inputs import FrozenObject, FrozenSource
from orchestrator.rules.location import Location
from orchestrator.rules.records import ExecutionRecord
from orchestrator.state.model import Model
from shared.errors import Damaged, GrantRefused, StorageUnavailable
from shared.ids import ExecutionId
from shared.jobs.inputs.kinds import is_managed
from shared.jobs.spec import SpecConfig
from shared.protocol.objects import listing_digest
from shared.protocol.rest import InputsView

SHOWN_NAMES = 3
SHOWN_CHARACTERS = 100
SHOWN_SECONDS = 3.0
"""Who looks at executions does not wait for S3 for long."""


class InputsUnknown(Damaged):
    """A task is never begun without what it was to read."""

    def __init__(self, execution: str) -> None:
        super().__init__(
            f"Which objects the inputs of execution {execution} are is not recorded.",
            hint="Submit the job again, by which its inputs are looked up anew.",
        )


class ReadObject(NamedTuple):
    """One object, and how its bucket is reached. Of an `archive` a task sees what is in it, or these `members`.

    The index beside that is told where a node needs it to find these, and is there.
    """

    location: Location
    object: FrozenObject
    archive: bool = False
    members: tuple[str, ...] = ()
    index_bytes: int = 0
    index_sha256: str = ""


class SourceShare(NamedTuple):
    """What an execution reads of the input of this number.

    `listed` is what is the same for the same part of the same list, and for nothing else; empty where the objects are
    few, or not all of them are known to have the same bytes whenever they are read.
    """

    number: int
    objects: Sequence[ReadObject] | Sequence[FrozenObject]
    location: Location | None
    size_bytes: int
    listed: str = ""

    @property
    def is_of_archives(self) -> bool:
        return any(each.archive for each in self.read(0, 1))

    def read(self, begin: int, end: int) -> list[ReadObject]:
        """Some of them."""
        return [
            each if isinstance(each, ReadObject) else ReadObject(_known(self.location), each)
            for each in self.objects[begin:end]
        ]


def list_name(listing: str, part: int) -> str:
    """What is the same for that part of all lists that say the same as the one of this key."""
    return f"{part} of {listing_digest(listing)}"


ArchivesOf = Callable[[SpecConfig, FrozenSource], Sequence[ReadObject]]
"""The results that an input of kind `result` is, once its job has ended. Raises GrantRefused where they are gone."""


def no_archives(_source: SpecConfig, _frozen: FrozenSource) -> Sequence[ReadObject]:
    return ()


class InputShares:
    def __init__(self, model: Model, listings: Listings, archives_of: ArchivesOf = no_archives) -> None:
        self._model = model
        self._listings = listings
        self._archives_of = archives_of

    def __repr__(self) -> str:
        return f"<InputShares by {self._listings!r}>"

    async def of(self, record: ExecutionRecord) -> list[SourceShare]:
        """Of each input that nodes are given, in order. Raises InputsUnknown, ListingDamaged, StorageUnavailable."""
        entry = self._model.jobs.get(record.job_id)
        spec = entry.specs.get(record.job_version) if entry is not None else None
        if entry is None or spec is None:
            raise InputsUnknown(record.id)
        inputs, shares = entry.inputs(record.job_version), list[SourceShare]()
        known = {number for number, frozen in enumerate(inputs) if frozen.job or frozen.count}
        if any(is_managed(each.source) and n not in known for n, each in enumerate(spec.task.input_sources)):
            raise InputsUnknown(record.id)  # nothing is not what they are
        for number, frozen in enumerate(inputs):
            if frozen.job:
                archives = self._archives_of(spec.task.input_sources[number].source, frozen)
                shares.append(SourceShare(number, archives, None, sum(each.object.size for each in archives)))
            elif frozen.count:
                share = (await self._listings.of(frozen)).share_of(record.partition)
                listed = list_name(frozen.listing, share.part) if frozen.listing and share.is_known else ""
                shares.append(SourceShare(number, share.objects, frozen.location, share.size_bytes, listed))
        return shares

    async def shown(self, records: Sequence[ExecutionRecord]) -> dict[ExecutionId, InputsView]:
        """Of those of one job that read any, as far as S3 tells that by now."""
        found: dict[ExecutionId, InputsView] = {}
        with suppress(TimeoutError, Damaged, GrantRefused, StorageUnavailable):
            async with asyncio.timeout(SHOWN_SECONDS):
                for record in records:
                    if shares := await self.of(record):
                        found[record.id] = _view(shares)
        return found


def _view(shares: Sequence[SourceShare]) -> InputsView:
    first = [each.object for share in shares for each in share.read(0, SHOWN_NAMES)]
    names = [(each.path or each.key)[:SHOWN_CHARACTERS] for each in first]
    return InputsView(
        files=sum(len(each.objects) for each in shares),
        size=sum(each.size_bytes for each in shares),
        names=tuple(names[:SHOWN_NAMES]),
    )


def _known(location: Location | None) -> Location:
    assert location is not None, "objects that are listed have a place"
    return location
