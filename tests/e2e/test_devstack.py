"""Whether `tarpon devstack` brings up everything, keeps secrets where they belong, and leaves nothing behind."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import wait_until
from tests.servers import HOST

COMMAND = [sys.executable, "-m", "tarpon", "devstack", "--computes", "1"]


class Running:
    """A devstack as a process, with its output in files."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._err = folder / "err"
        with (folder / "out").open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen([*COMMAND, *options], stdout=out, stderr=err)
        self._out = folder / "out"

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait_ready(self) -> None:
        def is_ready() -> bool:
            assert self.process.poll() is None, f"the devstack ended:\n{self.err}"
            return "# Ready" in self.out

        wait_until(is_ready, within=60, what="the devstack is ready")

    def folder(self) -> Path:
        found = re.search(r"Data and logs: (.+)", self.err)
        assert found is not None
        return Path(found[1])


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    stack = Running(tmp_path, "--random-ports")
    try:
        stack.wait_ready()
        yield stack
    finally:
        stack.process.terminate()
        stack.process.wait(60)


def processes_of(folder: Path) -> dict[int, str]:
    """The processes that have something to do with a stack's folder, by their command lines and environments."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in line or str(folder).encode() in (path / "environ").read_bytes():
                found[int(path.name)] = line
    return found


def environment_of(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/environ").read_text()
    return dict(part.split("=", 1) for part in text.split("\0") if "=" in part)


@pytest.mark.timeout(180)
def test_a_command_runs_against_the_stack_and_its_exit_code_is_kept(tmp_path: Path) -> None:
    script = 'tarpon job run deploy/examples/hello-process.yaml && test -n "$TARPON_API_PORT" && exit 7'
    done = subprocess.run(
        [*COMMAND, "--random-ports", "--", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert "Job successfully submitted" in done.stdout
    folder = re.search(r"Data and logs: (.+)", done.stderr)
    assert folder is not None
    assert not Path(folder[1]).exists()
    assert not processes_of(Path(folder[1]))


def test_the_orchestrator_alone_has_s3_keys_and_no_secret_is_in_a_command_line(running: Running) -> None:
    found = processes_of(running.folder())
    serving = {pid: line for pid, line in found.items() if "tarpon serve" in line}
    keys, tokens = set(), set()
    for pid, line in serving.items():
        environment = environment_of(pid)
        tokens |= {value for name, value in environment.items() if name.endswith("_AUTH_TOKEN")}
        keys |= {value for name, value in environment.items() if name == "AWS_SECRET_ACCESS_KEY"}
        assert ("AWS_SECRET_ACCESS_KEY" in environment) == ("--orchestrator" in line)
    assert len(serving) == 2
    assert len(keys) == len(tokens) == 1
    for secret in keys | tokens:
        assert not [line for line in found.values() if secret in line]
        assert secret not in running.out + running.err
    assert running.folder().stat().st_mode & 0o777 == 0o700


def test_sigterm_stops_everything_and_removes_the_data(running: Running) -> None:
    folder = running.folder()
    running.process.terminate()
    assert running.process.wait(60) == 0
    assert "Stopping the nodes, then the orchestrator and the S3 server" in running.err
    assert running.err.rstrip().endswith("Stopped; the data is removed.")
    assert not folder.exists()
    assert not processes_of(folder)


def test_nothing_outlives_a_devstack_that_is_killed(running: Running) -> None:
    folder = running.folder()
    assert len(processes_of(folder)) >= 4
    running.process.kill()
    running.process.wait()
    wait_until(lambda: not processes_of(folder), within=40, what="all processes of the stack have ended")
    shutil.rmtree(folder)


def test_a_child_that_dies_ends_the_devstack_which_tells_its_name_and_log(running: Running) -> None:
    (compute,) = [pid for pid, line in processes_of(running.folder()).items() if "serve --compute" in line]
    os.kill(compute, signal.SIGKILL)
    assert running.process.wait(60) == 1
    assert "The process compute-1 ended with code -9" in running.err
    assert "takes orders" in running.err, "the end of its log is shown"


def test_a_taken_port_is_named_with_the_setting_that_changes_it() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "-c", f"API.Port={port}"], capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "API.Port" in done.stderr
