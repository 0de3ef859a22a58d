"""How a job is watched while it is stopped, interrupted, or loses its orchestrator."""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.stack import Stack, process_job, wait_until
from tests.servers import HOST


def watching(stack: Stack, job: dict[str, Any], folder: Path) -> subprocess.Popen[str]:
    """`tarpon job run` as a process, with its output in files."""
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "tarpon", "job", "run", "--id-only", str(folder / "job.yaml")],
            env={"TARPON_API_HOST": HOST, "TARPON_API_PORT": str(stack.api_port), "PYTHONUNBUFFERED": "1"},
            stdout=out,
            stderr=err,
            text=True,
        )


def told_apart(stack: Stack, command: Sequence[str], path: Path) -> subprocess.Popen[str]:
    """`tarpon COMMAND` as a process, with its outputs in files beside each other."""
    with path.with_suffix(".out").open("w") as out, path.with_suffix(".err").open("w") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "tarpon", *command],
            env={"TARPON_API_HOST": HOST, "TARPON_API_PORT": str(stack.api_port), "PYTHONUNBUFFERED": "1"},
            stdout=out,
            stderr=err,
            text=True,
        )


def wait_all_say(files: Mapping[str, Path], text: str) -> None:
    def silent() -> list[str]:
        return [name for name, path in files.items() if text not in path.read_text()]

    wait_until(lambda: not silent(), within=30, what=f"all say {text!r}")


def wait_shown(folder: Path, text: str) -> str:
    """The job's id, when the text was shown."""
    wait_until(lambda: text in (folder / "err").read_text(), within=20, what=f"{text!r} was shown")
    return (folder / "out").read_text().strip()


def test_ctrl_c_ends_the_watching_and_not_the_job(running: Stack, tmp_path: Path) -> None:
    process = watching(running, process_job("sleep 60"), tmp_path)
    job_id = wait_shown(tmp_path, "Running on node")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    told = (tmp_path / "err").read_text()
    assert f"job {job_id} goes on" in told
    assert "Traceback" not in told
    assert running.state(job_id) == "Running"
    running.cli("job", "stop", job_id)
    running.wait_ended(job_id)


def test_a_job_that_somebody_stops_ends_the_command_with_4(running: Stack, tmp_path: Path) -> None:
    process = watching(running, process_job("sleep 60"), tmp_path)
    job_id = wait_shown(tmp_path, "Running on node")
    running.cli("job", "stop", job_id, "--reason", "enough of it")
    assert process.wait(30) == 4
    assert "was stopped" in (tmp_path / "err").read_text()


def test_a_run_does_not_tell_what_became_of_a_later_version(running: Stack, tmp_path: Path) -> None:
    process = watching(running, process_job("sleep 60") | {"Name": "overtaken"}, tmp_path)
    job_id = wait_shown(tmp_path, "Running on node")
    running.submit(process_job("echo quick") | {"Name": "overtaken"})
    assert process.wait(30) == 4
    told = f"Job {job_id} was stopped: version 2 of it took the place of version 1"
    assert told in (tmp_path / "err").read_text()


def test_what_a_job_waits_for_is_told_live_and_with_every_node(stack: Stack, tmp_path: Path) -> None:
    stack.start_orchestrator()
    stack.start_compute("node-a")
    stack.cli("node", "drain", "node-a", "--no-wait")
    process = watching(stack, process_job("echo hello", Resources={"CPU": "0.1"}), tmp_path)
    job_id = wait_shown(tmp_path, "Waiting: 1 node drained")
    told = stack.cli("job", "why", job_id).stdout
    assert "asks for 0.1 CPU" in told
    assert "node-a" in told
    assert "drained" in told
    stack.cli("node", "undrain", "node-a")
    assert process.wait(60) == 0
    ended = json.loads(stack.cli("job", "why", job_id, "--output", "json").stdout)
    assert ended["Summary"] == "it has ended (Completed), and waits for nothing"


@pytest.mark.timeout(150)
def test_a_watch_outlives_its_orchestrator(stack: Stack, tmp_path: Path) -> None:
    stack.start_orchestrator()
    stack.start_compute("node-a")
    gate = tmp_path / "gate"
    process = watching(stack, process_job(f"while [ ! -e {gate} ]; do sleep 0.1; done; echo through"), tmp_path)
    wait_shown(tmp_path, "Running on node")
    assert stack.orchestrator is not None
    stack.orchestrator.kill()
    stack.start_orchestrator()
    gate.touch()
    assert process.wait(60) == 0
    told = (tmp_path / "err").read_text()
    assert told.count("Running on node") == 1, "nothing is shown twice"
    assert "completed in" in told


