"""What a task leaves in its workspace becomes the result folder, and nothing outside of it does."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from compute.disk.gathering import Gathered
from compute.disk.workspace import SHORT_BYTES, Workspace, check_result_paths, remove_execution
from shared.errors import InvalidJob
from shared.jobs.spec import ResultPath, SpecConfig, Task
from shared.protocol.messages import MAX_RUN_OUTPUT_BYTES

OUTPUTS = ResultPath(name="outputs", path="/outputs")
DEEP = ResultPath(name="deep", path="/a/b")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "e-1")
    made.create([OUTPUTS, DEEP])
    return made


def test_each_result_path_is_a_folder_that_the_task_finds(workspace: Workspace) -> None:
    assert (workspace.folder / "outputs").is_dir()
    assert (workspace.folder / "a" / "b").is_dir()


def test_the_result_has_the_layout_that_readers_expect(workspace: Workspace) -> None:
    (workspace.folder / "outputs" / "one.txt").write_text("1")
    (workspace.folder / "a" / "b" / "two.txt").write_text("2")
    (workspace.folder / "scratch").write_text("not a result")
    assert workspace.gather([OUTPUTS, DEEP]) == Gathered()
    assert sorted(path.name for path in workspace.result.iterdir()) == [
        "deep",
        "outputs",
        "stderr",
        "stdout",
    ]
    assert (workspace.result / "outputs" / "one.txt").read_text() == "1"
    assert (workspace.result / "deep" / "two.txt").read_text() == "2"


@pytest.mark.parametrize("umask", [0o077, 0o002])
def test_what_tarpon_puts_into_a_result_has_modes_that_no_umask_changes(tmp_path: Path, umask: int) -> None:
    workspace, before = Workspace(tmp_path / "e-1"), os.umask(umask)
    try:
        workspace.create([OUTPUTS])
    finally:
        os.umask(before)
    workspace.gather([OUTPUTS])
    (written,) = workspace.contents(0, 0.0).written
    modes = {path.name: path.stat().st_mode & 0o777 for path in workspace.result.iterdir()}
    assert modes == {"outputs": 0o755, "stdout": 0o644, "stderr": 0o644}
    assert written.mode == 0o644


def test_a_result_path_inside_another_is_a_folder_of_its_own(tmp_path: Path) -> None:
    outer, inner = ResultPath(name="outer", path="/a"), ResultPath(name="inner", path="/a/b")
    workspace = Workspace(tmp_path)
    workspace.create([outer, inner])
    (workspace.folder / "a" / "b" / "file").touch()
    assert workspace.gather([outer, inner]) == Gathered()
    assert (workspace.result / "inner" / "file").exists()
    assert list((workspace.result / "outer").iterdir()) == []


def test_a_missing_result_path_is_an_empty_folder_with_a_warning(workspace: Workspace) -> None:
    (workspace.folder / "outputs").rmdir()
    warnings = workspace.gather([OUTPUTS]).warnings
    assert list((workspace.result / "outputs").iterdir()) == []
    assert warnings == ("/outputs is missing, so outputs is empty",)


def test_a_result_path_that_became_a_file_is_a_file_of_the_result(workspace: Workspace) -> None:
    (workspace.folder / "outputs").rmdir()
    (workspace.folder / "outputs").write_text("a file")
    gathered = workspace.gather([OUTPUTS])
    assert (workspace.result / "outputs").read_text() == "a file"
    assert gathered == Gathered(("/outputs was replaced by a file, so outputs is a file",))


def test_a_result_path_that_became_a_link_is_a_link_of_the_result(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o750)
    (workspace.folder / "outputs").rmdir()
    (workspace.folder / "outputs").symlink_to(tmp_path / "elsewhere")
    (warning,) = workspace.gather([OUTPUTS]).warnings
    assert (workspace.result / "outputs").readlink() == tmp_path / "elsewhere"
    assert warning == "/outputs was replaced by a link, so outputs is a link, without what it leads to"
    assert (tmp_path / "elsewhere").stat().st_mode & 0o777 == 0o750


def test_a_result_path_that_became_a_fifo_is_an_empty_folder_with_a_warning(workspace: Workspace) -> None:
    (workspace.folder / "outputs").rmdir()
    os.mkfifo(workspace.folder / "outputs")
    (warning,) = workspace.gather([OUTPUTS]).warnings
    assert list((workspace.result / "outputs").iterdir()) == []
    assert warning == "/outputs was replaced by something that is no file, so outputs is empty"


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_a_task_put_in_the_place_of_its_result_makes_room_for_it(workspace: Workspace, kind: str) -> None:
    (workspace.folder / "outputs" / "file").write_text("real")
    if kind == "folder":
        (workspace.result / "outputs" / "full").mkdir(parents=True)
    else:
        (workspace.result / "outputs").write_text("odd")
    assert workspace.gather([OUTPUTS]) == Gathered()
    assert (workspace.result / "outputs" / "file").read_text() == "real"


def test_gathering_may_be_repeated(workspace: Workspace) -> None:
    (workspace.folder / "outputs" / "file").write_text("real")
    assert workspace.gather([OUTPUTS, DEEP]) == Gathered()
    assert workspace.gather([OUTPUTS, DEEP]) == Gathered()
    assert (workspace.result / "outputs" / "file").read_text() == "real"


def test_an_output_that_is_no_file_any_more_is_told_as_empty(workspace: Workspace) -> None:
    for name in ("stdout", "stderr"):
        (workspace.result / name).unlink()
    os.mkfifo(workspace.result / "stdout")
    (workspace.result / "stderr").symlink_to("/etc/passwd")
    output = workspace.read_output(0)
    assert (output.stdout, output.stderr) == ("", "")


@pytest.mark.parametrize("replaced", ["a", "a/b"])
def test_a_link_on_the_way_to_a_result_path_is_never_followed(
    workspace: Workspace, tmp_path: Path, replaced: str
) -> None:
    secret = tmp_path / "elsewhere"
    (secret / "b").mkdir(parents=True)
    (secret / "b" / "key").write_text("secret")
    (workspace.folder / "a").rename(workspace.folder / "moved")
    if replaced == "a/b":
        (workspace.folder / "a").mkdir()
        (workspace.folder / "a" / "b").symlink_to(secret / "b")
    else:
        (workspace.folder / "a").symlink_to(secret)
    (warning,) = workspace.gather([DEEP]).warnings
    assert (workspace.result / "deep").is_symlink() == (replaced == "a/b")
    assert replaced == "a/b" or list((workspace.result / "deep").iterdir()) == []
    assert (secret / "b" / "key").read_text() == "secret"
    assert "link" in warning


@pytest.mark.parametrize("path", ["/outputs/../..", "/..", "/a\0b"])
def test_a_path_that_leaves_the_workspace_has_no_place_in_it(workspace: Workspace, path: str) -> None:
    with pytest.raises(InvalidJob):
        workspace.place(path)


@pytest.mark.parametrize(
    "wanted",
    [
        ResultPath(name="outputs", path="outputs"),
        ResultPath(name="outputs", path="/"),
        ResultPath(name="outputs", path="/a/../../b"),
        ResultPath(name="", path="/a"),
        ResultPath(name="..", path="/a"),
        ResultPath(name="a/b", path="/a"),
        ResultPath(name="stdout", path="/a"),
        ResultPath(name="exitCode", path="/a"),
        ResultPath(name="x" * 256, path="/a"),
    ],
)
def test_result_paths_that_cannot_be_folders_of_the_result_are_refused(wanted: ResultPath) -> None:
    with pytest.raises(InvalidJob):
        check_result_paths([wanted])


def test_a_result_name_is_used_once() -> None:
    check_result_paths([OUTPUTS, DEEP])
    with pytest.raises(InvalidJob):
        check_result_paths([OUTPUTS, ResultPath(name="outputs", path="/other")])


def test_the_beginning_of_the_output_is_told_without_half_a_character(workspace: Workspace) -> None:
    (workspace.result / "stdout").write_text("x" * (MAX_RUN_OUTPUT_BYTES - 1) + "\N{EURO SIGN}")
    (workspace.result / "stderr").write_bytes(b"bad \xff byte")
    output = workspace.read_output(7)
    assert output.stdout == "x" * (MAX_RUN_OUTPUT_BYTES - 1)
    assert output.stdout_truncated
    assert (output.stderr, output.stderr_truncated, output.exit_code) == (
        "bad \N{REPLACEMENT CHARACTER} byte",
        False,
        7,
    )


def test_a_workspace_is_removed_whatever_modes_and_links_are_in_it(workspace: Workspace, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    locked = workspace.folder / "outputs" / "locked"
    locked.mkdir()
    (locked / "file").touch()
    (locked / "link").symlink_to(kept)
    locked.chmod(0o000)
    workspace.discard()
    assert not workspace.folder.exists()
    assert [path.name for path in kept.iterdir()] == ["file"]


def test_folders_that_are_nested_too_deeply_to_be_named_are_removed(workspace: Workspace) -> None:
    """A path of more than 4,096 bytes cannot be opened, and there are more folders than Python recurses."""
    folder = os.open(workspace.folder, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("folder", dir_fd=folder)
        inner = os.open("folder", os.O_RDONLY, dir_fd=folder)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=inner))
        os.close(folder)
        folder = inner
    os.close(folder)
    workspace.discard()
    assert not workspace.folder.exists()


def test_a_workspace_that_was_replaced_by_a_link_is_removed_without_what_it_leads_to(
    workspace: Workspace, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    kept.chmod(0o750)
    (kept / "file").touch()
    workspace.folder.rename(tmp_path / "moved")
    workspace.folder.symlink_to(kept)
    workspace.discard()
    assert not workspace.folder.is_symlink()
    assert (kept / "file").exists()
    assert kept.stat().st_mode & 0o777 == 0o750


def test_what_an_earlier_version_left_without_result_paths_is_taken_over(tmp_path: Path) -> None:
    earlier = Workspace(tmp_path / "e-1")
    earlier.create([])
    (earlier.result / "stdout").write_text("told")
    (earlier.result / "exitCode").write_text("0")
    today = Workspace(tmp_path / "e-1", has_paths=False)
    today.take_over()
    today.take_over()
    assert sorted(path.name for path in today.root.iterdir()) == ["stderr", "stdout", "workspace"]
    assert (today.result / "stdout").read_text() == "told"


@pytest.mark.parametrize("left", ["", "workspace/file", "upload.jsonl", "result/file"])
def test_an_execution_is_removed_with_whatever_is_in_its_folder(tmp_path: Path, left: str) -> None:
    workspace = Workspace(tmp_path / "e-1", has_paths=False)
    workspace.create([])
    if left:
        (workspace.root / left).parent.mkdir(exist_ok=True)
        (workspace.root / left).touch()
    remove_execution(workspace.root)
    assert not workspace.root.exists()
    remove_execution(workspace.root)


class TestShortOutputs:
    @pytest.fixture
    def workspace(self, tmp_path: Path) -> Workspace:
        made = Workspace(tmp_path / "e-1", has_paths=False)
        made.create([])
        return made

    def test_they_are_told_as_if_read_from_their_files(self, workspace: Workspace) -> None:
        (workspace.root / "stdout").write_text("told")
        (workspace.root / "stderr").write_bytes(b"\xff" * (MAX_RUN_OUTPUT_BYTES + 1))
        files = workspace.short_outputs()
        assert [(file.name, len(file.content)) for file in files] == [(b"stdout", 4), (b"stderr", 2049)]
        assert workspace.read_output(3, files) == workspace.read_output(3)

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda path: path.write_bytes(bytes(SHORT_BYTES + 1)),
            lambda path: path.unlink(),
            lambda path: (path.parent / "other").hardlink_to(path),
            lambda path: [path.unlink(), path.symlink_to("/etc/passwd")],
            lambda path: [path.unlink(), subprocess.run(["mkfifo", path], check=True)],
        ],
        ids=["long", "gone", "linked", "link", "fifo"],
    )
    def test_where_one_is_anything_else_none_is_read_so(
        self, workspace: Workspace, spoil: Callable[[Path], object]
    ) -> None:
        spoil(workspace.root / "stdout")
        assert workspace.short_outputs() == ()

    def test_beside_result_paths_they_are_not_all_the_files(self, tmp_path: Path) -> None:
        made = Workspace(tmp_path / "e-1")
        made.create([OUTPUTS])
        assert made.short_outputs() == ()


class TestPlaces:
    @pytest.mark.parametrize("folder", ["there", "link"])
    def test_a_task_of_the_machine_sees_its_results_in_its_workspace(self, tmp_path: Path, folder: str) -> None:
        (tmp_path / "there").mkdir()
        (tmp_path / "link").symlink_to("there")
        workspace = Workspace(tmp_path / folder / "e-1")
        task = Task(engine=SpecConfig(type="Process"), result_paths=(OUTPUTS, DEEP))
        contents = workspace.contents(0, 0.0, task)
        for seen in ("there", folder):
            target = os.fsencode(tmp_path / seen / "e-1" / "workspace" / "a" / "b" / "file")
            assert contents.link_target(b"outputs/link", target) == b"../deep/file"
        assert contents.link_target(b"outputs/link", b"/outputs/file") == b"/outputs/file"

    def test_a_task_in_a_container_sees_them_at_their_paths(self, tmp_path: Path) -> None:
        task = Task(engine=SpecConfig(type="docker"), result_paths=(OUTPUTS, DEEP))
        contents = Workspace(tmp_path / "e-1").contents(0, 0.0, task)
        assert contents.link_target(b"outputs/link", b"/a/b/file") == b"../deep/file"


def test_outputs_with_attributes_are_read_as_any_other_file(tmp_path: Path) -> None:
    made = Workspace(tmp_path / "e-1", has_paths=False)
    made.create([])
    os.setxattr(made.root / "stdout", "user.name", b"value")
    assert made.short_outputs() == ()
