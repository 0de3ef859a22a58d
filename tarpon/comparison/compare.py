"""Comparing the results of two jobs or executions: by their manifests first, and then by ranges of what differs."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from shared.errors import InvalidInput
from shared.extraction.manifest_reading import ManifestDamaged
from shared.extraction.placement_rules import own_umask
from shared.extraction.tar_reader import Member
from shared.ids import is_like_id
from shared.protocol.rest import ResultParams
from tarpon.archive.contents import ENTRIES_AT_ONCE
from tarpon.archive.links import files_behind
from tarpon.comparison.entries import ALL_MODES, EntryDifference, differences
from tarpon.comparison.first_difference import Content, FirstDifference, first_difference
from tarpon.comparison.local_folder import LocalFolder
from tarpon.comparison.source import ComparedSource, opened_source
from tarpon.comparison.views import ComparedResult, Comparison, PathDifference, ResultComparison, path_view
from tarpon.http.orchestrator_calls import OrchestratorCalls
from tarpon.results.offered import chosen_version, offered, only
from tarpon.transfer.download import in_thread

SHOWN = 20
"""Differences that are listed, of all results together, unless the caller wants another number."""
MOST_SHOWN = 10_000
FILES_AT_ONCE = 32
"""Are looked for together, as each time all entries are gone through."""
_EXECUTION = "e-"


class _Meant(NamedTuple):
    """The results of `job`, or that of one of its executions."""

    job: str
    results: Sequence[ResultParams]
    is_execution: bool


async def compare_results(
    client: OrchestratorCalls,
    first: str | Path,
    second: str | Path,
    *,
    executions: Sequence[str] = (),
    namespace: str = "",
    limit: int = SHOWN,
) -> Comparison:
    """Compare the results of two jobs part by part, or of two executions by their whole ids.

    `executions` are ids, or beginnings of some: one for each of the jobs, in their order, which may be the same job.
    A Path is a folder on this machine, such as one that get_results has made: what this user's umask takes from modes
    does not count then. At most `limit` differences are listed, and counted all of them; of files that differ in their
    content the first bytes that do are looked for. In memory are one entry and some MiB of each. Raises what list_files
    raises, ManifestDamaged where a manifest is not that of its result, NotInOrder, TooManyFilesToRead and OSError.
    """
    if not 0 <= limit <= MOST_SHOWN:
        raise InvalidInput(f"{limit} differences cannot be listed; the limit is between 0 and {MOST_SHOWN:,}.")
    jobs = [each for each in (first, second) if isinstance(each, str) and not _is_execution(each)]
    if executions and len(executions) != len(jobs):
        raise InvalidInput(f"{len(executions)} executions are named, and {len(jobs)} jobs: name one of each.")
    named = iter(executions)
    one, other = [await _meant(client, each, namespace, named) for each in (first, second)]
    if isinstance(one, LocalFolder) or isinstance(other, LocalFolder):
        return await _with_folder(client, one, other, namespace, limit)
    pairs, only_first, only_second = _pairs(one, other)
    compared: list[ResultComparison] = []
    for left, right in pairs:
        if left.content_digest and left.content_digest == right.content_digest:
            compared.append(_same(left, right))
            continue
        shown = sum(len(each.differences) for each in compared)
        async with (
            opened_source(client, one.job, left, namespace=namespace) as source,
            opened_source(client, other.job, right, namespace=namespace) as beside,
        ):
            told = ComparedResult.of(left), ComparedResult.of(right)
            compared.append(await compare_sources(told, source, beside, limit - shown))
    are_equal = not (only_first or only_second or any(each.differing for each in compared))
    return Comparison(equal=are_equal, results=tuple(compared), only_first=only_first, only_second=only_second)


async def _with_folder(
    client: OrchestratorCalls, one: "_Meant | LocalFolder", other: "_Meant | LocalFolder", namespace: str, limit: int
) -> Comparison:
    mask = 0o777 & ~own_umask()
    async with (
        _opened(client, one, namespace) as (first, source),
        _opened(client, other, namespace) as (second, beside),
    ):
        found = await compare_sources((first, second), source, beside, limit, mask)
    return Comparison(equal=not found.differing, results=(found,))


@asynccontextmanager
async def _opened(
    client: OrchestratorCalls, meant: "_Meant | LocalFolder", namespace: str
) -> AsyncIterator[tuple[ComparedResult, ComparedSource]]:
    if isinstance(meant, LocalFolder):
        yield ComparedResult(folder=str(meant.root)), meant
        return
    params = only(meant.results, meant.job)
    async with opened_source(client, meant.job, params, namespace=namespace) as source:
        yield ComparedResult.of(params), source


def _is_execution(what: str) -> bool:
    return what.startswith(_EXECUTION) and is_like_id(what)


async def _meant(
    client: OrchestratorCalls, what: str | Path, namespace: str, executions: Iterator[str]
) -> "_Meant | LocalFolder":
    """Of a job the next of the `executions` alone, as long as there is one."""
    if isinstance(what, Path):
        return await in_thread(lambda: LocalFolder(what))
    if _is_execution(what):
        job, execution = (await client.execution(what)).job_id, what
    else:
        job, execution = what, next(executions, "")
    view = await chosen_version(client, job, namespace=namespace, execution=execution)
    return _Meant(job, await offered(client, job, view, namespace=namespace, execution=execution), bool(execution))


def _pairs(
    one: _Meant, other: _Meant
) -> tuple[list[tuple[ResultParams, ResultParams]], tuple[int, ...], tuple[int, ...]]:
    """What is compared with what, and the parts of which only the first or the second has a result."""
    if one.is_execution and other.is_execution:
        return [(one.results[0], other.results[0])], (), ()
    left = {each.partition_index: each for each in one.results}
    right = {each.partition_index: each for each in other.results}
    wanted = left.keys() & right.keys() if one.is_execution or other.is_execution else left.keys() | right.keys()
    if not wanted:
        raise InvalidInput(
            "The job has no result of the part of that execution.", hint="Name two executions to compare any two."
        )
    both = [(left[part], right[part]) for part in sorted(wanted & left.keys() & right.keys())]
    return both, tuple(sorted(wanted - right.keys())), tuple(sorted(wanted - left.keys()))


def _same(left: ResultParams, right: ResultParams) -> ResultComparison:
    """By the digests of all their content, so that nothing has to be fetched."""
    first, second = ComparedResult.of(left), ComparedResult.of(right)
    return ResultComparison(first=first, second=second, paths=left.entries, differing=0)


async def compare_sources(
    told: tuple[ComparedResult, ComparedResult],
    first: ComparedSource,
    second: ComparedSource,
    limit: int,
    mode_mask: int = ALL_MODES,
) -> ResultComparison:
    """`told` are the two of which is told; bits of modes that are not in the mask do not count."""
    entries = differences(first.entries(), second.entries(), mode_mask)
    found: list[EntryDifference] = []
    paths = differing = 0

    def some() -> bool:
        nonlocal paths, differing
        before = paths
        for each in islice(entries, ENTRIES_AT_ONCE):
            paths += 1
            if each is not None:
                differing += 1
                if len(found) < limit:
                    found.append(each)
        return paths > before

    while await in_thread(some):
        pass
    return ResultComparison(
        first=told[0],
        second=told[1],
        paths=paths,
        differing=differing,
        differences=await _with_bytes(first, second, found),
    )


async def _with_bytes(
    first: ComparedSource, second: ComparedSource, found: Sequence[EntryDifference]
) -> tuple[PathDifference, ...]:
    """In their order, which is that of the contents in both results."""
    wanted = [each.name for each in found if each.has_contents]
    left = await files_behind(first.contents, set(wanted))
    right = await files_behind(second.contents, set(wanted))
    if lacking := next((each for each in wanted if each not in left or each not in right), None):
        raise ManifestDamaged(f"it names the file {lacking[:160]!r}, which the result has not got")
    places: dict[bytes, FirstDifference] = {}
    for begin in range(0, len(wanted), FILES_AT_ONCE):
        some = wanted[begin : begin + FILES_AT_ONCE]
        async with (
            _contents(first, [left[name] for name in some]) as one,
            _contents(second, [right[name] for name in some]) as other,
        ):
            for name, *both in zip(some, one, other, strict=True):
                places[name] = await _place_of(name, *both)
    return tuple(path_view(each, places.get(each.name)) for each in found)


@asynccontextmanager
async def _contents(source: ComparedSource, files: Sequence[Member]) -> AsyncIterator[list[Content]]:
    readers = await source.contents.part_readers(files)
    try:
        yield [Content(reader, file.size_bytes) for reader, file in zip(readers, files, strict=True)]
    finally:
        for each in readers:
            each.close()


async def _place_of(name: bytes, first: Content, second: Content) -> FirstDifference:
    found = await first_difference(first, second)
    if found is None:
        raise ManifestDamaged(f"two digests are told of {name[:160]!r}, whose bytes are the same in both results")
    return found