@pytest.mark.timeout(150)
def test_an_orchestrator_that_stays_away_is_told_once_to_everybody_who_waits_for_it(
    stack: Stack, tmp_path: Path
) -> None:
    stack.start_orchestrator()
    stack.start_compute("node-a")
    gate = tmp_path / "gate"
    run = watching(stack, process_job(f"echo begun; while [ ! -e {gate} ]; do sleep 0.1; done"), tmp_path)
    job_id = wait_shown(tmp_path, "Running on node")
    commands = {"watch": ("job", "watch", "--output", "json", job_id), "logs": ("job", "logs", "-f", job_id)}
    errors = {"run": tmp_path / "err"} | {name: tmp_path / f"{name}.err" for name in commands}
    processes = [run, *(told_apart(stack, command, tmp_path / name) for name, command in commands.items())]
    for name in commands:
        wait_until((tmp_path / f"{name}.out").read_text, within=20, what=f"{name} has begun")
    assert stack.orchestrator is not None
    stack.orchestrator.kill()
    away = f"No orchestrator answers at http://{HOST}:{stack.api_port}: the connection is refused"
    wait_all_say(errors, away)
    stack.start_orchestrator()
    wait_all_say(errors, "answers again")
    gate.touch()
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    for path in errors.values():
        told = path.read_text()
        assert (told.count("No orchestrator answers"), told.count("answers again")) == (1, 1), told
    assert all(json.loads(line) for line in (tmp_path / "watch.out").read_text().splitlines())
    assert (tmp_path / "out").read_text() == f"{job_id}\n"
    assert (tmp_path / "logs.out").read_text() == "begun\n"


def test_a_job_is_watched_from_wherever_it_is(running: Stack, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job_id = running.submit(process_job(f"while [ ! -e {gate} ]; do sleep 0.1; done"))
    running.wait_state(job_id, "Running")
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "tarpon", "job", "watch", "-v", job_id[:12]],
            env={"TARPON_API_HOST": HOST, "TARPON_API_PORT": str(running.api_port), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.DEVNULL,
            stderr=err,
        )
    wait_until(lambda: "Running on node" in (tmp_path / "err").read_text(), within=20, what="it shows what was")
    gate.touch()
    assert process.wait(30) == 0
    told = (tmp_path / "err").read_text()
    assert told.index("Job submitted") < told.index("Running on node") < told.index(f"Job {job_id} completed in ")
    assert "Exit code: 0." in told
    again = running.cli("job", "watch", "-v", job_id)
    assert "Result published and verified" in again.stderr, "one that has ended is told all the same"


def test_a_watch_for_programs_prints_one_object_a_line(running: Stack) -> None:
    job_id = running.submit(process_job("echo hello"))
    done = running.cli("job", "watch", job_id, "--output", "json")
    items = [json.loads(line) for line in done.stdout.splitlines()]
    numbers = [item["SeqNum"] for item in items]
    assert numbers == sorted(set(numbers))
    assert {item["JobID"] for item in items} == {job_id}
    assert items[-1]["Event"]["Details"]["NewState"] == "Completed"


def test_the_exit_code_of_a_watch_tells_how_the_job_ended(running: Stack, tmp_path: Path) -> None:
    failing = process_job("sleep 60", Timeouts={"ExecutionTimeout": 1})
    failed = running.submit(failing)
    watched = running.cli("job", "watch", failed, check=False)
    assert watched.returncode == 1
    assert f"Job {failed} failed: " in watched.stderr
    assert running.cli("job", "watch", failed, "--exit-zero").returncode == 0
    stopped = running.submit(process_job("sleep 60"))
    running.cli("job", "stop", stopped, "--reason", "enough of it")
    assert running.cli("job", "watch", stopped, check=False).returncode == 4
    assert running.cli("job", "watch", "no-such-job", check=False).returncode == 1


def test_ctrl_c_ends_a_watch_and_not_the_job(running: Stack, tmp_path: Path) -> None:
    job_id = running.submit(process_job("sleep 60"))
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "tarpon", "job", "watch", job_id],
            env={"TARPON_API_HOST": HOST, "TARPON_API_PORT": str(running.api_port), "PYTHONUNBUFFERED": "1"},
            stderr=err,
        )
    wait_until(lambda: "Running on node" in (tmp_path / "err").read_text(), within=20, what="it shows what happens")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert f"job {job_id} goes on" in (tmp_path / "err").read_text()
    assert running.state(job_id) == "Running"
    running.cli("job", "stop", job_id)
    running.wait_ended(job_id)
