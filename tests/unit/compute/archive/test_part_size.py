"""One size for all parts of an upload, fixed beforehand, so that 10,000 of them suffice."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute.archive.gzip_blocks import GzipMember, compress_block
from compute.archive.part_size import MAX_PARTS, PART_BYTES, part_bytes_for, part_bytes_of
from compute.archive.tar_stream import TarStream

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40

limited = partial(part_bytes_of, limit_bytes=TIB)


@pytest.mark.parametrize(
    ("tree_bytes", "part_bytes"),
    [
        (0, 8 * MIB),
        (70 * GIB, 8 * MIB),
        (76 * GIB, 8 * MIB),
        (77 * GIB, 16 * MIB),
        (150 * GIB, 16 * MIB),
        (TIB, 128 * MIB),
        (39 * TIB, 8 * GIB),
    ],
)
def test_the_size_grows_with_the_tree(tree_bytes: int, part_bytes: int) -> None:
    assert part_bytes_for(tree_bytes) == part_bytes


@given(st.integers(0, 48 * TIB))
def test_ten_thousand_parts_hold_the_tree_and_what_gzip_adds_to_bytes_that_do_not_compress(tree_bytes: int) -> None:
    part_bytes = part_bytes_for(tree_bytes)
    assert part_bytes * MAX_PARTS > tree_bytes * 1.01
    assert part_bytes >= 5 * MIB, "S3 takes no smaller ones"
    assert part_bytes == PART_BYTES or part_bytes // 2 * MAX_PARTS < tree_bytes * 1.05


def test_gzip_adds_less_than_was_allowed_for() -> None:
    block = os.urandom(MIB)
    assert len(GzipMember().append(compress_block(block))) < len(block) * 1.005


class Disk:
    """What statvfs says of the folder's file system."""

    def __init__(self, *, used_bytes: int, files: int = 1000, used_files: int = 100) -> None:
        self.status = SimpleNamespace(
            f_frsize=4096,
            f_blocks=1 << 40,
            f_bfree=(1 << 40) - used_bytes // 4096,
            f_files=files,
            f_ffree=files - used_files,
        )


@pytest.fixture
def set_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Disk], None]:
    return lambda disk: monkeypatch.setattr("compute.archive.part_size.os.statvfs", lambda _: disk.status)


async def test_a_tree_on_a_disk_with_little_on_it_is_not_walked(
    tmp_path: Path, set_disk: Callable[[Disk], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_wanted(_: Path) -> int:
        raise AssertionError("walked")

    monkeypatch.setattr("compute.archive.part_size._walked", not_wanted)
    set_disk(Disk(used_bytes=50 * GIB))
    assert await limited(tmp_path) == PART_BYTES


@pytest.mark.parametrize("disk", [Disk(used_bytes=TIB), Disk(used_bytes=0, files=0, used_files=0)])
async def test_a_tree_on_a_large_disk_or_one_that_tells_no_number_of_files_is_measured(
    tmp_path: Path, set_disk: Callable[[Disk], None], disk: Disk
) -> None:
    set_disk(disk)
    (tmp_path / "sub").mkdir()
    (tmp_path / "loop").symlink_to(".")
    assert await limited(tmp_path) == PART_BYTES
    with (tmp_path / "sub" / "large").open("wb") as file:
        file.truncate(200 * GIB)
    assert await limited(tmp_path) == part_bytes_for(200 * GIB)


async def test_many_small_entries_count_with_their_headers(
    tmp_path: Path, set_disk: Callable[[Disk], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        (tmp_path / f"{number}-{'x' * 120}").write_bytes(b"x")
    tar_bytes = sum(len(block) for block in TarStream(tmp_path).blocks())
    monkeypatch.setattr("compute.archive.part_size.PART_BYTES", 4)
    set_disk(Disk(used_bytes=TIB))
    assert await limited(tmp_path) * MAX_PARTS > tar_bytes


async def test_each_name_of_a_file_counts_where_links_are_copied(
    tmp_path: Path, set_disk: Callable[[Disk], None]
) -> None:
    set_disk(Disk(used_bytes=50 * GIB))
    with (tmp_path / "large").open("wb") as file:
        file.truncate(50 * GIB)
    for number in range(3):
        (tmp_path / f"again-{number}").hardlink_to(tmp_path / "large")
    assert await limited(tmp_path) == PART_BYTES
    assert await limited(tmp_path, copies_links=True) == part_bytes_for(200 * GIB)


async def test_parts_are_no_larger_than_for_the_largest_result_that_is_taken(
    tmp_path: Path, set_disk: Callable[[Disk], None]
) -> None:
    """Each is in memory: a sparse file, or many names of one, can have any size."""
    set_disk(Disk(used_bytes=TIB))
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(15 * TIB)
    assert await limited(tmp_path) == part_bytes_for(TIB)
    assert await part_bytes_of(tmp_path, limit_bytes=GIB) == PART_BYTES
