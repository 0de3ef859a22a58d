"""How results come into a user's folder: all of what was asked for, or nothing; with an API that the test plays."""

import asyncio
import gzip
import io
import json
import os
import random
import shutil
import sys
import tarfile
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest
from aiohttp import web
from msgspec.structs import replace

import tarpon
from shared.errors import (
    ArchiveDamaged,
    CannotExtract,
    Damaged,
    DigestMismatch,
    DownloadFailed,
    InvalidInput,
    NoResults,
)
from shared.extraction.placement_rules import PlacementRules
from shared.jobs.spec import LEFT_OUT_COUNT, JobView, ResultPath, SpecConfig, StateView, Task
from shared.protocol.rest import ErrorBody, JobResponse, Page, ResultItem, ResultParams
from tarpon.archive.selection import FileNotInResult
from tarpon.cli.console.outcomes import Exit
from tarpon.cli.results.get import download
from tarpon.cli.results.result_options import job_and_paths
from tarpon.results.fetch_job import Fetched, get_results
from tarpon.results.files import list_files, read_file
from tarpon.results.folders import ResultsInTheWay
from tarpon.results.layouts import ResultsNotMixed
from tarpon.results.logs import stream_output
from tarpon.transfer.byte_ranges import RANGE_BYTES
from tarpon.transfer.download import made_in_thread
from tests.archives import packed
from tests.integration import stored_results
from tests.integration.stored_results import Stored, gate
from tests.servers import HOST, S3Server, free_ports
from tests.waiting import eventually

JOB = "j-1"
VIEW = JobView(
    id=JOB,
    name="job",
    namespace="default",
    type="batch",
    tasks=(Task(publisher=SpecConfig(type="s3managed"), result_paths=(ResultPath(name="outputs", path="/outputs"),)),),
    state=StateView(state_type="Completed"),
    version=1,
    revision=1,
    create_time=0,
    modify_time=0,
)


