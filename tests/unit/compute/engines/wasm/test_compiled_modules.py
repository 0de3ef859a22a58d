"""Compiled modules on disk, and which of them go."""

import os
from pathlib import Path

from compute.engines.wasm.compiled_modules import CompiledModules
from compute.engines.wasm.orders import in_memory


def opened(folder: Path, runtime: str = "50", boot: str = "b", limit_bytes: int = 1000) -> CompiledModules:
    return CompiledModules.open(folder, runtime, boot, limit_bytes)


def put(modules: CompiledModules, digest: str, size: int) -> None:
    content = in_memory("compiled", digest[:1].encode() * size)
    modules.put(digest, content)
    os.close(content)


def content(modules: CompiledModules, digest: str) -> bytes | None:
    descriptor = modules.get(digest)
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def test_what_was_put_is_there_also_for_the_next_process(tmp_path: Path) -> None:
    put(opened(tmp_path), "abc", 5)
    assert content(opened(tmp_path), "abc") == b"aaaaa"
    assert content(opened(tmp_path), "other") is None


def test_what_was_not_used_for_the_longest_time_goes_first(tmp_path: Path) -> None:
    modules = opened(tmp_path)
    for digest in ("a", "b"):
        put(modules, digest, 400)
    content(modules, "a")
    put(modules, "c", 400)
    assert [content(modules, each) is not None for each in ("a", "b", "c")] == [True, False, True]
    assert len(list(tmp_path.glob("*/*"))) == 2


def test_the_last_one_stays_however_large_it_is(tmp_path: Path) -> None:
    modules = opened(tmp_path)
    put(modules, "a", 5000)
    assert content(modules, "a") is not None


def test_those_of_another_runtime_or_boot_are_removed(tmp_path: Path) -> None:
    put(opened(tmp_path), "a", 5)
    assert content(opened(tmp_path, boot="later"), "a") is None
    assert content(opened(tmp_path), "a") is None


def test_what_was_half_written_is_removed(tmp_path: Path) -> None:
    put(opened(tmp_path), "a", 5)
    (kept,) = tmp_path.glob("*/a")
    kept.with_name("b.new").write_bytes(b"half")
    modules = opened(tmp_path)
    assert [each.name for each in tmp_path.glob("*/*")] == ["a"]
    assert content(modules, "b.new") is None


def test_only_the_node_reads_them(tmp_path: Path) -> None:
    put(opened(tmp_path), "a", 5)
    (kept,) = tmp_path.glob("*/a")
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_what_is_forgotten_is_gone(tmp_path: Path) -> None:
    modules = opened(tmp_path)
    put(modules, "a", 5)
    modules.forget("a")
    assert content(opened(tmp_path), "a") is None
