"""Nodes at hand: which ones say that they keep what a part of a job reads, those that keep the most of it first."""

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple

from orchestrator.inputs.contents import content_of, content_of_list, content_of_listed
from orchestrator.inputs.shares import ArchivesOf, SourceShare
from orchestrator.nodes.input_keepers import InputKeepers
from orchestrator.rules.frozen_inputs import EVERY_PART, FrozenSource
from orchestrator.rules.placement import Wanted
from orchestrator.state.model import Model
from shared.errors import GrantRefused
from shared.ids import JobId, NodeId
from shared.jobs.inputs.kinds import ResultInputParams, read_params
from shared.jobs.spec import SpecConfig
from shared.protocol.nodes.inputs import LARGE_BYTES, held_name, kept_name, kept_view_name

MOST_LOOKED_AT = 8
MOST_READ = 256
"""Objects of one input, or parts of one result, that are looked for."""
KNOWN_SECONDS = 1.0
"""What is the same for all parts of a job is found out so often."""
MOST_PASSED = 16_384
"""Executions of jobs that are passed to find results, in that time: then there is no preference, as a plan waits."""
LEAST_PASSED = 16
"""Each look counts as so many at least, so that no more is remembered than MOST_PASSED divided by this."""

_NOWHERE = Counter[NodeId]()


class _Known(NamedTuple):
    """What all parts of a job read, where it is kept, and the inputs of which each part reads its own."""

    kept: Counter[NodeId]
    best: Sequence[NodeId]
    divided: Sequence[FrozenSource]


class InputNodes:
    """Does not wait for anything: of a list that is in the bucket it is known what it is called, not what it says.

    `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        model: Model,
        keepers: InputKeepers,
        archives_of: ArchivesOf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self.keepers = keepers
        self._archives_of = archives_of
        self._clock = clock
        self._jobs: dict[tuple[JobId, int], _Known] = {}
        self._results: dict[Hashable, Counter[NodeId]] = {}
        self._left, self._until = 0, float("-inf")

    def __repr__(self) -> str:
        return f"<InputNodes by {self.keepers!r}>"

    def of(self, wanted: Wanted, part: int) -> Sequence[NodeId]:
        if not wanted.job.task.input_sources or not self.keepers.are_any:
            return ()
        known = self._of_all_parts(wanted)
        if not known.divided:
            return known.best
        kept = known.kept.copy()
        for frozen in known.divided:
            kept += self._keepers_of(_names(frozen, part))
        return _best(kept)

    def _of_all_parts(self, wanted: Wanted) -> _Known:
        if (now := self._clock()) >= self._until:
            self._jobs.clear()
            self._results.clear()
            self._left, self._until = MOST_PASSED, now + KNOWN_SECONDS
        known = self._jobs.get((wanted.job_id, wanted.version))
        if known is None:
            known = self._looked_for(wanted)
            if len(self._jobs) < MOST_PASSED // LEAST_PASSED:
                self._jobs[wanted.job_id, wanted.version] = known
        return known

    def _looked_for(self, wanted: Wanted) -> _Known:
        entry, kept = self._model.jobs.get(wanted.job_id), Counter[NodeId]()
        inputs = entry.inputs(wanted.version) if entry is not None else ()
        divided: list[FrozenSource] = []
        for each, frozen in zip(wanted.job.task.input_sources, inputs, strict=False):  # none where none had to be found
            if frozen.job:
                kept += self._keepers_of_result(each.source, frozen)
            elif frozen.listing or any(found.part != EVERY_PART for found in frozen.objects):
                divided.append(frozen)
            else:
                kept += self._keepers_of(_names(frozen, EVERY_PART))
        return _Known(kept, _best(kept), divided)

    def _keepers_of_result(self, source: SpecConfig, frozen: FrozenSource) -> Counter[NodeId]:
        key = (frozen.job, frozen.job_version, read_params(source, ResultInputParams).paths)
        known = self._results.get(key)
        if known is not None or self._left <= 0:
            return known or _NOWHERE
        entry = self._model.jobs.get(frozen.job)
        self._left -= max(LEAST_PASSED, len(entry.executions) if entry is not None else 0)
        try:
            archives = self._archives_of(source, frozen)
        except GrantRefused:  # it has gone meanwhile
            archives = ()
        share = SourceShare(0, archives, None, sum(each.object.size for each in archives))
        known = self._results[key] = self._keepers_of(_names_of(share))
        return known

    def _keepers_of(self, names: Iterator[tuple[str, int]]) -> Counter[NodeId]:
        """And how many bytes of it each has at least."""
        found = Counter[NodeId]()
        for name, size_bytes in names:
            for node in self.keepers.of(held_name(name)):
                found[node] = max(found[node], size_bytes, 1)
        return found


def _best(kept: Counter[NodeId]) -> Sequence[NodeId]:
    return [node for node, _ in kept.most_common(MOST_LOOKED_AT)]


def _names(frozen: FrozenSource, part: int) -> Iterator[tuple[str, int]]:
    """By what nodes may keep what a part reads, and how much that is."""
    if frozen.listing and frozen.location is not None:
        for each in (part, EVERY_PART):
            yield kept_view_name(content_of_listed(frozen.location, frozen.listing, each)), frozen.size_bytes
        return
    objects = [each for each in frozen.objects if each.part == part]
    objects = objects or [each for each in frozen.objects if each.part == EVERY_PART]
    yield from _names_of(SourceShare(0, objects, frozen.location, sum(each.size for each in objects)))


def _names_of(share: SourceShare) -> Iterator[tuple[str, int]]:
    """The same, as a view or as a large file."""
    if len(share.objects) <= MOST_READ and (content := content_of_list(share)):
        yield kept_view_name(content), share.size_bytes
    for read in share.read(0, MOST_READ):
        if read.object.size >= LARGE_BYTES and (content := content_of(read)):
            yield kept_name(content), read.object.size
