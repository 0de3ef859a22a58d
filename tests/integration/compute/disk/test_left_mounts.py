"""What a task has mounted in its folder and left there: it is detached, and what it shows is never touched."""

import io
import os
import subprocess
import sys
import tarfile
import threading
import uuid
from pathlib import Path

from compute.archive.part_size import _walked
from compute.archive.tar_stream import TarStream
from compute.disk.disk_watch import disk_bytes
from compute.disk.gathering import Gathered
from compute.disk.mounts import mounts_in
from compute.disk.removal import remove_tree
from compute.disk.spare_folders import SpareFolders
from compute.disk.workspace import Workspace, remove_execution
from compute.journal.journal import Journal
from compute.journal.leftovers import EXECUTIONS, sweep
from shared.jobs.spec import ResultPath
from tests.private_mounts import in_private_mounts, mount, without_rights_to_mount

OUTPUTS = ResultPath(name="outputs", path="/outputs")
DEEP = ResultPath(name="deep", path="/a/b")


def precious(tmp_path: Path) -> Path:
    folder = tmp_path / "precious"
    (folder / "sub").mkdir(parents=True)
    (folder / "file").write_text("kept")
    (folder / "sub" / "file").write_text("kept too")
    (folder / "stdout").write_text("not a task's")
    folder.chmod(0o550)
    return folder


def names(root: Path) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(TarStream(root).blocks()))) as tar:
        return sorted(tar.getnames())


def is_whole(folder: Path) -> bool:
    texts = [(folder / name).read_text() for name in ("file", "sub/file", "stdout")]
    return texts == ["kept", "kept too", "not a task's"] and folder.stat().st_mode & 0o777 == 0o550


def a_workspace(tmp_path: Path, *paths: ResultPath) -> Workspace:
    workspace = Workspace(tmp_path / "exe cut\tions" / "e-1", has_paths=bool(paths))
    workspace.root.parent.mkdir(exist_ok=True)
    workspace.create(paths)
    return workspace


@in_private_mounts
def test_a_folder_of_the_same_disk_that_is_mounted_in_a_workspace_outlives_it(tmp_path: Path) -> None:
    outside, workspace = precious(tmp_path), a_workspace(tmp_path, OUTPUTS)
    inner = workspace.folder / "outputs" / "back\\slash and\nline"
    inner.mkdir()
    mount("--bind", outside, inner)
    workspace.discard()
    assert is_whole(outside)
    assert not workspace.folder.exists()
    assert mounts_in(tmp_path) == []


@in_private_mounts
def test_mounts_upon_and_below_one_another_are_all_detached(tmp_path: Path) -> None:
    outside, workspace = precious(tmp_path), a_workspace(tmp_path, OUTPUTS)
    inner = workspace.folder / "outputs"
    mount("-t", "tmpfs", "none", inner)
    (inner / "x").mkdir()
    mount("--bind", outside, inner / "x")
    mount("--bind", outside, inner / "x" / "sub")
    mount("--bind", outside, inner / "x")
    mount("-t", "tmpfs", "none", inner)
    remove_tree(workspace.root)
    assert is_whole(outside)
    assert mounts_in(tmp_path) == []
    assert not workspace.root.exists()


@in_private_mounts
def test_a_file_that_is_mounted_in_a_workspace_outlives_it(tmp_path: Path) -> None:
    outside, workspace = precious(tmp_path), a_workspace(tmp_path)
    mount("--bind", outside / "file", workspace.root / "stdout")
    remove_execution(workspace.root)
    assert is_whole(outside)
    assert not workspace.root.exists()


@in_private_mounts
def test_what_is_mounted_on_the_folder_of_an_execution_itself_outlives_it(tmp_path: Path) -> None:
    outside, workspace = precious(tmp_path), a_workspace(tmp_path)
    mount("--bind", outside, workspace.root)
    remove_execution(workspace.root)
    assert is_whole(outside)
    assert not workspace.root.exists()


