"""Resolvers: of each kind of input that is looked up at submit there is one, which finds out what its objects are.

To add a kind, write a Resolver in a module of its own here, and name it in orchestrator/assembly.py. It gives all
objects, each with its part (orchestrator/rules/inputs/partitions.py) and with a path that can be; what is common to all
kinds, their number and size and where their list is kept, is done here.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from msgspec.structs import replace

from orchestrator.inputs.listings import Listings
from orchestrator.inputs.problems import InputsNotReady, InputTooLarge, TooManyObjects
from orchestrator.rules.frozen_inputs import EVERY_PART, FrozenInputs, FrozenSource
from shared.jobs.inputs.kinds import is_managed
from shared.jobs.quantities import parse_bytes
from shared.jobs.spec import Job, SpecConfig
from shared.runtime.aio import pipelined

LOOK_UP_SECONDS = 30.0
"""For all inputs of one job."""
MAX_OBJECTS = 100_000
"""Of all inputs of one job: as many as one tree of sent data may have."""
MOST_AT_ONCE = 300_000
"""Objects of all jobs that are being submitted, which take some 120 MB: as many as three of the largest have."""
AT_ONCE = 8
"""Inputs of one job that are looked up at the same time."""


class Resolver(Protocol):
    async def resolve(self, namespace: str, source: SpecConfig, count: int) -> FrozenSource:
        """What a source of a job of `count` parts is now. Raises a TarponError that names it in its author's words.

        `objects` are all of them, however many there are, and `count` and `size_bytes` may be left out.
        """
        ...


class InputResolvers:
    """By kind, as shared/jobs/inputs/kinds.py names them. `size_limit` is how much one execution may read."""

    def __init__(self, resolvers: Mapping[str, Resolver], listings: Listings, *, size_limit: str) -> None:
        self._resolvers = resolvers
        self._listings = listings
        self._size_limit = size_limit
        self._held = 0
        """Objects that jobs have whose lists are not stored yet."""

    def __repr__(self) -> str:
        return f"<InputResolvers of {', '.join(self._resolvers)}>"

    async def look_up(self, job: Job) -> FrozenInputs:
        """What the inputs of a job are, before any list is stored.

        Raises what its resolvers raise, InputTooLarge, TooManyObjects.
        """
        with self._counted() as count:
            return await self._look_up(job, count)

    async def _look_up(self, job: Job, count: Callable[[int], None]) -> FrozenInputs:
        sources = [each.source for each in job.task.input_sources]
        if not any(is_managed(each) and each.type in self._resolvers for each in sources):
            return ()
        found = [FrozenSource()] * len(sources)

        async def resolve(number: int) -> None:
            if (resolver := self._resolvers.get(sources[number].type)) is not None:
                found[number] = await resolver.resolve(job.namespace, sources[number], job.count or 1)
                count(len(found[number].objects))
                if sum(len(each.objects) for each in found) > MAX_OBJECTS:
                    raise TooManyObjects("of the job", MAX_OBJECTS)

        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                await pipelined(range(len(sources)), resolve, at_once=AT_ONCE)
        except TimeoutError:
            raise InputsNotReady("of the job", f"that takes more than {LOOK_UP_SECONDS:.0f} s.") from None
        inputs = tuple(await asyncio.to_thread(lambda: [_summed(each) for each in found]))
        await asyncio.to_thread(self._check_sizes, job, inputs)
        return inputs

    async def freeze(self, job: Job) -> FrozenInputs:
        """As they go into a record: long lists are in the bucket by then. Raises as look_up and Listings.keep do."""
        with self._counted() as count:
            return await self._listings.keep(job.namespace, await self._look_up(job, count))

    @contextmanager
    def _counted(self) -> Iterator[Callable[[int], None]]:
        """What counts objects that are in memory for as long as this. It raises InputsNotReady for too many."""
        mine = 0

        def count(objects: int) -> None:
            nonlocal mine
            mine += objects
            self._held += objects
            if self._held > MOST_AT_ONCE:
                raise InputsNotReady("of the job", "those of too many jobs are being looked up.")

        try:
            yield count
        finally:
            self._held -= mine

    async def remove(self, sources: Sequence[FrozenSource]) -> None:
        """Their lists, which no job names."""
        if sources:
            await self._listings.remove(sources)

    def _check_sizes(self, job: Job, inputs: FrozenInputs) -> None:
        sizes: Counter[int] = Counter()
        for source in inputs:
            for each in source.objects:
                sizes[each.part] += each.size
        most = max((size for part, size in sizes.items() if part != EVERY_PART), default=0) + sizes[EVERY_PART]
        limit, disk = parse_bytes(self._size_limit), job.task.resources.disk
        if most > limit:
            raise InputTooLarge("One execution", most, f"InputSources.SizeLimit={self._size_limit}", limit)
        if disk and most > parse_bytes(disk) > 0:
            raise InputTooLarge("One execution", most, f"the task's Resources.Disk={disk}", parse_bytes(disk))


def _summed(source: FrozenSource) -> FrozenSource:
    if not source.objects or source.count:
        return source
    return replace(source, count=len(source.objects), size_bytes=sum(each.size for each in source.objects))
