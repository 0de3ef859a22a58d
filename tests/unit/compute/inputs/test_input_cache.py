"""The cache keeps what was used last within its limit, never removes what is used, and believes no disk blindly."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from compute.inputs.objects.cache import InputCache
from shared.protocol.nodes.inputs import kept_name

NAMES = [kept_name(f"sha256:{number}") for number in range(5)]


def opened(folder: Path, *, limit_bytes: int = 30) -> InputCache:
    return InputCache.open(folder / "inputs", limit_bytes)


def put(cache: InputCache, name: str, content: bytes = b"0123456789") -> None:
    place = cache.place(name)
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(content)
    cache.add(name, len(content))


def held(cache: InputCache) -> list[int]:
    return [number for number, name in enumerate(NAMES) if cache.has(name, 10)]


def on_disk(cache: InputCache) -> list[int]:
    return [number for number, name in enumerate(NAMES) if cache.place(name).exists()]


@pytest.fixture
def cache(tmp_path: Path) -> InputCache:
    made = opened(tmp_path)
    for name in NAMES:
        put(made, name)
    return made


async def test_what_was_not_used_for_the_longest_time_goes_first(cache: InputCache) -> None:
    cache.use([NAMES[0]])
    await cache.trim()
    assert held(cache) == on_disk(cache) == [0, 3, 4]
    assert cache.total_bytes == 30


async def test_what_somebody_fetches_or_a_container_mounts_does_not_go(cache: InputCache, tmp_path: Path) -> None:
    os.link(cache.place(NAMES[1]), tmp_path / "mounted")
    with cache.pinned([NAMES[0]]):
        await cache.trim()
    assert held(cache) == on_disk(cache) == [0, 1, 4]
    (tmp_path / "mounted").unlink()
    put(cache, NAMES[2])
    await cache.trim()
    assert held(cache) == on_disk(cache) == [1, 2, 4]


async def test_what_a_full_disk_needs_goes_whatever_the_limit_is(cache: InputCache) -> None:
    await cache.trim(wanted_bytes=1 << 62)
    assert on_disk(cache) == []


def test_another_process_finds_what_is_there_in_the_order_of_its_use(cache: InputCache, tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        os.utime(cache.place(name), (100 - number, 100))
    again = opened(tmp_path)
    assert held(again) == [0, 1, 2, 3, 4]
    assert list(again._sizes) == NAMES[::-1]  # what goes first


def test_a_file_of_another_size_is_not_trusted(cache: InputCache, tmp_path: Path) -> None:
    cache.place(NAMES[0]).write_bytes(b"torn")
    assert held(opened(tmp_path)) == [1, 2, 3, 4]


@pytest.mark.parametrize(("is_closed", "kept"), [(True, [0, 1, 2, 3, 4]), (False, [])])
def test_what_a_machine_that_went_down_has_not_synced_is_not_trusted(
    cache: InputCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_closed: bool, kept: list[int]
) -> None:
    if is_closed:
        cache.close()
    monkeypatch.setattr("compute.inputs.objects.cache.boot_id", lambda: "another boot")
    again = opened(tmp_path)
    assert held(again) == on_disk(again) == kept


def test_files_of_which_it_is_not_known_when_they_were_written_are_not_trusted(
    cache: InputCache, tmp_path: Path
) -> None:
    (cache.root / "boot").unlink()
    assert held(opened(tmp_path)) == []


def test_that_the_cache_is_in_use_is_on_the_disk_before_anything_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def sync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", sync)
    cache = opened(tmp_path)
    assert synced == [(cache.root / "boot").stat().st_ino, cache.root.stat().st_ino]


async def test_only_one_at_a_time_fetches_a_content(cache: InputCache) -> None:
    async with cache.turn(NAMES[0]):
        assert cache._turns[NAMES[0]][0].locked()
    assert not cache._turns  # nothing grows


async def test_what_is_made_again_while_others_are_removed_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = opened(tmp_path, limit_bytes=0)
    views = ["aa" * 32, "bb" * 32]
    for name in views:
        keep_view(cache, name)
    removed, go_on, remove = threading.Event(), threading.Event(), cache.views.remove_unused

    def slowly(name: str) -> list[str] | None:
        found = remove(name)
        if not removed.is_set():
            removed.set()
            go_on.wait()
        return found

    monkeypatch.setattr(cache.views, "remove_unused", slowly)
    async with asyncio.TaskGroup() as group:
        group.create_task(cache.trim())
        await asyncio.to_thread(removed.wait)
        monkeypatch.undo()
        keep_view(cache, views[0])
        go_on.set()
    assert list(cache.views_kept) == views[:1]
    assert cache.views.view(views[0]).exists()
    assert cache.total_bytes > 0
    await cache.trim()
    assert (list(cache.views_kept), cache.total_bytes) == ([], 0)


def keep_view(cache: InputCache, name: str) -> None:
    draft = cache.views.draft()
    (draft / "view").mkdir()
    (draft / "view" / "file").write_bytes(b"x" * 100_000)
    cache.add_view(name, cache.views.keep(draft, name, b"", ()).own_bytes)