@asynccontextmanager
async def offering(
    make: Callable[[], Sequence[ResultParams]],
    view: JobView = VIEW,
    *,
    replicas: Mapping[str, ResultParams] = MappingProxyType({}),
) -> AsyncIterator[tarpon.Client]:
    """An orchestrator with one job, whose results are made each time that they are asked for.

    With `replicas` it has as well, or alone of an execution that is asked for, those of these executions.
    """

    async def answer(request: web.Request) -> web.Response:
        known = request.match_info["job"] in {JOB, "with/slash", "named", "named/too", f"{JOB}/stdout"}
        execution = request.query.get("execution_id", "") if replicas else ""
        known = known and (not execution or execution in replicas)
        body: msgspec.Struct = ErrorBody(message="There is no such job.", code="JobNotFound", status=404)
        if known and request.path.endswith("/results"):
            results = [replicas[execution]] if execution else make()
            body = Page(items=tuple(ResultItem(params=each) for each in results))
        elif known:
            body = JobResponse(job=view)
        data = msgspec.json.encode(body)
        return web.Response(body=data, status=200 if known else 404, content_type="application/json")

    application = web.Application()
    application.router.add_get("/api/v1/orchestrator/jobs/{job}", answer)
    application.router.add_get("/api/v1/orchestrator/jobs/{job}/results", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        (port,) = free_ports(1)
        await web.TCPSite(runner, HOST, port).start()
        async with tarpon.Client(HOST, port) as client:
            yield client
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    return s3_server.create_bucket()


@pytest.fixture(scope="module")
def parts(s3_server: S3Server, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> list[Stored]:
    """Two results of several blocks each, which can be merged but for outputs/same."""
    made = []
    for part in "ab":
        root = tmp_path_factory.mktemp(f"part-{part}")
        (root / "outputs").mkdir()
        (root / "stdout").write_text(f"part {part}\n")
        (root / "outputs" / part).write_bytes(gzip.compress(part.encode()) * 100_000)
        (root / "outputs" / "same").write_text("same\n")
        made.append(stored_results.stored(s3_server, bucket, asyncio.run(packed(root))))
    return made


def params(parts: Sequence[Stored], *, endpoint: str = "") -> list[ResultParams]:
    return [
        part.params(execution_id=f"e-{number}", partition_index=number, endpoint=endpoint)
        for number, part in enumerate(parts)
    ]


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


async def test_progress_goes_to_the_total_of_all_results(parts: list[Stored], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    async with offering(lambda: params(parts)) as client:
        fetched = await get_results(
            client, JOB, output_dir=str(tmp_path), on_progress=lambda done, total: seen.append((done, total))
        )
    total_bytes = sum(len(part.archive) for part in parts)
    assert fetched == Fetched(folder=tmp_path, count=2, size_bytes=total_bytes, files=6)
    assert seen[-1] == (total_bytes, total_bytes)
    assert (tmp_path / "0001" / "stdout").read_text() == "part b\n"


async def test_a_download_that_is_cancelled_leaves_nothing(parts: list[Stored], tmp_path: Path) -> None:
    async def hold(_: int) -> None:
        await asyncio.Event().wait()

    async with (
        gate(parts[0].server, before=hold) as between,
        offering(lambda: params(parts, endpoint=between.endpoint)) as client,
        asyncio.TaskGroup() as group,
    ):
        task = group.create_task(get_results(client, JOB, output_dir=tmp_path), name="get")
        await eventually(lambda: len(between.ranges) == 2, what="both are being fetched")
        assert len(names(tmp_path)) >= 1, "what is not checked yet is beside its place"
        task.cancel()
    assert names(tmp_path) == []


async def test_what_a_killed_download_left_goes_with_the_next_one_and_what_a_live_one_has_stays(
    parts: list[Stored], tmp_path: Path
) -> None:
    may_go_on = asyncio.Event()

    async def hold(number: int) -> None:
        if number <= 2:
            await may_go_on.wait()

    def staged() -> set[str]:
        return {path.name for path in tmp_path.glob(".tarpon-*")}

    one = params(parts[:1])
    async with (
        gate(parts[0].server, before=hold) as between,
        offering(lambda: params(parts[:1], endpoint=between.endpoint)) as held,
        offering(lambda: one) as client,
    ):
        command = [sys.executable, "-m", "tarpon", "job", "get", JOB, "--output-dir", str(tmp_path)]
        command += ["--api-host", held.url]
        killed = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        await eventually(lambda: len(between.ranges) == 1, what="the first one is at it")
        killed.kill()
        await killed.wait()
        left = staged()
        live = await asyncio.create_subprocess_exec(*command, "outputs/a", stderr=asyncio.subprocess.DEVNULL)
        await eventually(lambda: len(between.ranges) == 2, what="the second one is at it")
        (own,) = staged()
        assert own not in left, "the next one has removed it"
        (tmp_path / ".tarpon-notes").mkdir()
        await get_results(client, JOB, paths=["outputs/same"], output_dir=tmp_path)
        assert staged() == {own, ".tarpon-notes"}
        live.kill()
        await live.wait()
        may_go_on.set()
        await get_results(client, JOB, paths=["stdout"], output_dir=tmp_path)
    assert staged() == {".tarpon-notes"}


@pytest.mark.parametrize("paths", [(), ("stdout",)], ids=["all", "paths"])
async def test_one_result_that_is_damaged_keeps_the_others_from_being_placed(
    parts: list[Stored], tmp_path: Path, paths: tuple[str, ...]
) -> None:
    def wrong() -> list[ResultParams]:
        good, bad = params(parts)
        wrong = msgspec.structs.replace(bad, sha256="0" * 64, index_sha256="0" * 64)
        return [good, wrong]

    async with offering(wrong) as client:
        with pytest.raises(DigestMismatch, match="e-1"):
            await get_results(client, JOB, paths=paths, output_dir=tmp_path)
    assert names(tmp_path) == []


async def test_of_replicas_each_is_tried_until_one_is_as_they_agreed(parts: list[Stored], tmp_path: Path) -> None:
    part = parts[0]
    lost = stored_results.Stored(part.server, part.bucket, part.archive)
    lost.delete(lost.key)
    replicas = {
        "e-0": part.params(execution_id="e-0", sha256="0" * 64, stand_ins=("e-unknown", "e-lost", "e-worse", "e-good")),
        "e-lost": lost.params(execution_id="e-lost"),
        "e-worse": part.params(execution_id="e-worse", etag='"another"'),
        "e-good": part.params(execution_id="e-good"),
    }
    async with offering(lambda: [replicas["e-0"]], replicas=replicas) as client:
        fetched = await get_results(client, JOB, output_dir=tmp_path)
        assert fetched.replaced == {"e-0": "e-good"}
        assert (tmp_path / "stdout").read_text() == "part a\n"
        del replicas["e-good"]
        with pytest.raises(DigestMismatch, match="execution e-0 is not"):
            await get_results(client, JOB, output_dir=tmp_path / "none")


async def test_where_a_result_is_lost_that_of_a_replica_is_taken(parts: list[Stored], tmp_path: Path) -> None:
    part = parts[0]
    lost = stored_results.Stored(part.server, part.bucket, part.archive)
    lost.delete(lost.key)
    first = lost.params(execution_id="e-0", stand_ins=("e-1",))
    async with offering(lambda: [first], replicas={"e-1": part.params(execution_id="e-1")}) as client:
        fetched = await get_results(client, JOB, output_dir=tmp_path)
    assert fetched.replaced == {"e-0": "e-1"}
    assert fetched.files == 3


async def test_an_archive_that_is_none_leaves_nothing(s3_server: S3Server, bucket: str, tmp_path: Path) -> None:
    odd = Stored(s3_server, bucket, gzip.compress(b"x" * 10_000), entries=1, raw_size=1)
    async with offering(lambda: params([odd])) as client:
        for paths in ((), ("stdout",)):
            with pytest.raises(ArchiveDamaged):
                await get_results(client, JOB, paths=paths, output_dir=tmp_path)
    assert names(tmp_path) == []


async def test_a_folder_that_was_made_goes_when_nothing_came_into_it(
    parts: list[Stored], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with offering(lambda: params([])) as client:
        with pytest.raises(NoResults):
            await get_results(client, JOB)
    async with offering(lambda: params(parts)) as client:
        await get_results(client, JOB, paths=["stdout"], partition=0)
    assert names(tmp_path) == ["job-j-1", "job-j-1/stdout"]


async def test_what_is_in_the_way_is_told_before_any_content_is_fetched(parts: list[Stored], tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "a").write_text("mine")
    async with (
        gate(parts[0].server) as between,
        offering(lambda: params(parts[:1], endpoint=between.endpoint)) as client,
    ):
        with pytest.raises(ResultsInTheWay, match="outputs/a"):
            await get_results(client, JOB, paths=["outputs/*"], output_dir=tmp_path)
        assert len(between.ranges) == 1, "the index alone"
    assert names(tmp_path) == ["outputs", "outputs/a"]
    assert (tmp_path / "outputs" / "a").read_text() == "mine"


async def test_a_folder_that_leads_elsewhere_is_not_filled(parts: list[Stored], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "outputs").symlink_to("../elsewhere")
    async with offering(lambda: params(parts[:1])) as client:
        with pytest.raises(ResultsInTheWay, match="outputs"):
            await get_results(client, JOB, paths=["outputs/same"], output_dir=tmp_path / "into")
    assert names(tmp_path / "elsewhere") == []


async def test_results_are_merged_with_the_part_in_the_name_of_what_several_have(
    parts: list[Stored], tmp_path: Path
) -> None:
    async with offering(lambda: params(parts)) as client:
        await get_results(client, JOB, merge=True, paths=["stdout", "outputs/?"], output_dir=tmp_path)
        assert names(tmp_path) == ["outputs", "outputs/a", "outputs/b", "stdout.0000", "stdout.0001"]
        await get_results(client, JOB, merge=True, paths=["outputs/same"], output_dir=tmp_path)
    assert names(tmp_path / "outputs") == ["a", "b", "same.0000", "same.0001"]


@pytest.mark.parametrize("paths", [(), ("outputs/?",)], ids=["all", "paths"])
async def test_results_by_part_and_a_merged_tree_do_not_come_into_one_folder(
    parts: list[Stored], tmp_path: Path, paths: tuple[str, ...]
) -> None:
    async with offering(lambda: params(parts)) as client:
        for first, named in ((False, "0000, 0001"), (True, "stdout.0000" if not paths else "outputs")):
            folder = tmp_path / str(first)
            await get_results(client, JOB, merge=first, paths=paths, output_dir=folder)
            before = names(folder)
            with pytest.raises(ResultsNotMixed, match=named) as refused:
                await get_results(client, JOB, merge=not first, paths=paths or ("stdout",), output_dir=folder)
            with pytest.raises(ResultsNotMixed, match=named):
                await get_results(client, JOB, merge=not first, output_dir=folder)
            assert "--output-dir" in refused.value.hint
            assert names(folder) == before


async def test_a_folder_that_was_cleared_takes_results_in_either_form(parts: list[Stored], tmp_path: Path) -> None:
    async with offering(lambda: params(parts)) as client:
        await get_results(client, JOB, merge=True, paths=["outputs/a"], output_dir=tmp_path)
        shutil.rmtree(tmp_path / "outputs")
        await get_results(client, JOB, paths=["stdout"], output_dir=tmp_path)
        shutil.rmtree(tmp_path / "0000")
        shutil.rmtree(tmp_path / "0001")
        await get_results(client, JOB, merge=True, paths=["stdout"], output_dir=tmp_path)
    assert names(tmp_path) == ["stdout.0000", "stdout.0001"]


async def test_folders_that_were_made_go_when_nothing_came_into_them(parts: list[Stored], tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()

    def wrong() -> list[ResultParams]:
        return [replace(each, sha256="0" * 64) for each in params(parts)]

    async with offering(wrong) as client:
        with pytest.raises(DigestMismatch):
            await get_results(client, JOB, output_dir=tmp_path / "there" / "of" / "mine")
    assert names(tmp_path) == ["there"]
    (tmp_path / "file").touch()
    async with offering(lambda: params(parts)) as client:
        with pytest.raises(CannotExtract, match="cannot be made"):
            await get_results(client, JOB, output_dir=tmp_path / "file" / "below")


async def test_a_job_whose_name_is_too_long_for_a_folder_has_one_by_its_id(
    parts: list[Stored], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with offering(lambda: params(parts)) as client:
        fetched = await get_results(client, JOB, called="ü" * 126, paths=["stdout"])
    assert fetched.folder == tmp_path / f"job-{JOB}"


@pytest.mark.parametrize("paths", [(), ("stdout",)])
async def test_what_an_earlier_version_of_tarpon_has_placed_is_found_again(
    parts: list[Stored], tmp_path: Path, paths: tuple[str, ...]
) -> None:
    (tmp_path / "e-1").mkdir()
    (tmp_path / "e-1" / "stdout").write_text("of earlier")
    (tmp_path / "stdout.1").write_text("merged earlier")
    async with offering(lambda: params(parts)) as client:
        with pytest.raises(ResultsInTheWay, match="e-1"):
            await get_results(client, JOB, paths=paths, output_dir=tmp_path)
        with pytest.raises(ResultsInTheWay, match=r"stdout\.1"):
            await get_results(client, JOB, merge=True, output_dir=tmp_path)
    assert names(tmp_path) == ["e-1", "e-1/stdout", "stdout.1"]
    assert (tmp_path / "e-1" / "stdout").read_text() == "of earlier"


async def test_the_folder_of_a_part_is_filled_with_what_one_execution_wrote_alone(
    parts: list[Stored], tmp_path: Path
) -> None:
    async with offering(lambda: params(parts)) as client:
        await get_results(client, JOB, paths=["stdout"], output_dir=tmp_path)
        await get_results(client, JOB, paths=["outputs/?"], output_dir=tmp_path)
    before = names(tmp_path)
    assert before[:4] == ["0000", "0000/outputs", "0000/outputs/a", "0000/stdout"]

    def rerun() -> list[ResultParams]:
        return [replace(each, execution_id=f"e-later-{each.partition_index}") for each in params(parts)]

    async with offering(rerun) as client:
        with pytest.raises(ResultsInTheWay, match=r"000[01] \(of execution e-[01]\)"):
            await get_results(client, JOB, paths=["outputs/same"], output_dir=tmp_path)
    assert names(tmp_path) == before


def run_again(parts: Sequence[Stored]) -> list[ResultParams]:
    return [replace(each, execution_id=f"e-later-{each.partition_index}") for each in params(parts)]


async def test_a_part_that_was_fetched_into_its_place_alone_is_known_by_its_execution(
    parts: list[Stored], tmp_path: Path
) -> None:
    place = tmp_path / "0000"
    place.mkdir()
    async with offering(lambda: params(parts[:1])) as client:
        await get_results(client, JOB, output_dir=place)
    before = names(tmp_path)
    async with offering(lambda: run_again(parts)) as client:
        with pytest.raises(ResultsInTheWay, match=r"0000 \(of execution e-0\)"):
            await get_results(client, JOB, paths=["outputs/?"], output_dir=tmp_path)
    async with offering(lambda: params(parts)) as client:
        with pytest.raises(ResultsInTheWay, match="0000/outputs/a"):
            await get_results(client, JOB, paths=["outputs/?"], output_dir=tmp_path)
    assert names(tmp_path) == before


async def test_files_of_which_nobody_knows_whose_they_are_are_not_mixed_with_those_of_a_part(
    parts: list[Stored], tmp_path: Path
) -> None:
    async with offering(lambda: params(parts)) as client:
        await get_results(client, JOB, paths=["stdout"], output_dir=tmp_path)
    os.removexattr(tmp_path / "0001", "user.tarpon.execution")
    before = names(tmp_path)
    async with offering(lambda: run_again(parts)[1:] + params(parts)[:1]) as client:
        with pytest.raises(ResultsInTheWay, match=r"0001 \(of an execution that is not known\)") as refused:
            await get_results(client, JOB, paths=["outputs/?"], output_dir=tmp_path)
    assert "--output-dir" in refused.value.hint
    assert names(tmp_path) == before


async def test_a_place_that_is_empty_is_filled_and_has_an_owner_then(parts: list[Stored], tmp_path: Path) -> None:
    (tmp_path / "0000").mkdir()
    async with offering(lambda: params(parts)) as client:
        for path in ("stdout", "outputs/?"):
            await get_results(client, JOB, paths=[path], output_dir=tmp_path)
    assert os.getxattr(tmp_path / "0000", "user.tarpon.execution") == b"e-0"
    assert {"0000/stdout", "0000/outputs/a"} <= set(names(tmp_path))


async def test_the_folder_of_a_job_has_files_of_one_execution_and_a_named_one_those_that_are_wanted(
    parts: list[Stored], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = tmp_path / "named"
    named.mkdir()
    async with offering(lambda: params(parts[:1])) as client:
        for folder in (None, named):
            await get_results(client, JOB, paths=["stdout"], output_dir=folder)
    async with offering(lambda: run_again(parts[:1])) as client:
        with pytest.raises(ResultsInTheWay, match="files of execution e-0"):
            await get_results(client, JOB, paths=["outputs/?"])
        await get_results(client, JOB, paths=["outputs/?"], output_dir=named)
    assert names(tmp_path / f"job-{JOB}") == ["stdout"]
    assert names(named) == ["outputs", "outputs/a", "stdout"]
    assert not os.listxattr(named), "it is of no execution alone"


async def test_what_a_killed_download_has_left_in_a_folder_makes_its_owner_no_less_known(
    parts: list[Stored], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"job-{JOB}" / ".tarpon-0123456789ab" / "e-0").mkdir(parents=True)
    async with offering(lambda: params(parts[:1])) as client:
        await get_results(client, JOB, paths=["stdout"])
    async with offering(lambda: run_again(parts[:1])) as client:
        with pytest.raises(ResultsInTheWay, match="files of execution e-0"):
            await get_results(client, JOB, paths=["outputs/?"])
    assert names(tmp_path / f"job-{JOB}") == ["stdout"]


@pytest.mark.parametrize(
    ("state", "why"),
    [("Completed", "at present, although it has completed;"), ("Failed", ", for it has not completed: ")],
)
async def test_why_a_part_has_no_result_is_told_as_far_as_it_is_known(
    parts: list[Stored], tmp_path: Path, capsys: pytest.CaptureFixture[str], state: str, why: str
) -> None:
    view = replace(VIEW, count=3, state=StateView(state_type=state))
    async with offering(lambda: params(parts), view) as client:
        await download(client, JOB, output_dir=tmp_path)
    told = capsys.readouterr().err
    assert "1 of 3 parts has no result" in told
    assert why in told


async def test_a_path_has_to_match_in_one_of_several_results(parts: list[Stored], tmp_path: Path) -> None:
    async with offering(lambda: params(parts)) as client:
        fetched = await get_results(client, JOB, paths=["outputs/b"], output_dir=tmp_path)
        assert fetched.files == 1
        assert names(tmp_path) == ["0001", "0001/outputs", "0001/outputs/b"]
        with pytest.raises(FileNotInResult, match="outputs/c"):
            await get_results(client, JOB, paths=["stdout", "outputs/c"], output_dir=tmp_path)
    assert len(names(tmp_path)) == 3, "nothing is placed where a path is wrong"


async def test_of_one_result_nothing_is_fetched_where_a_path_is_wrong(parts: list[Stored], tmp_path: Path) -> None:
    async with (
        gate(parts[0].server) as between,
        offering(lambda: params(parts[:1], endpoint=between.endpoint)) as client,
    ):
        with pytest.raises(FileNotInResult):
            await get_results(client, JOB, paths=["stdout", "none"], output_dir=tmp_path)
        assert len(between.ranges) == 1, "the index alone"


async def test_logs_of_a_large_result_are_read_by_its_index(parts: list[Stored]) -> None:
    found: list[tuple[str, bytes]] = []
    async with gate(parts[0].server) as between, offering(list) as client:
        (result,) = params(parts[:1], endpoint=between.endpoint)
        await stream_output(client, JOB, result, lambda stream, data: found.append((stream, data)))
    assert found == [("stdout", b"part a\n")]
    assert len(between.ranges) == 2
    assert between.ranges[1].startswith("bytes="), "the archive is not fetched as a whole"


async def test_of_raw_archives_none_is_placed_before_all_are_there_and_what_came_is_kept(
    parts: list[Stored], tmp_path: Path
) -> None:
    second = parts[1]
    second.delete(second.key)
    async with offering(lambda: params(parts)) as client:
        with pytest.raises(DownloadFailed, match="no longer in the bucket"):
            await get_results(client, JOB, raw=True, output_dir=tmp_path)
        assert not list(tmp_path.rglob("*.tar.gz"))
        second.put(second.archive)
        await get_results(client, JOB, raw=True, output_dir=tmp_path)
    assert names(tmp_path / "raw") == ["j-1_e-0.tar.gz", "j-1_e-1.tar.gz"]
    assert (tmp_path / "raw" / "j-1_e-1.tar.gz").read_bytes() == second.archive


async def test_where_no_byte_of_an_archive_came_nothing_is_left(parts: list[Stored], tmp_path: Path) -> None:
    wrong = [part.params(etag='"another"', execution_id="e-0") for part in parts[:1]]
    async with offering(lambda: wrong) as client:
        with pytest.raises(Damaged, match="was replaced"):
            await get_results(client, JOB, raw=True, output_dir=tmp_path)
    assert names(tmp_path) == []


async def test_what_was_opened_for_a_cancelled_download_is_closed() -> None:
    opening, may_go_on, story = threading.Event(), threading.Event(), []

    def make() -> str:
        opening.set()
        may_go_on.wait(10)
        story.append("made")
        return "it"

    async with asyncio.TaskGroup() as group:
        task = group.create_task(made_in_thread(make, story.append), name="make")
        await eventually(opening.is_set)
        task.cancel()
        may_go_on.set()
    assert story == ["made", "it"]


async def test_a_raw_download_goes_on_after_its_process_was_killed(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    large = Stored(s3_server, bucket, random.Random(6).randbytes(4 * RANGE_BYTES + 1000))
    killed = asyncio.Event()

    async def hold_the_last(number: int) -> None:
        if number == 5:
            await killed.wait()

    async with (
        gate(s3_server, before=hold_the_last) as between,
        offering(lambda: params([large], endpoint=between.endpoint)) as client,
    ):
        command = [sys.executable, "-m", "tarpon", "job", "get", JOB, "--raw", "--output-dir", str(tmp_path)]
        command += ["--api-host", client.url]
        first = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        part = tmp_path / "raw" / "j-1_e-0.tar.gz.part"
        await eventually(lambda: part.exists() and part.stat().st_size == 4 * RANGE_BYTES, what="most has come")
        first.kill()
        await first.wait()
        killed.set()
        second = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        assert await second.wait() == 0
        assert between.ranges[5:] == [f"bytes={4 * RANGE_BYTES}-{len(large.archive) - 1}"]
    assert names(tmp_path) == ["raw", "raw/j-1_e-0.tar.gz"]
    assert (tmp_path / "raw" / "j-1_e-0.tar.gz").read_bytes() == large.archive


@pytest.fixture
def odd_result(s3_server: S3Server, bucket: str) -> Stored:
    """With a name that no file system here has, and a link that leads out of it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, link in (("stdout", ""), ("n" * 300, ""), ("python3", "/usr/bin/python3")):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = (tarfile.SYMTYPE, link) if link else (tarfile.REGTYPE, "")
            archive.addfile(entry)
    return Stored(s3_server, bucket, buffer.getvalue(), entries=3, raw_size=0)


async def tarpon_command(client: tarpon.Client, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tarpon",
        *arguments,
        "--api-host",
        client.url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, told = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), told.decode()


@pytest.mark.parametrize("paths", [(), ("*",)], ids=["all", "paths"])
async def test_odd_entries_are_named_with_codes_and_the_rest_is_there(
    odd_result: Stored, tmp_path: Path, paths: tuple[str, ...]
) -> None:
    async with offering(lambda: params([odd_result])) as client:
        into = ["--output-dir", str(tmp_path), "--output", "json"]
        code, out, told = await tarpon_command(client, "job", "get", JOB, *paths, *into)
    assert code == Exit.INCOMPLETE
    report = json.loads(out)
    assert {(each["Code"], each["Path"], each["ExecutionID"]) for each in report["Odd"]} == {
        ("NameImpossible", "n" * 300, "e-0"),
        ("LinkLeavesResult", "python3", "e-0"),
    }
    assert report["OddCounts"] == {"NameImpossible": 1, "LinkLeavesResult": 1}
    assert (report["Files"], report["Folder"]) == (1, str(tmp_path))
    assert "[ResultsIncomplete]" in told
    assert "'python3' [LinkLeavesResult]" in told
    assert names(tmp_path) == ["stdout"]


async def test_links_that_leave_can_be_refused_or_kept(odd_result: Stored, tmp_path: Path) -> None:
    async with offering(lambda: params([odd_result])) as client:
        get = ["job", "get", JOB, "--output-dir", str(tmp_path)]
        code, _, told = await tarpon_command(client, *get, "--links", "refuse")
        assert (code, names(tmp_path)) == (Exit.FAILED, [])
        assert "[UnsafeArchive]" in told
        await tarpon_command(client, *get, "--links", "keep-text")
    assert (tmp_path / "python3").readlink() == Path("/usr/bin/python3")


async def test_a_result_that_is_not_whole_is_told_and_strict_gives_its_own_exit_code(
    parts: list[Stored], tmp_path: Path
) -> None:
    (tmp_path / "again").mkdir()
    view = replace(VIEW, state=replace(VIEW.state, details={LEFT_OUT_COUNT: "3"}))
    async with offering(lambda: [replace(each, left_out_count=3) for each in params(parts[:1])], view) as client:
        get = ["job", "get", JOB, "stdout", "--output-dir"]
        code, _, told = await tarpon_command(client, *get, str(tmp_path))
        assert code == Exit.OK
        assert "not whole" in told
        assert "3 entries" in told
        code, out, told = await tarpon_command(client, *get, str(tmp_path / "again"), "--strict", "--output", "json")
        assert (code, json.loads(out)["LeftOutCount"]) == (Exit.NOT_WHOLE, 3)
        assert (tmp_path / "again" / "stdout").exists()
        assert (await client.get(JOB)).left_out_count == 3
        fetched = await get_results(client, JOB, paths=["outputs/a"], output_dir=tmp_path)
    assert fetched.left_out_count == 3


@pytest.mark.parametrize(("fails", "told"), [(False, {}), (True, {0: 3})], ids=["no failure", "a failure"])
async def test_an_exit_code_is_told_as_a_failure_only_where_its_job_says_so(
    parts: list[Stored], tmp_path: Path, *, fails: bool, told: dict[int, int]
) -> None:
    view = replace(VIEW, tasks=(replace(VIEW.task, fail_on_exit_code=fails),))
    async with offering(lambda: [replace(each, exit_code=3) for each in params(parts[:1])], view) as client:
        fetched = await get_results(client, JOB, paths=["stdout"], output_dir=tmp_path)
    assert fetched.exit_codes == told


@pytest.mark.parametrize("paths", [(), ("notes/*",)], ids=["all", "paths"])
async def test_attributes_come_with_all_of_a_result_and_with_a_part_of_it(
    s3_server: S3Server, bucket: str, tmp_path: Path, paths: tuple[str, ...]
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in ("notes/a", "notes/b"):
            entry = tarfile.TarInfo(name)
            entry.pax_headers = {"SCHILY.xattr.user.colour": name}
            archive.addfile(entry)
    result = Stored(s3_server, bucket, buffer.getvalue(), entries=2, raw_size=0)
    async with offering(lambda: params([result])) as client:
        rules = PlacementRules(xattrs=True)
        fetched = await get_results(client, JOB, paths=paths, output_dir=tmp_path, rules=rules)
    assert os.getxattr(tmp_path / "notes" / "b", "user.colour") == b"notes/b"
    assert fetched.oddities.counts == {}


async def test_archives_that_are_kept_can_neither_be_merged_nor_cut(parts: list[Stored], tmp_path: Path) -> None:
    async with offering(lambda: params(parts)) as client:
        with pytest.raises(InvalidInput):
            await get_results(client, JOB, raw=True, merge=True, output_dir=tmp_path)
        with pytest.raises(InvalidInput):
            await get_results(client, JOB, raw=True, paths=["stdout"], output_dir=tmp_path)


async def test_programs_list_files_and_read_one(parts: list[Stored]) -> None:
    found = bytearray()
    async with offering(lambda: params(parts)) as client:
        async with aclosing(list_files(client, JOB, partition=1)) as entries:
            listed = [entry.path async for entry in entries]
        await read_file(client, JOB, "outputs/same", found.extend, execution_id="e-0")
        with pytest.raises(InvalidInput, match="2 results"):
            await read_file(client, JOB, "stdout", found.extend)
    assert listed == ["outputs", "outputs/b", "outputs/same", "stdout"]
    assert found == b"same\n"


async def test_a_slash_parts_a_job_from_a_path_unless_it_is_in_the_jobs_name() -> None:
    async with offering(list) as client:
        assert await job_and_paths(client, JOB, ["x"]) == (JOB, ("x",))
        assert await job_and_paths(client, f"{JOB}/a/b", ["x"]) == (JOB, ("a/b", "x"))
        assert await job_and_paths(client, f"{JOB}/", []) == (JOB, ())
        assert await job_and_paths(client, "with/slash", []) == ("with/slash", ())


async def test_a_job_whose_name_begins_with_the_id_of_another_takes_no_file_of_its_place() -> None:
    async with offering(list) as client:
        assert await job_and_paths(client, f"{JOB}/stdout", []) == (JOB, ("stdout",))
        with pytest.raises(InvalidInput, match="'named/too' is the name of a job, and there is a job 'named' too"):
            await job_and_paths(client, "named/too", [])