@in_private_mounts
def test_what_is_mounted_in_what_an_earlier_process_left_outlives_it(tmp_path: Path) -> None:
    outside = precious(tmp_path)
    left = tmp_path / EXECUTIONS / ".spare-0" / "workspace"
    left.mkdir(parents=True)
    mount("--bind", outside, left)
    sweep(tmp_path)
    assert is_whole(outside)
    assert list((tmp_path / EXECUTIONS).iterdir()) == []


@in_private_mounts
def test_a_mount_that_cannot_be_detached_is_left_and_all_else_removed(tmp_path: Path) -> None:
    outside, workspace = precious(tmp_path), a_workspace(tmp_path, OUTPUTS)
    inner = workspace.folder / "outputs" / "x"
    inner.mkdir()
    (workspace.folder / "other").mkdir()
    mount("--bind", outside, inner)
    program = (
        "import compute.disk.removal as removal, logging, pathlib, sys; logging.basicConfig()\n"
        f"try: removal.remove_tree(pathlib.Path({str(workspace.root)!r}))\n"
        "except OSError as error: sys.exit(error.errno == 16)"
    )
    command = [*without_rights_to_mount(), sys.executable, "-c", program]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 1, ended.stderr
    assert f"{inner} is mounted, cannot be detached and is left" in ended.stderr
    assert is_whole(outside)
    assert list(workspace.root.rglob("*")) == [workspace.folder, inner.parent, inner, *inner.rglob("*")]


@in_private_mounts
def test_what_is_mounted_below_a_result_path_is_not_in_the_result(tmp_path: Path) -> None:
    outside, workspace = precious(tmp_path), a_workspace(tmp_path, OUTPUTS, DEEP)
    (workspace.folder / "outputs" / "x").mkdir()
    (workspace.folder / "outputs" / "proc").mkdir()
    mount("--bind", outside, workspace.folder / "outputs" / "x")
    mount("-t", "proc", "none", workspace.folder / "outputs" / "proc")
    mount("-t", "tmpfs", "none", workspace.result)
    warnings, left_out_count = workspace.gather([OUTPUTS, DEEP])
    assert names(workspace.result) == [
        "deep",
        "outputs",
        "outputs/proc",
        "outputs/x",
        "stderr",
        "stdout",
    ]
    told = "is a mount that the task left: what it showed is not in the result"
    assert sorted(warnings) == [f"'outputs/proc' {told}", f"'outputs/x' {told}"]
    assert left_out_count == 1, "there is nothing in /proc that a task has written"
    assert is_whole(outside)
    assert mounts_in(tmp_path) == []


@in_private_mounts
def test_a_mount_on_a_result_path_is_in_the_result_and_outlives_it(tmp_path: Path) -> None:
    outside, workspace = precious(tmp_path), a_workspace(tmp_path, OUTPUTS, DEEP)
    mount("--bind", outside, workspace.folder / "outputs")
    mount("-t", "tmpfs", "none", workspace.folder / "a")
    (workspace.folder / "a" / "b").mkdir()
    (workspace.folder / "a" / "b" / "made").write_text("by the task")
    gathered = workspace.gather([OUTPUTS, DEEP])
    assert workspace.gather([OUTPUTS, DEEP]).left_out_count == 0, "it may be repeated"
    assert {name for name in names(workspace.result) if "/" in name} == {
        "deep/made",
        "outputs/file",
        "outputs/stdout",
        "outputs/sub",
        "outputs/sub/file",
    }
    assert gathered == Gathered(
        (
            "/a/b is a mount, so deep is what it showed at the end of the task",
            "/outputs is a mount, so outputs is what it showed at the end of the task",
        )
    )
    assert _walked(workspace.result) > 5 * 2048, "what is archived is measured"
    workspace.discard()
    assert is_whole(outside)
    assert mounts_in(tmp_path) == []
    assert not workspace.folder.exists()


