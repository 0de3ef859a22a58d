"""What is shown of a job that is watched: what it waits for, and how many of its parts are done."""

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import ended
from tests.e2e.stack import Stack, process_job, wait_until
from tests.servers import HOST, S3Server


@pytest.fixture(scope="module")
def narrow(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One node, which has room for two parts of a job and none for others to wait."""
    made = Stack(tmp_path_factory.mktemp("narrow"), s3_server)
    made.shown = tmp_path_factory.getbasetemp()
    made.start_orchestrator()
    made.start_compute("node-a", Compute_AllocatedCapacity_CPU="2", Compute_QueueCapacity="0")
    yield made
    ended(made)


def gated(gate: Path, count: int) -> dict[str, Any]:
    """Its parts end when the gate is there."""
    script = f"while [ ! -e {gate} ]; do sleep 0.05; done"
    return process_job(script, Resources={"CPU": "1"}) | {"Count": count}


@contextmanager
def run(stack: Stack, job: dict[str, Any], folder: Path, *options: str, err: int) -> Iterator[subprocess.Popen[bytes]]:
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    command = [sys.executable, "-m", "tarpon", "job", "run", "--id-only", *options, str(folder / "job.yaml")]
    environment = {"TARPON_API_HOST": HOST, "TARPON_API_PORT": str(stack.api_port), "COLUMNS": "200"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=err) as process:
        try:
            yield process
        finally:
            process.kill()


def test_sums_tell_what_runs_and_what_the_others_wait_for(narrow: Stack, tmp_path: Path) -> None:
    err, gate = tmp_path / "err", tmp_path / "gate"
    with err.open("w") as file, run(narrow, gated(gate, 6), tmp_path, err=file.fileno()) as process:
        waits = "0 of 6 parts done, 2 running, 4 waiting: 1 node busy"
        wait_until(lambda: waits in err.read_text(), within=20, what="it says what it waits for")
        gate.touch()
        assert process.wait(40) == 0
        assert process.stdout is not None
        assert process.stdout.read().startswith(b"j-")
    told = err.read_text()
    sums = [line for line in told.splitlines() if "parts done" in line]
    assert sums[-1].endswith("6 of 6 parts done")
    assert len(sums) <= 8
    assert "Placed on node" not in told


def test_all_lines_of_the_history_are_shown_to_who_asks(narrow: Stack, tmp_path: Path) -> None:
    err, gate = tmp_path / "err", tmp_path / "gate"
    gate.touch()
    with err.open("w") as file, run(narrow, gated(gate, 3), tmp_path, "-v", err=file.fileno()) as process:
        assert process.wait(40) == 0
    told = err.read_text()
    assert told.count("Placed on node node-a") == told.count("Result published and verified") == 3


class Terminal:
    """What a process writes to it, when it is looked at."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        self.seen = b""

    def wait_for(self, text: bytes) -> None:
        wait_until(lambda: self._shows(text), within=40, what=f"the terminal shows {text!r}")

    def _shows(self, text: bytes) -> bool:
        with contextlib.suppress(BlockingIOError):
            self.seen += os.read(self._ours, 1 << 16)
        return text in self.seen

    def close(self) -> None:
        os.close(self._ours)
        os.close(self.theirs)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


def test_a_terminal_has_one_line_that_is_always_true(narrow: Stack, tmp_path: Path, terminal: Terminal) -> None:
    gate = tmp_path / "gate"
    with run(narrow, gated(gate, 3), tmp_path, err=terminal.theirs) as process:
        terminal.wait_for(b"\r\x1b[K0 of 3 parts done, 2 running, 1 waiting: 1 node busy")
        gate.touch()
        terminal.wait_for(b" completed in ")
        assert process.wait(20) == 0
    assert b"Placed on node" not in terminal.seen
    last = terminal.seen.rpartition(b"\r\x1b[K")[2]
    assert b"  3 of 3 parts done\r\n" in last, "the live line is gone, and the end stays"


def test_a_terminal_has_a_table_of_many_parts(narrow: Stack, tmp_path: Path, terminal: Terminal) -> None:
    gate = tmp_path / "gate"
    with run(narrow, gated(gate, 20), tmp_path, err=terminal.theirs) as process:
        table = b"0 of 20 parts done\r\n   2  running\r\n  18  waiting: 1 node busy"
        terminal.wait_for(table)
        terminal.wait_for(b"\r\x1b[2A\x1b[J" + table)
        gate.touch()
        terminal.wait_for(b" completed in ")
        assert process.wait(40) == 0
    assert b"Placed on node" not in terminal.seen
    last = terminal.seen.rpartition(b"\x1b[J")[2]
    assert b"  20 of 20 parts done\r\n" in last, "the table is gone, and the end stays"


def test_a_terminal_says_for_how_long_a_job_has_been_at_something(
    narrow: Stack, tmp_path: Path, terminal: Terminal
) -> None:
    before, gate = tmp_path / "before", tmp_path / "gate"
    full = narrow.submit(gated(before, 2))
    narrow.wait_state(full, "Running")
    with run(narrow, gated(gate, 1), tmp_path, err=terminal.theirs) as process:
        terminal.wait_for(b"\r\x1b[KWaiting: 1 node busy (")
        before.touch()
        terminal.wait_for(b"\r\x1b[KRunning on node node-a (1 s)")
        gate.touch()
        terminal.wait_for(b" completed in ")
        assert process.wait(20) == 0


def test_a_job_that_is_watched_later_says_what_it_waits_for(narrow: Stack, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first, second = narrow.submit(gated(gate, 2)), narrow.submit(gated(gate, 1))
    narrow.wait_state(first, "Running")
    narrow.wait_state(second, "Queued")
    err = tmp_path / "err"
    command = [sys.executable, "-m", "tarpon", "job", "watch", second]
    environment = {"TARPON_API_HOST": HOST, "TARPON_API_PORT": str(narrow.api_port)}
    with err.open("w") as file, subprocess.Popen(command, env=environment, stderr=file) as process:
        waits = "Waiting for free CPU on 1 suitable node(s)"
        wait_until(lambda: waits in err.read_text(), within=20, what="it says what it waits for")
        gate.touch()
        assert process.wait(40) == 0
    told = err.read_text()
    assert told.index(waits) < told.index("Running on node node-a") < told.index(f"Job {second} completed in ")


def test_the_description_of_a_job_says_why_parts_of_it_wait(narrow: Stack, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = narrow.submit(gated(gate, 3))
    told = "Waiting for free CPU on 1 suitable node(s)."

    def details() -> Any:
        state = narrow.api(f"/orchestrator/jobs/{job}")["Job"]["State"]
        return state["StateType"] == "Running" and state["Details"].get("WaitsFor") == told

    wait_until(details, within=20, what="the job says why it waits")
    assert f"Parts wait  {told}" in narrow.cli("job", "describe", job).stdout
    gate.touch()
    narrow.wait_ended(job)
