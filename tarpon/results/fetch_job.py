"""The results of a job, fetched into a folder: all of them, or what was chosen of them, checked, or none.

One result: its files directly in the folder. Several: one folder for each part of the job, named by it. They are never
merged by appending one stdout to another, so it stays known which part of the job wrote what.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import structs

from shared import ids
from shared.data.markup import table
from shared.errors import Damaged, DownloadFailed, InvalidInput, NoResults, RemoteError, ResultIsPlain
from shared.extraction.extract import Extracted
from shared.extraction.oddities import Oddities
from shared.extraction.placement_rules import PlacementRules
from shared.extraction.room import Room
from shared.extraction.tar_reader import Member
from shared.jobs.quantities import format_bytes
from shared.jobs.spec import JobView
from shared.jobs.states import JobState
from shared.protocol.rest import ResultParams
from shared.runtime.aio import finish, pipelined
from tarpon.archive.plain import OnBytes
from tarpon.archive.selection import Selection
from tarpon.http.orchestrator_calls import OrchestratorCalls
from tarpon.results.fetch_one import Picked, Source, fetch_archive, fetch_paths, fetch_whole
from tarpon.results.folders import (
    RAW_FOLDER,
    check_free,
    check_owner,
    check_room,
    expected_names,
    is_empty,
    merge_in_place,
    note_only_owner,
    note_owner,
    places_of,
    put_in_place,
    receiving,
    removed_if_empty,
)
from tarpon.results.layouts import check_layout, note_merged
from tarpon.results.merged import merge_partitions
from tarpon.results.offered import chosen_version, is_without_publisher, offered, renewer, url_giver
from tarpon.results.staging import staging_in
from tarpon.transfer.byte_ranges import CONNECTIONS
from tarpon.transfer.download import in_thread
from tarpon.transfer.partial_file import PartialFile
from tarpon.transfer.stored_object import object_session

AT_ONCE = 4
MOVE_SECONDS = 300.0


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """What get_results did; without a folder where the job has no publisher and so nothing to get.

    `count` is the number of results, `files` the number of files that are there now (of archives that are kept: 0), and
    `size_bytes` what was fetched. `oddities` tells what is not there as it is in the results, and `left_out_count` how
    many entries the results themselves lack the content of. `exit_codes` are those of the parts whose tasks have failed
    by them. `parts` is how many the job has, and `without_result` are those of them of which there is none, where those
    of all were wanted; `have_completed` says that these have one all the same, as their job has completed. `replaced`
    are the executions whose archive is lost or not what other replicas and they agreed about, each by whose is there.
    """

    folder: Path | None
    count: int = 0
    size_bytes: int = 0
    files: int = 0
    left_out_count: int = 0
    exit_codes: dict[int, int] = {}
    parts: int = 1
    without_result: tuple[int, ...] = ()
    have_completed: bool = False
    replaced: dict[str, str] = {}
    oddities: Oddities = msgspec.field(default_factory=Oddities)

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        rows = [("Folder", str(self.folder or "none, for the job has no publisher")), ("Files", f"{self.files:,}")]
        rows += [("Fetched", format_bytes(self.size_bytes)), ("Parts", str(self.count) if self.parts > 1 else "")]
        rows += [("Left out there", str(self.left_out_count or ""))]
        rows += [("Parts without a result", ", ".join(map(str, self.without_result)))]
        return table(row for row in rows if row[1])


class OnFetchProgress(Protocol):
    def __call__(self, done_bytes: int, total_bytes: int, /) -> None: ...


async def get_results(
    client: OrchestratorCalls,
    job: str,
    *,
    paths: Sequence[str] = (),
    output_dir: str | os.PathLike[str] | None = None,
    raw: bool = False,
    merge: bool = False,
    partition: int | None = None,
    execution_id: str = "",
    job_version: int = 0,
    namespace: str = "",
    called: str = "",
    rules: PlacementRules | None = None,
    on_progress: OnFetchProgress | None = None,
) -> Fetched:
    """Download, verify and extract the results of `job`, or what is below `paths` in them.

    `output_dir` is made where it is missing. Without it that is `./job-<job>` (`./job-<namespace>-<job>` in another
    namespace), with `called` in place of the job where that is given.
    A path is a file, a directory with all that is in it, or a pattern (see tarpon.archive.selection); only the blocks
    that hold those are fetched, and they go into folders that are there already. `merge` puts several results into
    one tree (see tarpon.results.merged), in which `stdout` of part 0 is `stdout.0000`; no folder gets both. `partition`
    and `execution_id` choose one result; the newest version of the job is meant unless `job_version` or the execution
    is another's. Of replicas that had to agree another one's archive is taken where that of the first is lost, or not
    what they agreed about, unless the execution was chosen. `raw` keeps the archives, as
    `raw/<job id>_<execution id>.tar.gz`.

    What the target cannot have, or the `rules` leave out, is told in the answer; all else is placed. Nothing that
    exists is overwritten. Cancelling it, or an error, leaves nothing behind, except that with `raw` the
    part that has arrived stays and the next call goes on from there. Raises JobNotEnded, NoResults, NotFound,
    ResultIsPlain, FileNotInResult, ResultsInTheWay, ResultsNotMerged, ResultsNotMixed, AlreadyFetching, InvalidInput,
    DownloadFailed, Damaged, NoSpaceForResult and CannotExtract, beside what the client raises.
    """
    if raw and (paths or merge):
        raise InvalidInput("Archives are kept as they are, so no paths can be taken out of them and none be merged.")
    selection = Selection(paths) if paths else None
    view = await chosen_version(client, job, namespace=namespace, version=job_version, execution=execution_id)
    if is_without_publisher(view):
        return Fetched(folder=None)
    results = await offered(client, job, view, namespace=namespace, partition=partition, execution=execution_id)
    if raw and (plain := next((each for each in results if each.is_plain), None)) is not None:
        raise ResultIsPlain(plain.execution_id)
    async with (
        receiving(called or job, view, None if output_dir is None else Path(output_dir)) as folder,
        object_session(client.trust) as session,
    ):
        progress = _Progress(results, on_progress)
        sources = [
            Source(
                session=session,
                params=params,
                renew=renewer(client, job, params, namespace=namespace),
                give_urls=url_giver(client, job, params, namespace=namespace),
                on_bytes=progress.of(params),
                connections=max(1, CONNECTIONS // min(AT_ONCE, len(results))),
                rules=rules or PlacementRules(),
            )
            for params in results
        ]
        several = merge and len(results) > 1
        stand_in = None if execution_id else partial(_stand_in, client, job, namespace)
        getting = _Getting(job, view, folder, sources, stand_in, merge=several, is_named=output_dir is not None)
        if raw:
            await getting.archives()
        elif selection is None:
            await getting.whole()
        else:
            await getting.paths(selection)
    lacking = _without_result(view, results) if partition is None and not execution_id else ()
    return Fetched(
        folder=folder,
        count=len(results),
        size_bytes=progress.total_bytes,
        files=getting.files,
        left_out_count=sum(each.left_out_count for each in results),
        exit_codes=_failed(view, results),
        parts=view.part_count,
        without_result=lacking,
        have_completed=bool(lacking) and view.state.state_type == JobState.COMPLETED,
        replaced=getting.replaced,
        oddities=getting.oddities,
    )


def _failed(view: JobView, results: Sequence[ResultParams]) -> dict[int, int]:
    """The exit codes of parts whose job takes these for failures."""
    if not view.tasks or not view.task.fail_on_exit_code:
        return {}
    return {each.partition_index: each.exit_code for each in results if each.exit_code}


def _without_result(view: JobView, results: Sequence[ResultParams]) -> tuple[int, ...]:
    there = {each.partition_index for each in results}
    return tuple(part for part in range(view.part_count) if part not in there)


async def _stand_in(client: OrchestratorCalls, job: str, namespace: str, of: Source, execution: str) -> Source:
    """The result of this execution, to be fetched in the place of another one."""
    found = await client.results(job, namespace=namespace, job_version=of.params.job_version, execution_id=execution)
    params = next((each.params for each in found if each.params.execution_id == execution), None)
    if params is None:
        raise NoResults(f"Job {job} has no result of execution {execution}.")
    ids.execution_id(execution)  # it becomes a part of a path
    return structs.replace(of, params=params, renew=renewer(client, job, params, namespace=namespace))


class _Getting:
    """The ways to get results into `folder`. `files` are there afterwards, and `oddities` are what is not.

    `stand_in` gives what may be fetched in the place of a source: the result of this execution.
    """

    def __init__(
        self,
        job: str,
        view: JobView,
        folder: Path,
        sources: Sequence[Source],
        stand_in: Callable[[Source, str], Awaitable[Source]] | None,
        *,
        merge: bool,
        is_named: bool,
    ) -> None:
        self._job = job
        self._view = view
        self._folder = folder
        self._sources = list(sources)
        self._stand_in = stand_in
        self._merge = merge
        self._is_named = is_named
        self._was_empty = is_empty(folder)
        self.files = 0
        self.oddities = Oddities()
        self.replaced: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<_Getting {len(self._sources)} results into {self._folder}>"

    async def archives(self) -> None:
        places = self._places(raw=True)
        check_free(self._folder, places)
        with ExitStack() as stack:
            stack.enter_context(removed_if_empty(self._folder / RAW_FOLDER))
            files = [PartialFile(place, each.params) for each, place in zip(self._sources, places, strict=True)]
            room = await in_thread(lambda: Room(self._folder))
            for file in files:
                stack.callback(file.release)
                room.claim(file.missing_bytes())
            pairs = list(zip(self._sources, files, strict=True))
            await pipelined(pairs, lambda pair: fetch_archive(*pair), at_once=AT_ONCE)
            check_free(self._folder, places)
            for file in files:
                file.place()

    async def whole(self) -> None:
        places = self._places()
        if self._merge or places == [self._folder]:
            several = [each.params for each in self._sources] if self._merge else []
            check_free(self._folder, expected_names(self._view, several))
        else:
            check_free(self._folder, places)
        await self._check_layout()
        async with staging_in(self._folder) as staging:
            room = await in_thread(lambda: Room(staging))

            await pipelined(
                range(len(self._sources)), lambda number: self._fetch(number, staging, room), at_once=AT_ONCE
            )
            staged = [staging / each.params.execution_id for each in self._sources]
            if self._merge:
                await self._put_merged(put_in_place, await self._merged(staging, staged))
            else:
                await self._put(put_in_place, staged, places)

    async def _fetch(self, number: int, staging: Path, room: Room) -> None:
        """All of a result or, where that is damaged or lost, of a replica that gave the same."""
        first = self._sources[number]
        try:
            placed = await fetch_whole(first, staging / first.params.execution_id, room)
        except (Damaged, DownloadFailed) as lost:
            source, placed = await self._fetch_other(first, lost, staging, room)
            self.replaced[first.params.execution_id] = source.params.execution_id
            self._sources[number] = source
        self._add(self._sources[number].params.execution_id, placed)

    async def _fetch_other(
        self, of: Source, lost: Damaged | DownloadFailed, staging: Path, room: Room
    ) -> tuple[Source, Extracted]:
        """Raises `lost` where no other replica's can be had either."""
        if self._stand_in is None:
            raise lost
        for execution in of.params.stand_ins:
            with suppress(Damaged, DownloadFailed, NoResults, RemoteError):
                source = await self._stand_in(of, execution)
                return source, await fetch_whole(source, staging / execution, room)
        raise lost

    async def paths(self, selection: Selection) -> None:
        """A path must match in one of the results."""
        await self._check_layout()
        places = dict(zip([each.params.execution_id for each in self._sources], self._places(), strict=True))
        alone = len(self._sources) == 1
        async with staging_in(self._folder) as staging:
            room = await in_thread(lambda: Room(staging))

            async def fetch(source: Source) -> None:
                execution = source.params.execution_id

                def check(members: Sequence[Member]) -> None:
                    if alone:
                        selection.check(self._job)
                    if not self._merge:
                        self._check_owner(places[execution], execution)
                        check_room(self._folder, places[execution], members)

                self._add(execution, await fetch_paths(source, selection, staging / execution, check, room))

            await pipelined(self._sources, fetch, at_once=AT_ONCE)
            selection.check(self._job)
            found = [execution for execution in places if (staging / execution).is_dir()]
            staged = [staging / execution for execution in found]
            if self._merge:
                await self._put_merged(merge_in_place, await self._merged(staging, staged))
            else:
                await self._put(merge_in_place, staged, [places[each] for each in found])

    async def _check_layout(self) -> None:
        """A single result has neither form."""
        if len(self._sources) > 1:
            results = [each.params for each in self._sources]
            await in_thread(lambda: check_layout(self._folder, results, self._view, merge=self._merge))

    def _check_owner(self, place: Path, execution: str) -> None:
        """Who names the folder that files go into directly may collect in it what they like."""
        if place != self._folder or not self._is_named:
            check_owner(self._folder, place, execution)

    async def _put(self, move: Callable[..., None], staged: Sequence[Path], places: Sequence[Path]) -> None:
        """What is staged is named by its execution."""

        def put() -> None:
            for each, place in zip(staged, places, strict=True):
                if place != self._folder:
                    note_owner(place if place.is_dir() else each, each.name)
            move(self._folder, staged, places)
            if places == [self._folder]:
                note_only_owner(self._folder, staged[0].name, was_empty=self._was_empty)

        await _in_thread(put)

    async def _put_merged(self, move: Callable[..., None], merged: Path) -> None:
        def put() -> None:
            move(self._folder, [merged], [self._folder])
            if self._was_empty:
                note_merged(self._folder)

        await _in_thread(put)

    def _add(self, execution: str, placed: Extracted | Picked) -> None:
        self.files += placed.files
        self.oddities.extend(placed.oddities, execution=execution)

    async def _merged(self, staging: Path, staged: Sequence[Path]) -> Path:
        called = self._view.part_name
        parts = {each.params.execution_id: called(each.params.partition_index) for each in self._sources}
        merged = staging / ".merged"  # no execution has such an id
        await _in_thread(merge_partitions, [(parts[each.name], each) for each in staged], merged)
        return merged

    def _places(self, *, raw: bool = False) -> list[Path]:
        return places_of(self._folder, self._view, [each.params for each in self._sources], raw=raw)


async def _in_thread(act: Callable[..., None], *args: object) -> None:
    await finish(asyncio.to_thread(act, *args), within=MOVE_SECONDS)


class _Progress:
    """Adds up the progress of several results."""

    def __init__(self, results: Sequence[ResultParams], on_progress: OnFetchProgress | None) -> None:
        self._done = {each.execution_id: 0 for each in results}
        self._totals = dict(self._done)
        self._on_progress = on_progress

    def __repr__(self) -> str:
        return f"<_Progress {sum(self._done.values())} of {self.total_bytes} bytes>"

    @property
    def total_bytes(self) -> int:
        return sum(self._totals.values())

    def of(self, params: ResultParams) -> OnBytes:
        def report(done_bytes: int, total_bytes: int) -> None:
            self._done[params.execution_id] = done_bytes
            self._totals[params.execution_id] = total_bytes
            if self._on_progress is not None:
                self._on_progress(sum(self._done.values()), self.total_bytes)

        return report