@in_private_mounts
def test_a_mount_on_a_result_path_that_may_not_be_kept_is_counted_as_left_out(tmp_path: Path) -> None:
    outside, workspace = precious(tmp_path), a_workspace(tmp_path, OUTPUTS)
    mount("--bind", outside, workspace.folder / "outputs")
    program = (
        "import compute.disk.gathering as gathering, pathlib, shared.jobs.spec as jobspec; wanted = "
        f"jobspec.ResultPath(name='outputs', path='/outputs'); root = pathlib.Path({str(workspace.root)!r})\n"
        "print(gathering.Gathering(root, root / 'workspace', root / 'result').run([wanted]))"
    )
    command = [*without_rights_to_mount(), sys.executable, "-c", program]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "/outputs is a mount that cannot be archived (Operation not permitted), so outputs is empty" in told
    assert "left_out_count=1" in told
    assert list((workspace.result / "outputs").iterdir()) == []
    assert is_whole(outside)


@in_private_mounts
def test_what_is_mounted_in_a_workspace_counts_for_no_disk_limit(tmp_path: Path) -> None:
    workspace = a_workspace(tmp_path, OUTPUTS)
    (tmp_path / "large").write_bytes(os.urandom(1 << 20))
    (workspace.folder / "outputs" / "file").touch()
    mount("--bind", tmp_path / "large", workspace.folder / "outputs" / "file")
    assert disk_bytes(workspace.places, threading.Event()) < 1 << 20


@in_private_mounts
def test_a_folder_that_another_is_mounted_in_is_not_handed_on(tmp_path: Path) -> None:
    workspace = a_workspace(tmp_path)
    (tmp_path / "empty").mkdir(mode=0o700)
    mount("--bind", tmp_path / "empty", workspace.folder)
    spares = SpareFolders(workspace.root.parent)
    spares.nobody_is_left_in(workspace.root)
    assert not spares.keep(workspace.root)


@in_private_mounts
def test_a_mount_that_appears_while_a_result_is_packed_is_not_entered(tmp_path: Path) -> None:
    outside, workspace = precious(tmp_path), a_workspace(tmp_path, OUTPUTS)
    (workspace.folder / "outputs" / "x").mkdir()
    assert workspace.gather([OUTPUTS]) == Gathered()
    mount("--bind", outside, workspace.result / "outputs" / "x")
    stream = TarStream(workspace.result)
    assert b"kept" not in b"".join(stream.blocks())
    assert stream.warnings == ["'outputs/x' was archived without its content: something is mounted there"]
    assert stream.left_out_count == 1


@in_private_mounts
def test_a_mount_that_hides_the_folder_of_an_execution_is_detached(tmp_path: Path) -> None:
    mounts_in(tmp_path)  # as a node that has begun
    outside, workspace = precious(tmp_path), a_workspace(tmp_path, OUTPUTS)
    (workspace.folder / "outputs" / "file").write_text("made")
    mount("--bind", outside, workspace.root.parent)
    assert workspace.gather([OUTPUTS]) == Gathered()
    assert (workspace.result / "outputs" / "file").read_text() == "made"
    mount("--bind", outside, workspace.root.parent)
    remove_execution(workspace.root)
    assert is_whole(outside)
    assert list(workspace.root.parent.iterdir()) == []


@in_private_mounts
def test_a_mount_that_was_there_before_the_node_is_its_operators(tmp_path: Path) -> None:
    outside, data = precious(tmp_path), tmp_path / "data"
    data.mkdir()
    mount("--bind", outside, data)
    left = data / "executions" / "e-1"
    code = f"import pathlib, compute.disk.removal as it; it.remove_tree(pathlib.Path({str(left)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(mounts_in(data)) == 1
    assert is_whole(outside)


@in_private_mounts
def test_at_its_start_a_node_removes_no_strangers_from_a_disk_that_is_mounted_on_its_folder(tmp_path: Path) -> None:
    outside = precious(tmp_path)
    outside.chmod(0o750)
    left = outside / f"e-{uuid.uuid4()}"
    (left / "workspace").mkdir(parents=True)
    outside.chmod(0o550)
    (tmp_path / EXECUTIONS).mkdir()
    mount("--bind", outside, tmp_path / EXECUTIONS)
    sweep(tmp_path)
    assert list(Journal(tmp_path / EXECUTIONS).recover()) == []
    assert (outside / "file").read_text() == "kept"
    assert (outside / "sub" / "file").read_text() == "kept too"
    assert not left.exists()
