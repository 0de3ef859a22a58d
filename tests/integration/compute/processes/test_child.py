"""Children of the node: what they are given, and what goes on while they are started."""

import _thread
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute.processes import child
from compute.processes.child import Child

SHELL = "/bin/sh"
PATH = {"PATH": os.defpath}
NEVER_SECONDS = 1000.0


@pytest.fixture
def null() -> Iterator[int]:
    descriptor = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    yield descriptor
    os.close(descriptor)


def started(script: str, folder: Path, descriptors: tuple[int, ...]) -> Child:
    return child.start([SHELL, "-c", script], cwd=folder, env=PATH, descriptors=descriptors)


def said(script: str, folder: Path, null: int, *more: int) -> str:
    """What a shell script writes to its standard output."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(ours, "rb") as output:
        running = started(script, folder, (null, theirs, null, *more))
        os.close(theirs)
        text = output.read().decode()
    running.wait()
    return text.strip()


def test_it_has_nothing_open_but_what_it_is_given(tmp_path: Path, null: int) -> None:
    left_open = os.dup(null)
    os.set_inheritable(left_open, True)
    try:
        # What the shell itself has open to list the folder is the last one.
        assert said("ls /proc/self/fd", tmp_path, null).split() == ["0", "1", "2", "3"]
    finally:
        os.close(left_open)


def test_what_libraries_left_open_is_closed_where_the_system_cannot_do_so(null: int) -> None:
    left_open = os.dup(null)
    os.set_inheritable(left_open, True)
    try:
        child._keep_to_ourselves(3)
        assert not os.get_inheritable(left_open)
    finally:
        os.close(left_open)


def test_descriptors_get_their_places_whatever_numbers_they_had(tmp_path: Path, null: int) -> None:
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    places = (*([null] * (theirs + 1)), theirs)  # before it gets its place, its number is given to another one
    running = started(f"echo here > /proc/self/fd/{theirs + 1}", tmp_path, places)
    os.close(theirs)
    with os.fdopen(ours, "rb") as output:
        assert output.read() == b"here\n"
    running.wait()


def test_it_leads_a_session_of_its_own(tmp_path: Path, null: int) -> None:
    running = started("sleep 1000", tmp_path, (null, null, null))
    assert os.getsid(running.pid) == running.pid
    os.killpg(running.pid, 9)
    running.wait()
    assert running.returncode == -9


def test_it_dies_by_a_broken_pipe_which_python_ignores(tmp_path: Path, null: int) -> None:
    running = started("kill -PIPE $$", tmp_path, (null, null, null))
    running.wait()
    assert running.returncode == -13


def test_its_end_is_seen_before_it_is_taken(tmp_path: Path, null: int) -> None:
    gate, opener = os.pipe2(os.O_CLOEXEC)
    running = started("read _; exit 3", tmp_path, (gate, null, null))
    assert not running.has_ended()
    os.close(gate)
    os.close(opener)
    os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
    assert running.has_ended()
    assert running.wait() is not None
    assert running.returncode == 3


def test_a_program_is_found_on_its_own_path_of_which_parts_may_be_below_its_folder(tmp_path: Path, null: int) -> None:
    tool = tmp_path / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_text(f"#!{SHELL}\nexit 4\n")
    tool.chmod(0o755)
    running = child.start(["tool"], cwd=tmp_path, env={"PATH": "/nowhere:bin"}, descriptors=(null, null, null))
    running.wait()
    assert running.returncode == 4


def test_a_program_that_cannot_be_run_is_told_as_by_the_system(tmp_path: Path, null: int) -> None:
    (tmp_path / "text").write_text("no program")
    for command, problem in {
        "absent": FileNotFoundError,
        "/absent": FileNotFoundError,
        "text": PermissionError,
        "./text": PermissionError,
    }.items():
        with pytest.raises(problem):
            child.start([command], cwd=tmp_path, env={"PATH": str(tmp_path)}, descriptors=(null, null, null))
    with pytest.raises(FileNotFoundError):
        child.start([SHELL], cwd=tmp_path / "absent", env=PATH, descriptors=(null, null, null))


@pytest.mark.parametrize(
    ("argument", "variables"),
    [("a\0b", {}), ("a", {"A": "b\0c"}), ("a", {"A=B": "c"})],
    ids=["argument", "value", "name"],
)
def test_what_no_program_can_be_given_is_refused(
    argument: str, variables: dict[str, str], tmp_path: Path, null: int
) -> None:
    with pytest.raises(ValueError, match=r"null byte|variable name"):
        child.start([SHELL, argument], cwd=tmp_path, env=variables, descriptors=(null, null, null))


def test_other_threads_go_on_while_it_is_started(tmp_path: Path, null: int) -> None:
    """Nothing else in the loop below lets another thread have Python's lock."""
    went_on, interval = threading.Event(), sys.getswitchinterval()
    running: list[Child] = []
    sys.setswitchinterval(NEVER_SECONDS)
    try:
        _thread.start_new_thread(went_on.set, ())  # as `Thread.start` does, which would wait until it goes on
        while not went_on.is_set() and len(running) < 500:
            running.append(started("exit", tmp_path, (null, null, null)))
        assert went_on.is_set()
    finally:
        sys.setswitchinterval(interval)
        for each in running:
            each.wait()
