"""Inputs are fetched from a real S3, whatever it does meanwhile, and are right or not there at all."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from compute.inputs.failures import InputFailed
from compute.inputs.fetching import Inputs
from compute.inputs.objects.downloads import SMALL_BYTES
from compute.inputs.objects.managed import ManagedInputs
from compute.inputs.objects.partial_input import PIECE_BYTES
from shared.protocol.messages import NodeRequestAnswer, RequestRefused
from shared.protocol.nodes.inputs import InputsRequest, kept_name
from tests.faulty_s3 import DENIED, EXPIRED, INTERNAL, PASS, SLOW_DOWN, TRUNCATE, Fault, Kind
from tests.integration.fetching import Fetching, fetching
from tests.servers import S3Server
from tests.waiting import eventually

LARGE = os.urandom(5 * PIECE_BYTES // 2)


@pytest.fixture
async def bench(s3_server: S3Server, tmp_path: Path) -> AsyncIterator[Fetching]:
    async with fetching(s3_server, tmp_path) as made:
        yield made


def contents(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(each.lstat().st_mode) for each in (folder, *folder.rglob("*"))}


@pytest.mark.parametrize("engine", ["docker", "process"])
async def test_objects_are_files_below_their_target_that_nobody_writes_to(bench: Fetching, engine: str) -> None:
    wanted = {"a.csv": b"one", "deep/er/b c.bin": LARGE, "empty": b""}
    for path, content in wanted.items():
        await bench.desk.add(path, content, is_hashed=True)
    (mounted,) = await bench.fetch(engine=engine)
    assert await asyncio.to_thread(contents, mounted.path) == wanted
    assert modes(mounted.path) == {0o444, 0o555}
    assert mounted.target == "/in"


@pytest.mark.parametrize("size", [SMALL_BYTES, SMALL_BYTES + 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1])
async def test_objects_of_any_size_come_whole(bench: Fetching, size: int) -> None:
    content = LARGE[:size]
    await bench.desk.add("a", content)
    (mounted,) = await bench.fetch()
    assert await asyncio.to_thread((mounted.path / "a").read_bytes) == content


async def test_what_a_task_wants_is_not_removed_to_make_room_for_it(bench: Fetching) -> None:
    await bench.desk.add("a", LARGE[:1000])
    await bench.fetch()
    before = bench.gets
    await bench.desk.add("b", LARGE[:2000])
    trim = bench.cache.trim

    async def trim_all(*, wanted_bytes: int = 0) -> None:
        await trim(wanted_bytes=wanted_bytes << 50)

    bench.cache.trim = trim_all  # type: ignore[method-assign]
    await bench.fetch("e-2")
    assert bench.gets == before + 1


async def test_a_target_may_be_a_file_and_what_has_no_objects_is_an_empty_folder(bench: Fetching) -> None:
    await bench.desk.add("", b"one", key="one")
    one, none = await bench.fetch(targets=("/one", "/none"))
    assert one.path.read_bytes() == b"one"
    assert list(none.path.iterdir()) == []


async def test_a_program_can_be_executed_and_the_same_content_elsewhere_cannot(bench: Fetching) -> None:
    await bench.desk.add("run", b"#!/bin/sh\n", executable=True)
    await bench.desk.add("text", b"#!/bin/sh\n")
    (mounted,) = await bench.fetch()
    assert [stat.S_IMODE((mounted.path / name).stat().st_mode) for name in ("run", "text")] == [0o555, 0o444]
    assert bench.gets == 1


async def test_a_task_without_a_container_has_copies_of_its_own(bench: Fetching) -> None:
    await bench.desk.add("a", b"one")
    for name in ("e-1", "e-2"):
        (mounted,) = await bench.fetch(name, engine="process")
        assert (mounted.path / "a").stat().st_nlink == 1
        assert mounted.path == bench.folder / "executions" / name / "workspace" / "in"


async def test_the_same_content_is_fetched_once_for_tasks_that_want_it_together_and_later(bench: Fetching) -> None:
    for number in range(3):
        await bench.desk.add(f"{number}", LARGE[number : PIECE_BYTES // 2])
    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(bench.fetch(f"e-{number}"))
    await bench.fetch("e-later")
    assert bench.gets == 3


async def test_many_small_objects_come_in_batches_of_which_the_answers_may_be_short(bench: Fetching) -> None:
    bench.desk.of_one = 50
    wanted = {f"{number:03}": b"%d" % number for number in range(200)}
    for path, content in wanted.items():
        await bench.desk.add(path, content)
    (mounted,) = await bench.fetch()
    assert await asyncio.to_thread(contents, mounted.path) == wanted
    assert len(bench.desk.asked) <= 8


async def test_small_objects_come_once_for_executions_at_the_same_time(bench: Fetching) -> None:
    for number in range(10):
        await bench.desk.add(f"{number}", b"%d" % number)
    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(bench.fetch(f"e-{number}"))
    assert bench.gets == 10


async def test_a_small_file_that_a_kill_has_cut_is_read_again(
    bench: Fetching, s3_server: S3Server, tmp_path: Path
) -> None:
    wanted = {f"{number}": b"%d" % number * 100 for number in range(4)}
    for path, content in wanted.items():
        await bench.desk.add(path, content)
    for file, left in zip(bench.desk.files, (b"", b"1"), strict=False):
        place = bench.cache.place(kept_name(file.content))
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(left)
    async with fetching(s3_server, tmp_path) as again:
        again.inputs = Inputs({}, ManagedInputs(again.downloads, bench.desk.ask))
        (mounted,) = await again.fetch()
    assert await asyncio.to_thread(contents, mounted.path) == wanted


async def test_small_objects_come_whole_where_some_are_refused_or_cut_off(bench: Fetching) -> None:
    wanted = {f"{number}": b"%d" % number * 100 for number in range(20)}
    for path, content in wanted.items():
        await bench.desk.add(path, content, is_hashed=True)
    bench.s3.plan(Kind.OTHER, INTERNAL, TRUNCATE, PASS, EXPIRED, TRUNCATE, PASS, DENIED)
    (mounted,) = await bench.fetch()
    assert await asyncio.to_thread(contents, mounted.path) == wanted
    assert bench.gets == 20 + 5


async def test_one_of_many_small_objects_that_is_not_what_its_checksum_says_is_told(bench: Fetching) -> None:
    for number in range(10):
        await bench.desk.add(f"{number}", b"%d" % number, sha256="0" * 64 if number == 5 else "")
    with pytest.raises(InputFailed, match=r"/5 is not what its checksum says") as told:
        await bench.fetch()
    assert told.value.reason == "InputDamaged"


@pytest.mark.parametrize("content", [b"small" * 200, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("fault", [INTERNAL, SLOW_DOWN, EXPIRED, DENIED, TRUNCATE], ids=lambda fault: str(fault.status))
async def test_what_s3_refuses_for_now_is_read_in_the_end(bench: Fetching, content: bytes, fault: Fault) -> None:
    await bench.desk.add("a", content, is_hashed=True)
    bench.s3.plan(Kind.OTHER, fault, fault)
    (mounted,) = await bench.fetch()
    assert (mounted.path / "a").read_bytes() == content
    assert not bench.s3.planned


async def test_an_object_whose_last_piece_is_small_is_read(bench: Fetching) -> None:
    await bench.desk.add("a", LARGE[: PIECE_BYTES + 10])
    (mounted,) = await bench.fetch()
    assert await asyncio.to_thread((mounted.path / "a").read_bytes) == LARGE[: PIECE_BYTES + 10]


async def test_no_task_gets_a_part_of_its_inputs_where_the_orchestrator_knows_less_than_before(
    bench: Fetching,
) -> None:
    for number in range(70):
        await bench.desk.add(f"{number}", b"x")
    answer = bench.desk.ask

    async def forgets(request: InputsRequest) -> NodeRequestAnswer:
        if request.first:
            bench.desk.files.clear()
        return await answer(request)

    bench.inputs = Inputs({}, ManagedInputs(bench.downloads, forgets))
    with pytest.raises(InputFailed, match="other inputs") as caught:
        await bench.fetch()
    assert caught.value.reason == "InputChanged"


async def test_a_url_is_asked_for_again_once_for_all_that_wait_for_it_and_with_what_s3_said(bench: Fetching) -> None:
    for number in range(20):
        await bench.desk.add(f"{number}", b"%d" % number)
    bench.s3.plan(Kind.OTHER, *[EXPIRED] * 40)  # all together, and each by itself
    await bench.fetch()
    assert len(bench.desk.asked) <= 1 + 20
    assert {each.s3_code for each in bench.desk.asked[1:]} == {"AccessDenied"}


async def test_s3_that_is_away_is_waited_for_and_what_came_is_not_read_again(bench: Fetching) -> None:
    await bench.desk.add("a", LARGE)
    hold = asyncio.Event()
    bench.s3.plan(Kind.OTHER, *[Fault(hold=hold)] * 2)
    async with asyncio.TaskGroup() as group:
        fetch = group.create_task(bench.fetch())
        await eventually(lambda: [each for each in bench.s3.seen if each.status == 206], what="a piece comes")
        await bench.s3.shut()
        hold.set()
        await bench.s3.open()
        (mounted,) = await fetch
    assert await asyncio.to_thread((mounted.path / "a").read_bytes) == LARGE
    answered = [each.headers["range"] for each in bench.s3.seen if each.status == 206]
    assert len(answered) == len(set(answered)) == 3


@pytest.mark.parametrize("content", [b"small" * 200, LARGE], ids=["small", "large"])
async def test_an_object_that_has_changed_is_told_and_nothing_of_it_is_seen(bench: Fetching, content: bytes) -> None:
    await bench.desk.add("a.bin", content)
    await bench.desk.store(f"{bench.desk.prefix}/a.bin", content[::-1])
    sentence = r"The input object .*/a.bin has changed since the job was submitted."
    with pytest.raises(InputFailed, match=sentence) as told:
        await bench.fetch()
    assert told.value.reason == "InputChanged"
    assert not list(bench.folder.rglob("*a.bin*"))
    assert list((bench.folder / "inputs" / "partial").iterdir()) == []


@pytest.mark.parametrize("content", [b"small" * 200, LARGE], ids=["small", "large"])
async def test_an_object_that_is_gone_is_told(bench: Fetching, content: bytes) -> None:
    await bench.desk.add("a.bin", content)
    await asyncio.to_thread(
        bench.desk.server.client().delete_object, Bucket=bench.desk.bucket, Key=f"{bench.desk.prefix}/a.bin"
    )
    with pytest.raises(InputFailed, match=r"was deleted since the job was submitted") as told:
        await bench.fetch()
    assert told.value.reason == "InputNotFound"


@pytest.mark.parametrize("content", [b"small" * 200, LARGE], ids=["small", "large"])
async def test_an_object_that_is_not_what_its_checksum_says_is_told(bench: Fetching, content: bytes) -> None:
    await bench.desk.add("a.bin", content, sha256="0" * 64)
    with pytest.raises(InputFailed, match=r"is not what its checksum says") as told:
        await bench.fetch()
    assert told.value.reason == "InputDamaged"


async def test_what_s3_refuses_for_good_is_told_without_what_signs_it(bench: Fetching) -> None:
    await bench.desk.add("a.bin", b"x")
    bench.s3.plan(Kind.OTHER, *[DENIED] * 50)
    with pytest.raises(InputFailed, match=r"S3 does not give the input object .*403 AccessDenied") as told:
        await bench.fetch()
    assert told.value.reason == "InputAccessDenied"
    assert "X-Amz" not in told.value.detail


async def test_a_refusal_of_the_orchestrator_is_waited_for_or_told_in_its_words(bench: Fetching) -> None:
    await bench.desk.add("a", b"x")
    later = RequestRefused(code="NotReady", message="no bucket today", retryable=True)
    bench.desk.refusals = [later]
    await bench.fetch()
    bench.desk.refusals = [RequestRefused(code="GrantRefused", message="The bucket is not allowed any more.")]
    sentence = r"does not give the inputs of the task: The bucket is not allowed any more."
    with pytest.raises(InputFailed, match=sentence) as told:
        await bench.fetch("e-2")
    assert told.value.reason == "InputAccessDenied"


async def test_more_than_the_task_may_have_is_refused_before_the_first_byte(bench: Fetching) -> None:
    await bench.desk.add("a", LARGE)
    with pytest.raises(InputFailed, match=r"needs 20.0 MiB of inputs, and may fill 10.0 MiB of disk") as told:
        await bench.fetch(disk_bytes=10 << 20)
    assert told.value.reason == "InputTooLarge"
    assert not bench.gets


async def test_more_than_the_disk_has_is_refused_before_the_first_byte(bench: Fetching) -> None:
    file = await bench.desk.add("a", b"x")
    bench.desk.files = [replace(file, size=1 << 60)]
    with pytest.raises(InputFailed, match=r"the node's disk has .* left for them") as told:
        await bench.fetch()
    assert told.value.reason == "DiskFull"
    assert not bench.gets


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        (("a", "a/b"), "a file where it needs a folder, or something twice"),
        (("a", "a"), "a file where it needs a folder, or something twice"),
        (("../a",), "which is no path below it"),
        (("x" * 300,), "a name of more than 255 bytes"),
    ],
)
@pytest.mark.parametrize("engine", ["docker", "process"])
async def test_names_that_no_disk_can_have_are_told(
    bench: Fetching, paths: tuple[str, ...], told: str, engine: str
) -> None:
    for number, path in enumerate(paths):
        await bench.desk.add(path, b"%d" % number, key=f"{number}")
    with pytest.raises(InputFailed, match=told) as error:
        await bench.fetch(engine=engine)
    assert error.value.reason == "InputNotPlaced"


async def test_who_is_stopped_leaves_what_has_come_to_the_next_one(bench: Fetching) -> None:
    await bench.desk.add("a", LARGE)
    hold = asyncio.Event()
    bench.s3.plan(Kind.OTHER, *[Fault(hold=hold)] * 2)
    async with asyncio.TaskGroup() as group:
        fetch = group.create_task(bench.fetch())
        await eventually(lambda: len(noted(bench)) == 1, what="a piece has come")
        fetch.cancel()
    bench.s3.forget_plans()
    hold.set()
    bench.s3.seen.clear()
    await bench.fetch("e-2")
    assert bench.gets == 2


def noted(bench: Fetching) -> list[bytes]:
    """The pieces that are there of what is not whole."""
    notes = (bench.folder / "inputs" / "partial").glob("*.note")
    return [line for path in notes for line in path.read_bytes().splitlines()[1:]]
