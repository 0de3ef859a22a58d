"""How a job is watched while it is stopped, interrupted, or loses its orchestrator."""

import signal
import subprocess
import sys
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
