"""A small result is packed at once, without a file for its exit code, to the bytes that it has always had."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from compute.archive.small import SMALL_BYTES, SmallArchives
from compute.archive.stream import ArchiveStream, ArchiveThreads
from compute.disk.gathering import Gathered
from compute.disk.result_contents import ALL, ResultContents
from compute.disk.workspace import Workspace
from shared.jobs.spec import ResultPath

OUTPUTS = ResultPath(name="outputs", path="/outputs")
ENDED_AT = 1_700_000_000.9


def a_result(root: Path, *paths: ResultPath) -> Workspace:
    workspace = Workspace(root, has_paths=bool(paths))
    workspace.create(paths)
    for name in ("stdout", "stderr"):
        (workspace.result / name).write_text(f"told on {name}")
        os.utime(workspace.result / name, (1, 1))
    for each in paths:
        (workspace.place(each.path) / "file").write_text("made")
        (workspace.place(each.path) / "link").symlink_to("file")
    assert workspace.gather(paths) == Gathered()
    return workspace


async def in_its_turn(root: Path, contents: ResultContents, scratch: Path) -> bytes:
    threads = ArchiveThreads(at_once=1, compressing=1)
    try:
        async with ArchiveStream(root, threads, part_bytes=8 << 20, scratch=scratch, contents=contents) as archive:
            return b"".join([bytes(part.content) async for part in archive])
    finally:
        threads.close()


@pytest.mark.parametrize("paths", [(), (OUTPUTS,)])
async def test_the_archive_is_the_one_of_a_folder_with_a_file_for_the_exit_code(
    tmp_path: Path, paths: tuple[ResultPath, ...]
) -> None:
    workspace = a_result(tmp_path / "e-1", *paths)
    contents = workspace.contents(3, ENDED_AT)
    packed = SmallArchives().pack(workspace.result, contents)
    assert packed is not None
    assert await in_its_turn(workspace.result, contents, tmp_path) == packed.content
    (workspace.result / "exitCode").write_bytes(b"3")
    os.utime(workspace.result / "exitCode", (1_700_000_000, 1_700_000_000))
    if not paths:
        workspace.folder.rmdir()  # it is beside the files then
    assert await in_its_turn(workspace.result, ALL, tmp_path) == packed.content


async def test_outputs_that_were_read_already_give_the_same_bytes(tmp_path: Path) -> None:
    workspace = a_result(tmp_path / "e-1")
    (workspace.result / "stderr").chmod(0o640)
    contents, files = workspace.contents(3, ENDED_AT), workspace.short_outputs()
    packed = SmallArchives().pack(workspace.result, contents.read(files))
    assert packed is not None
    assert await in_its_turn(workspace.result, contents, tmp_path) == packed.content


def test_what_lies_beside_the_outputs_is_no_part_of_a_result_without_paths(tmp_path: Path) -> None:
    workspace = a_result(tmp_path / "e-1")
    (workspace.folder / "scratch").write_text("not a result")
    (workspace.root / "upload.jsonl").write_text("the node's")
    packed = SmallArchives().pack(workspace.result, workspace.contents(0, ENDED_AT))
    assert packed is not None
    with tarfile.open(fileobj=io.BytesIO(packed.content)) as tar:
        assert tar.getnames() == ["exitCode", "stderr", "stdout"]


@pytest.mark.parametrize("is_link", [True, False])
def test_a_task_cannot_put_an_exit_code_in_the_place_of_its_own(tmp_path: Path, *, is_link: bool) -> None:
    workspace = a_result(tmp_path / "e-1", OUTPUTS)
    if is_link:
        (workspace.result / "exitCode").symlink_to("/etc/passwd")
    else:
        (workspace.result / "exitCode").write_text("another")
    packed = SmallArchives().pack(workspace.result, workspace.contents(7, ENDED_AT))
    assert packed is not None
    with tarfile.open(fileobj=io.BytesIO(packed.content)) as tar:
        assert tar.getmember("exitCode").isreg()
        content = tar.extractfile("exitCode")
        assert content is not None
        assert content.read() == b"7"


def test_what_is_not_small_is_left_for_its_turn(tmp_path: Path) -> None:
    workspace = a_result(tmp_path / "e-1")
    (workspace.result / "stdout").write_bytes(bytes(SMALL_BYTES))
    small = SmallArchives(most=1)
    assert small.pack(workspace.result, workspace.contents(0, ENDED_AT)) is None
    (workspace.result / "stdout").write_bytes(b"")
    assert small.pack(workspace.result, workspace.contents(0, ENDED_AT)) is not None, "no room was taken"


def test_a_result_that_cannot_be_read_is_left_for_its_turn(tmp_path: Path) -> None:
    small = SmallArchives(most=1)
    assert small.pack(tmp_path / "missing", ALL) is None
    assert small.pack(tmp_path, ALL) is not None, "no room was taken"


def test_only_so_many_wait_in_memory_and_what_nobody_has_any_more_makes_room(tmp_path: Path) -> None:
    small = SmallArchives(most=1)
    first = small.pack(tmp_path, ALL)
    assert first is not None
    assert small.pack(tmp_path, ALL) is None
    del first
    assert small.pack(tmp_path, ALL) is not None
