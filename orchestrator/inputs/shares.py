"""Shares: which objects one execution reads of the inputs of its job, in the order in which a node is given them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from orchestrator.inputs.listings import Listings
from orchestrator.rules.frozen_inputs import FrozenObject, FrozenSource
from orchestrator.rules.location import Location
from orchestrator.rules.records import ExecutionRecord
from orchestrator.state.model import Model
from shared.jobs.spec import SpecConfig


class ReadObject(NamedTuple):
    """One object, and how its bucket is reached. Of an `archive` a task sees what is in it, or these `members`."""

    location: Location
    object: FrozenObject
    archive: bool = False
    members: tuple[str, ...] = ()


class SourceShare(NamedTuple):
    """What an execution reads of the input of this number."""

    number: int
    objects: Sequence[ReadObject] | Sequence[FrozenObject]
    location: Location | None
    size_bytes: int

    def read(self, begin: int, end: int) -> list[ReadObject]:
        """Some of them."""
        return [
            each if isinstance(each, ReadObject) else ReadObject(_known(self.location), each)
            for each in self.objects[begin:end]
        ]


ArchivesOf = Callable[[SpecConfig, FrozenSource], Sequence[ReadObject]]
"""The results that an input of kind `result` is, which are known once its job has ended."""


def no_archives(_source: SpecConfig, _frozen: FrozenSource) -> Sequence[ReadObject]:
    return ()


class Shares:
    def __init__(self, model: Model, listings: Listings, archives_of: ArchivesOf = no_archives) -> None:
        self._model = model
        self._listings = listings
        self._archives_of = archives_of

    def __repr__(self) -> str:
        return f"<Shares by {self._listings!r}>"

    async def of(self, record: ExecutionRecord) -> list[SourceShare]:
        """Of each input that nodes are given, in order. Raises ListingDamaged, StorageUnavailable."""
        entry = self._model.jobs.get(record.job_id)
        spec = entry.specs.get(record.job_version) if entry is not None else None
        if entry is None or spec is None:
            return []
        shares: list[SourceShare] = []
        for number, frozen in enumerate(entry.inputs(record.job_version)):
            if frozen.job:
                archives = self._archives_of(spec.task.input_sources[number].source, frozen)
                shares.append(SourceShare(number, archives, None, sum(each.object.size for each in archives)))
            elif frozen.count:
                share = (await self._listings.of(frozen)).share_of(record.partition)
                shares.append(SourceShare(number, share.objects, frozen.location, share.size_bytes))
        return shares


def _known(location: Location | None) -> Location:
    assert location is not None, "objects that are listed have a place"
    return location
