"""Whether the keeper of a process leaves nothing of it behind, whoever ends what and how."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from compute.processes.table import Process, everybody
from tarpon.devstack.keeper import keeper_command, told
from tests.e2e.stack import wait_until

MARK = "TESTED_KEEPER"


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


@contextmanager
def kept(folder: Path, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A keeper that has been told the command; what it keeps has `folder` in its environment."""
    keeper = subprocess.Popen(
        keeper_command(),
        bufsize=0,
        stdin=subprocess.PIPE,
        env=os.environ | {MARK: str(folder)},
        cwd=folder,
        start_new_session=True,
    )
    assert keeper.stdin is not None
    try:
        keeper.stdin.write(told(command))
        yield keeper
    finally:
        keeper.stdin.close()
        for process in marked(folder):
            os.kill(process.pid, signal.SIGKILL)
        keeper.wait()


def marked(folder: Path) -> list[Process]:
    """What runs and has this folder in its environment."""
    found = []
    for process in everybody():
        try:
            variables = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"{MARK}={folder}".encode() in variables and not process.has_ended:
            found.append(process)
    return found


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The file by which a program tells that it has set all up."""
    return tmp_path / "begun"


def ended(keeper: "subprocess.Popen[bytes]") -> int:
    wait_until(lambda: keeper.poll() is not None, within=40, what="the keeper has ended")
    return keeper.wait()


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -KILL $$", -9), ("kill -TERM $$", -15)])
def test_it_ends_as_its_program_did(tmp_path: Path, script: str, code: int) -> None:
    with kept(tmp_path, shell(script)) as keeper:
        assert ended(keeper) == code


def test_what_the_program_leaves_is_ended_with_it_wherever_it_has_gone(tmp_path: Path, begun: Path) -> None:
    deaf = "trap '' TERM HUP; sleep 1000; sleep 1000"
    script = f'(setsid sh -c "{deaf}" & setsid sh -c "{deaf}" &) & while [ ! -e begun ]; do sleep 0.02; done; exit 3'
    with kept(tmp_path, shell(script)) as keeper:
        wait_until(lambda: len({each.session for each in marked(tmp_path)}) == 3, within=40, what="both have left")
        begun.touch()
        assert ended(keeper) == 3
        assert marked(tmp_path) == []


def test_the_end_of_its_stdin_stops_the_program_in_order(tmp_path: Path, begun: Path) -> None:
    script = "trap 'touch stopped; exit 0' TERM; touch begun; while :; do sleep 0.02; done"
    with kept(tmp_path, shell(script)) as keeper:
        wait_until(begun.exists, within=40, what="the program has begun")
        assert keeper.stdin is not None
        keeper.stdin.close()
        assert ended(keeper) == 0
        assert (tmp_path / "stopped").exists()
        assert marked(tmp_path) == []


def test_at_a_signal_all_is_killed_also_while_the_program_is_being_stopped(tmp_path: Path, begun: Path) -> None:
    script = "trap 'touch asked' TERM; setsid sleep 1000 & touch begun; while :; do sleep 0.02; done"
    with kept(tmp_path, shell(script)) as keeper:
        wait_until(begun.exists, within=40, what="the program has begun")
        assert keeper.stdin is not None
        keeper.stdin.close()
        wait_until((tmp_path / "asked").exists, within=40, what="it was asked to stop")
        keeper.terminate()
        keeper.terminate()
        assert ended(keeper) == -9
        assert marked(tmp_path) == []


def test_it_stops_its_program_where_who_started_it_is_killed(tmp_path: Path, begun: Path) -> None:
    starter = """
import subprocess, sys
from tarpon.devstack.keeper import keeper_command, told
keeper = subprocess.Popen(keeper_command(), bufsize=0, stdin=subprocess.PIPE, start_new_session=True)
keeper.stdin.write(told(["sh", "-c", "trap 'touch stopped; exit 0' TERM; touch begun; while :; do sleep 0.02; done"]))
keeper.wait()
"""
    with subprocess.Popen(
        [sys.executable, "-c", starter], env=os.environ | {MARK: str(tmp_path)}, cwd=tmp_path
    ) as process:
        wait_until(begun.exists, within=40, what="the program has begun")
        process.kill()
    wait_until(lambda: marked(tmp_path) == [], within=40, what="nothing is left")
    assert (tmp_path / "stopped").exists()


def test_it_runs_nothing_where_who_started_it_ends_before_it_has_said_what(tmp_path: Path) -> None:
    keeper = subprocess.Popen(keeper_command(), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    _, err = keeper.communicate(b'["sh", "-c", "touch run"', timeout=40)
    assert keeper.returncode == 1
    assert b"before it said what to run" in err
    assert not (tmp_path / "run").exists()
