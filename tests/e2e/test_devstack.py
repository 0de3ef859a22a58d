"""Whether `tarpon devstack` brings up everything, keeps secrets where they belong, and leaves nothing behind."""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import NO_AUTHORITIES, wait_until
from tests.engine import IMAGE, TestEngine
from tests.servers import HOST

COMMAND = [sys.executable, "-m", "tarpon", "devstack", "--computes", "1"]


@pytest.fixture(autouse=True)
def no_authorities_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NO_AUTHORITIES.items():
        monkeypatch.setenv(name, value)


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


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1])
def test_a_signal_of_another_kind_does_too(running: Running, number: signal.Signals) -> None:
    folder = running.folder()
    running.process.send_signal(number)
    assert running.process.wait(60) == 0
    assert not folder.exists()
    assert not processes_of(folder)


def exported(stack: Running) -> dict[str, str]:
    """What it prints to be pasted into another terminal."""
    found = dict(re.findall(r"^export (\w+)=(\S+)$", stack.out, re.MULTILINE))
    assert set(found) == {"TARPON_API_HOST", "TARPON_API_PORT", "TARPON_API_KEY"}
    return found


def begin(stack: Running, *command: str) -> None:
    line = [sys.executable, "-m", "tarpon", *command]
    subprocess.run(line, check=True, capture_output=True, timeout=60, env={**os.environ, **exported(stack)})


def begin_a_task_that_does_not_stop(stack: Running) -> None:
    """It has to be killed, so that the node that runs it takes 10 s to stop in order."""
    begin(stack, "exec", "--no-wait", "sh", "-c", "trap '' TERM INT HUP; touch begun; while :; do sleep 0.05; done")
    wait_until(lambda: list(stack.folder().rglob("begun")), within=60, what="the task runs")


@pytest.mark.parametrize("again", [1, 2])
def test_more_signals_end_all_at_once_and_remove_the_data_all_the_same(running: Running, again: int) -> None:
    folder = running.folder()
    begin_a_task_that_does_not_stop(running)
    running.process.send_signal(signal.SIGINT)
    wait_until(lambda: "Stopping:" in (folder / "compute-1.log").read_text(), within=40, what="the node is stopping")
    began = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP)[:again]:
        running.process.send_signal(number)
    assert running.process.wait(60) == 0
    assert time.monotonic() - began < 9, "it waits for the task no longer"
    assert running.err.rstrip().endswith("Stopped; the data is removed.")
    assert not folder.exists()
    assert not processes_of(folder)


@pytest.fixture
def with_docker(tmp_path: Path, docker_engine: TestEngine) -> Iterator[Running]:
    stack = Running(tmp_path, "--random-ports", "-c", f"Engines.Types.Docker.Socket={docker_engine.url}")
    try:
        stack.wait_ready()
        yield stack
    finally:
        stack.process.terminate()
        stack.process.wait(60)


def test_containers_of_nodes_that_are_ended_at_once_are_removed_and_no_others(
    with_docker: Running, docker_engine: TestEngine
) -> None:
    label = "tarpon.node=compute-1"
    labels = {"tarpon.node": "compute-1", "tarpon.execution": "e-of-another-stack"}
    anothers = {"Image": IMAGE, "Cmd": ["true"], "Labels": labels}
    docker_engine.post("/containers/create?name=of-another-stack", anothers)
    asks = anothers | {"Labels": labels | {"tarpon.execution": "mounts-0"}}
    docker_engine.post("/containers/create?name=asks-what-is-mounted", asks)
    (with_docker.folder() / "compute-1" / "compute" / "executions" / ".mark-0").touch()
    begin(
        with_docker, "docker", "run", "--no-wait", IMAGE, "sh", "-c", "trap '' TERM INT; while :; do sleep 0.05; done"
    )
    wait_until(lambda: len(docker_engine.containers(label)) >= 3, within=60, what="the container is there")
    for number in (signal.SIGINT, signal.SIGTERM):
        with_docker.process.send_signal(number)
    assert with_docker.process.wait(60) == 0
    left = docker_engine.containers(label)
    for name in left:
        docker_engine.request("DELETE", f"/containers/{name}?force=1")
    assert left == ["of-another-stack"]


