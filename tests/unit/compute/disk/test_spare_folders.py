"""A folder is handed from one execution to the next only if the next one cannot tell it from a new one."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from compute.disk.spare_folders import SpareFolders
from compute.disk.workspace import Workspace
from shared.jobs.spec import ResultPath


@pytest.fixture
def spares(tmp_path: Path) -> SpareFolders:
    return SpareFolders(tmp_path)


@pytest.fixture
def used(tmp_path: Path, spares: SpareFolders) -> Workspace:
    """Of a task that has written something and ended."""
    made = Workspace(tmp_path / "e-1", has_paths=False, spares=spares)
    made.create([])
    (made.root / "stdout").write_text("of the first")
    made.nobody_is_left()
    return made


def _next(tmp_path: Path, spares: SpareFolders) -> Workspace:
    made = Workspace(tmp_path / "e-2", has_paths=False, spares=spares)
    made.create([])
    return made


def _inode(path: Path) -> int:
    return path.stat().st_ino


def test_the_next_execution_takes_over_the_folder_and_finds_it_empty(
    tmp_path: Path, spares: SpareFolders, used: Workspace
) -> None:
    inode = _inode(used.root)
    assert spares.keep(used.root)
    assert not used.root.exists()
    taken = _next(tmp_path, spares)
    assert _inode(taken.root) == inode
    assert (taken.root / "stdout").read_bytes() == b""
    assert list(taken.folder.iterdir()) == []


def test_what_is_kept_holds_no_space_of_the_disk(tmp_path: Path, spares: SpareFolders, used: Workspace) -> None:
    assert spares.keep(used.root)
    (kept,) = tmp_path.iterdir()
    assert (kept / "stdout").stat().st_blocks == 0


def test_an_output_is_as_old_as_its_own_task(tmp_path: Path, spares: SpareFolders, used: Workspace) -> None:
    os.utime(used.root / "stderr", (1, 1))
    assert spares.keep(used.root)
    taken = _next(tmp_path, spares)
    os.close(taken.open_output("stderr"))
    assert (taken.root / "stderr").stat().st_mtime > 1


def test_a_folder_serves_one_execution_at_a_time(tmp_path: Path, spares: SpareFolders, used: Workspace) -> None:
    assert spares.keep(used.root)
    assert spares.take(tmp_path / "e-2")
    assert not spares.take(tmp_path / "e-3")


def test_the_inputs_of_a_task_go_before_its_folder_is_kept(
    tmp_path: Path, spares: SpareFolders, used: Workspace
) -> None:
    unpacked = used.inputs / "1" / "below"
    unpacked.mkdir(parents=True)
    used.inputs.chmod(0o700)
    (used.inputs / "0").write_text("one")
    (unpacked / "file").write_text("two")
    unpacked.chmod(0o555)
    assert spares.keep(used.root)
    assert list(_next(tmp_path, spares).inputs.iterdir()) == []


def test_what_a_task_has_linked_to_as_its_inputs_stays(tmp_path: Path, spares: SpareFolders, used: Workspace) -> None:
    (tmp_path / "others").mkdir(0o700)
    (tmp_path / "others" / "file").touch()
    used.inputs.symlink_to(tmp_path / "others")
    assert not spares.keep(used.root)
    assert (tmp_path / "others" / "file").exists()


def test_a_folder_that_a_process_may_still_write_to_is_not_kept(tmp_path: Path, spares: SpareFolders) -> None:
    made = Workspace(tmp_path / "e-1", has_paths=False, spares=spares)
    made.create([])
    assert not spares.keep(made.root)
    assert made.root.exists()


def test_a_folder_with_result_paths_is_not_kept(tmp_path: Path, spares: SpareFolders) -> None:
    paths = [ResultPath(name="outputs", path="/outputs")]
    made = Workspace(tmp_path / "e-1", has_paths=True, spares=spares)
    made.create(paths)
    made.nobody_is_left()
    assert not spares.keep(made.root)


def _links(root: Path) -> None:
    (root.parent / "elsewhere").hardlink_to(root / "stdout")


def _leaves_a_file(root: Path) -> None:
    (root / "workspace" / "left").touch()


def _leaves_a_file_beside(root: Path) -> None:
    (root / "left").touch()


def _removes_an_output(root: Path) -> None:
    (root / "stderr").unlink()


def _opens_it_to_all(root: Path) -> None:
    (root / "workspace").chmod(0o777)


def _hides_its_output(root: Path) -> None:
    (root / "stdout").chmod(0o000)


def _gives_an_output_an_attribute(root: Path) -> None:
    os.setxattr(root / "stdout", "user.name", b"value")


def _gives_the_workspace_an_attribute(root: Path) -> None:
    os.setxattr(root / "workspace", "user.name", b"value")


def _replaces_the_workspace(root: Path) -> None:
    (root / "workspace").rmdir()
    (root.parent / "other").mkdir()
    (root / "workspace").symlink_to(root.parent / "other")


def _replaces_an_output(root: Path) -> None:
    (root / "stdout").unlink()
    os.mkfifo(root / "stdout")


@pytest.mark.parametrize(
    "spoil",
    [
        _links,
        _leaves_a_file,
        _leaves_a_file_beside,
        _removes_an_output,
        _opens_it_to_all,
        _hides_its_output,
        _gives_an_output_an_attribute,
        _gives_the_workspace_an_attribute,
        _replaces_the_workspace,
        _replaces_an_output,
    ],
)
def test_a_folder_that_its_task_has_changed_is_not_kept(
    spares: SpareFolders, used: Workspace, spoil: Callable[[Path], None]
) -> None:
    spoil(used.root)
    assert not spares.keep(used.root)
    assert used.root.exists()


def test_no_more_are_kept_than_may_be(tmp_path: Path) -> None:
    spares = SpareFolders(tmp_path, most=1)
    for number in range(2):
        made = Workspace(tmp_path / f"e-{number}", has_paths=False, spares=spares)
        made.create([])
        made.nobody_is_left()
    assert spares.keep(tmp_path / "e-0")
    assert not spares.keep(tmp_path / "e-1")


def test_a_spare_that_has_vanished_is_replaced_by_a_new_folder(
    tmp_path: Path, spares: SpareFolders, used: Workspace
) -> None:
    assert spares.keep(used.root)
    (kept,) = tmp_path.iterdir()
    kept.rename(tmp_path / "gone")
    assert _next(tmp_path, spares).folder.is_dir()
