"""What a task has written so far is read for whoever watches it, whatever the task has done to the files."""

import os
from pathlib import Path

import pytest

from compute.disk.workspace import Workspace
from compute.executions.task_output import read_output
from shared.ids import ExecutionId
from shared.protocol.messages import OutputRead, ReadOutput

EXECUTION = ExecutionId("e-1")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "e-1", has_paths=False)
    made.create([])
    (made.result / "stdout").write_bytes(b"one\ntwo\n")
    return made


def read(workspace: Workspace, **order: int) -> OutputRead:
    return read_output(workspace, ReadOutput(execution_id=EXECUTION, **order), is_over=False)


def test_it_is_read_from_a_byte_on_or_from_a_line(workspace: Workspace) -> None:
    assert (read(workspace, stdout_from=4).stdout, read(workspace, tail_lines=1).stdout) == (b"two\n", b"two\n")


@pytest.mark.parametrize("place", [2**63 - 1, 2**64 - 1, 2**60, 9])
def test_there_is_nothing_after_the_end_however_far(workspace: Workspace, place: int) -> None:
    assert (read(workspace, stdout_from=place).stdout, read(workspace, stderr_from=place).stderr) == (b"", b"")


@pytest.mark.parametrize("tail", [{}, {"tail_lines": 5}], ids=["all", "tail"])
def test_what_a_task_has_put_in_the_place_of_its_output_is_not_read(
    workspace: Workspace, tmp_path: Path, tail: dict[str, int]
) -> None:
    (tmp_path / "other").write_text("of somebody else")
    for name in ("stdout", "stderr"):
        (workspace.result / name).unlink(missing_ok=True)
    os.mkfifo(workspace.result / "stdout")
    (workspace.result / "stderr").symlink_to(tmp_path / "other")
    found = read(workspace, **tail)
    assert (found.stdout, found.stderr) == (b"", b"")
