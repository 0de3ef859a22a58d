"""What containers of several tasks read is made once on a node, and is there for as long as one of them has it."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from compute.disk.disk_watch import task_bytes
from compute.disk.input_files import MountedInput
from compute.disk.workspace import Workspace
from compute.inputs.failures import InputFailed
from compute.inputs.fetching import Inputs
from compute.inputs.objects.cache import InputCache
from compute.inputs.objects.downloads import Downloads
from compute.inputs.objects.managed import ManagedInputs
from compute.inputs.objects.small.gets import SmallGets
from compute.inputs.objects.unpacking import unpack_result
from shared.runtime.aio import pipelined
from tests.faulty_s3 import DENIED, Fault, Kind
from tests.integration.compute.inputs.test_fetching_inputs import contents, modes
from tests.integration.fetching import Fetching, fetching
from tests.servers import S3Server
from tests.unit.shared.extraction.test_extract import file, gzipped, symlink
from tests.waiting import eventually

FILES = {f"{number // 50}/{number:03}": b"%d" % number for number in range(70)}


@pytest.fixture
async def bench(s3_server: S3Server, tmp_path: Path) -> AsyncIterator[Fetching]:
    async with fetching(s3_server, tmp_path, unpack=unpack_result) as made:
        yield made


@pytest.fixture
async def full(bench: Fetching) -> Fetching:
    await add(bench, FILES)
    return bench


async def add(bench: Fetching, files: dict[str, bytes], *, source: int = 0) -> None:
    async def store(path: str) -> None:
        await bench.desk.add(path, files[path], source=source)

    await pipelined(files, store, at_once=8)
    bench.desk.files.sort(key=lambda each: (each.source, each.path))


async def read(mounted: MountedInput) -> dict[str, bytes]:
    return await asyncio.to_thread(contents, mounted.path)


def views(bench: Fetching) -> list[str]:
    return sorted(os.listdir(bench.cache.root / "views"))  # noqa: PTH208


def workspace(bench: Fetching, name: str) -> Workspace:
    return Workspace(bench.folder / "executions" / name)


async def trim_all(cache: InputCache) -> None:
    """As when the disk is full: whatever is not in use goes."""
    await cache.trim(wanted_bytes=1 << 62)


async def test_a_second_task_asks_once_and_mounts_what_was_made_for_the_first(full: Fetching) -> None:
    (first,) = await full.fetch()
    assert len(full.desk.asked) == 2
    full.desk.asked.clear()
    (second,) = await full.fetch("e-2")
    assert len(full.desk.asked) == 1
    assert first == second
    assert await read(second) == FILES
    assert modes(second.path) == {0o444, 0o555}
    assert full.gets == len(FILES)


async def test_one_makes_it_while_others_wait(full: Fetching) -> None:
    hold = asyncio.Event()
    full.s3.plan(Kind.OTHER, Fault(hold=hold))
    async with asyncio.TaskGroup() as group:
        fetches = [group.create_task(full.fetch(f"e-{number}")) for number in range(4)]
        await eventually(lambda: len({each.execution_id for each in full.desk.asked}) == 4, what="all have asked")
        hold.set()
    assert len({each.result() for each in fetches}) == 1
    assert len(views(full)) == 1
    assert len(full.desk.asked) == 5
    assert full.gets == len(FILES)


async def test_another_one_makes_it_where_the_first_has_failed(full: Fetching) -> None:
    hold = asyncio.Event()
    full.s3.plan(Kind.OTHER, Fault(hold=hold))
    async with asyncio.TaskGroup() as group:
        first = group.create_task(full.fetch())
        await eventually(lambda: full.s3.seen, what="the first makes it")
        second = group.create_task(full.fetch("e-2"))
        await eventually(lambda: {each.execution_id for each in full.desk.asked} == {"e-1", "e-2"}, what="both ask")
        first.cancel()
        hold.set()
    assert await read(second.result()[0]) == FILES
    assert len(views(full)) == 1


async def test_a_view_in_use_stays_whatever_is_wanted_and_also_for_the_next_process(full: Fetching) -> None:
    (mounted,) = await full.fetch()
    await full.fetch("e-2")
    await asyncio.to_thread(workspace(full, "e-2").discard)
    await trim_all(full.cache)
    assert await read(mounted) == FILES
    again = await asyncio.to_thread(InputCache.open, full.cache.root, 1)
    await again.trim()
    await trim_all(again)
    assert await read(mounted) == FILES
    await asyncio.to_thread(workspace(full, "e-1").discard)
    assert await read(mounted) == FILES
    await trim_all(again)
    assert views(full) == []
    assert again.total_bytes == 0
    assert not [each for each in (full.cache.root / "files").rglob("*") if each.is_file()]


async def test_the_files_of_a_view_are_found_again_when_it_has_gone(full: Fetching) -> None:
    await full.fetch()
    await asyncio.to_thread(workspace(full, "e-1").discard)
    assert await asyncio.to_thread(full.cache.views.remove_unused, views(full)[0])
    (mounted,) = await full.fetch("e-2")
    assert await read(mounted) == FILES
    assert full.gets == len(FILES)


async def test_what_is_not_known_to_be_the_same_is_not_shared(full: Fetching) -> None:
    full.desk.tells_lists = False
    one, other = [(await full.fetch(name))[0] for name in ("e-1", "e-2")]
    assert one.path != other.path
    assert await read(one) == await read(other) == FILES
    assert views(full) == []


async def test_inputs_that_are_shared_and_others_are_where_each_belongs(full: Fetching) -> None:
    targets = ("/shared", "/own", "/again")
    await add(full, {"one": b"1"}, source=1)
    await add(full, FILES, source=2)
    shared, own, again = await full.fetch(targets=targets)
    assert shared.path == again.path
    assert await read(own) == {"one": b"1"}
    full.desk.files = [
        replace(each, path=f"other/{each.path}") if each.source == 2 else each for each in full.desk.files
    ]
    shared_too, own_too, different = await full.fetch("e-2", targets=targets)
    assert (shared_too, own_too.path != own.path) == (shared, True)
    assert await read(different) == {f"other/{path}": content for path, content in FILES.items()}
    assert len(views(full)) == 2


async def test_a_task_without_a_container_shares_nothing(full: Fetching) -> None:
    await full.fetch()
    (copied,) = await full.fetch("e-2", engine="process")
    assert await read(copied) == FILES
    assert {each.stat().st_nlink for each in copied.path.rglob("*") if each.is_file()} == {1}


async def test_what_is_shared_counts_as_disk_space_of_each_task(full: Fetching) -> None:
    await full.fetch()
    await full.fetch("e-2")
    used = [task_bytes(workspace(full, name), threading.Event()) for name in ("e-1", "e-2")]
    assert used[0] == used[1] >= len(FILES) * 512


async def test_a_result_is_unpacked_once_and_refused_in_the_same_words_to_who_may_not_fill_so_much(
    bench: Fetching,
) -> None:
    packed = gzipped(file("part.bin", os.urandom(1 << 20)))
    await bench.desk.add("", packed, key="result", archive=True)
    small = 1 << 19
    for number in range(2):
        with pytest.raises(InputFailed, match=r"needs 1.0 MiB of inputs"):
            await bench.fetch(f"e-small-{number}", disk_bytes=small)
    await bench.desk.add("", gzipped(file("zeros", bytes(4 << 20))), key="zeros", archive=True)
    bench.desk.files = bench.desk.files[1:]
    refusals = []
    for name in ("e-1", "e-2"):
        with pytest.raises(InputFailed) as caught:
            await bench.fetch(name, disk_bytes=small)
        refusals.append((caught.value.reason, caught.value.detail))
        (mounted,) = await bench.fetch(f"{name}-large")
        assert (mounted.path / "zeros").stat().st_size == 4 << 20
    assert len(views(bench)) == 1
    assert refusals[0] == refusals[1]
    assert refusals[0][1].startswith(f"A result that the task reads is larger than {small:,} bytes")


@pytest.mark.parametrize("engine", ["docker", "process"])
async def test_links_out_of_a_result_that_a_task_does_not_get_are_told_each_time(bench: Fetching, engine: str) -> None:
    packed = gzipped(file("kept"), symlink("away", "/etc/hosts"), symlink("up", "../../x"), symlink("fine", "kept"))
    await bench.desk.add("", packed, key="result", archive=True)
    for name in ("e-1", "e-2"):
        (mounted,) = await bench.fetch(name, engine=engine)
        assert sorted(each.name for each in mounted.path.iterdir()) == ["fine", "kept"]
        assert bench.told.pop() == "The input at /in is without 2 links that lead out of it: 'away', 'up'"
    assert bench.told == []


async def test_after_the_machine_went_down_a_view_is_given_to_nobody_and_goes_once_nobody_has_it(
    full: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mounted,) = await full.fetch()
    monkeypatch.setattr("compute.inputs.objects.cache.boot_id", lambda: "another boot")
    cache = await asyncio.to_thread(InputCache.open, full.cache.root, 1 << 30)
    assert not mounted.path.exists()
    assert [name.endswith(".old") for name in views(full)] == [True]
    with closing(SmallGets()) as small_gets, closing(Downloads(full.downloads.http, small_gets, cache)) as downloads:
        full.inputs = Inputs({}, ManagedInputs(downloads, full.desk.ask))
        (again,) = await full.fetch("e-2")
    assert await read(again) == FILES
    assert full.gets == 2 * len(FILES)
    await asyncio.to_thread(workspace(full, "e-1").discard)
    await asyncio.to_thread(cache.sweep)
    assert views(full) == [again.path.parent.name]


async def test_nothing_of_a_view_that_was_not_made_whole_is_left(full: Fetching) -> None:
    full.s3.plan(Kind.OTHER, *[DENIED] * 500)
    with pytest.raises(InputFailed):
        await full.fetch()
    assert views(full) == []
    full.s3.forget_plans()
    (full.cache.root / "views" / "0123.new" / "view").mkdir(parents=True)
    await asyncio.to_thread(InputCache.open, full.cache.root, 1 << 30)
    assert views(full) == []


async def test_where_files_have_one_name_only_each_task_has_its_own(
    full: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    one, other = [(await full.fetch(name))[0] for name in ("e-1", "e-2")]
    assert one.path == workspace(full, "e-1").inputs / "0"
    assert await read(one) == await read(other) == FILES
    assert modes(one.path) == {0o444, 0o555}
    assert views(full) == []


async def test_no_more_views_are_kept_than_can_be_looked_after(full: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compute.inputs.objects.cache.MOST_VIEWS", 2)
    for number in range(4):
        full.desk.files = [replace(each, path=f"{number}/{each.path}") for each in full.desk.files]
        await full.fetch(f"e-{number}")
        if number:
            await asyncio.to_thread(workspace(full, f"e-{number}").discard)
    await full.cache.trim()
    assert len(views(full)) == 2
    assert await asyncio.to_thread(workspace(full, "e-0").inputs.joinpath("0.view").exists)
    assert (await full.fetch("e-again"))[0].path.exists()