@contextlib.contextmanager
def request_that_never_ends(running: Running) -> Iterator[None]:
    """An orchestrator that stops waits for it for 2 s before it stops its NATS server."""
    with socket.create_connection((HOST, int(exported(running)["TARPON_API_PORT"]))) as connection:
        key = f"Authorization: Bearer {exported(running)['TARPON_API_KEY']}"
        head = f"PUT /api/v1/orchestrator/jobs HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n{key}\r\n"
        connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        yield


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_nats_server_is_left_where_another_signal_meets_an_orchestrator_that_stops(
    running: Running, number: signal.Signals
) -> None:
    folder = running.folder()
    with request_that_never_ends(running):
        running.process.terminate()
        log = folder / "orchestrator.log"
        wait_until(lambda: "Stopping:" in log.read_text(), within=40, what="the orchestrator is stopping")
        running.process.send_signal(number)
        running.process.wait(60)
    wait_until(lambda: not processes_of(folder), within=40, what="all processes of the stack have ended")
    assert folder.exists() == (number == signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("begun", ["Starting the S3 server", "Starting compute-1", "Waiting for"])
def test_signals_while_the_stack_starts_leave_nothing(tmp_path: Path, begun: str) -> None:
    stack = Running(tmp_path, "--random-ports")
    wait_until(lambda: begun in stack.err, within=60, what=f"it says: {begun}")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        stack.process.send_signal(number)
    assert stack.process.wait(60) == 0
    assert not stack.folder().exists()
    wait_until(lambda: not processes_of(stack.folder()), within=10, what="all processes of the stack have ended")


def test_nothing_is_left_where_nobody_reads_what_is_said(tmp_path: Path) -> None:
    """As when the terminal is closed, or `| head` has read enough."""
    process = subprocess.Popen([*COMMAND, "--random-ports"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stdout is not None
    folder = Path(process.stderr.readline().removeprefix("Data and logs: ").rstrip())
    process.stderr.close()
    assert process.stdout.readline().startswith("export")
    process.stdout.close()
    process.send_signal(signal.SIGHUP)
    process.wait(60)
    assert not folder.exists()
    assert not processes_of(folder)


def test_a_command_that_does_not_stop_is_killed_by_a_second_signal(tmp_path: Path) -> None:
    script = f"trap '' TERM; touch {tmp_path / 'begun'}; while :; do sleep 0.05; done"
    stack = Running(tmp_path, "--random-ports", "--", "sh", "-c", script)
    wait_until((tmp_path / "begun").exists, within=60, what="the command runs")
    began = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM):  # two of one kind may become one
        stack.process.send_signal(number)
    assert stack.process.wait(60) == 130
    assert time.monotonic() - began < 25, "it would have had 30 s"
    assert not stack.folder().exists()
    assert not processes_of(tmp_path)


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


def test_with_tls_a_job_is_run_and_fetched_and_nothing_listens_in_plain_text(tmp_path: Path) -> None:
    told = """
    set -e
    tarpon job run --id-only deploy/examples/hello-process.yaml > "$0/job"
    tarpon job get "$(cat "$0/job")" --output-dir "$0/fetched"
    env > "$0/env"
    """
    command = [*COMMAND, "--tls", "--random-ports", "--data-dir", str(tmp_path / "data"), "--", "sh", "-c", told]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "fetched" / "stdout").read_text().startswith("Hello")
    log = (tmp_path / "data" / "orchestrator.log").read_text()
    assert "Serving the API on https://" in log
    assert "Results are stored in s3://tarpon-results/results (us-east-1, https://" in log
    assert "handshake_first: true" in next((tmp_path / "data").rglob("nats-server.conf")).read_text()
    for secret in (tmp_path / "data" / "tls").iterdir():
        assert secret.stat().st_mode & 0o777 == 0o600


def test_a_folder_of_a_devstack_that_runs_is_not_taken(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with (folder / "devstack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [*COMMAND, "--random-ports", "--data-dir", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert f"Another devstack is using {folder}." in done.stderr
