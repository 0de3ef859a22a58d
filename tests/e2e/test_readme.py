"""The README's example programs run as they are written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, process_job

README = Path(__file__).resolve().parents[2] / "README.md"
PORT = "1234"


def _program(needle: str) -> str:
    """The one example in which this occurs."""
    programs = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = (program for program in programs if needle in program)
    return str(found)


def _run(program: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(README.parent)} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_example_runs(running: Stack, tmp_path: Path) -> None:
    program = _program("import get_results")
    assert program.count(PORT) == 1, "the port is all that differs here"
    assert _run(program.replace(PORT, str(running.api_port)), tmp_path) == "Completed\nHello\n\n"
    (folder,) = tmp_path.glob("job-*")
    assert (folder / "exitCode").read_text() == "0"


def test_the_example_of_single_files_runs(running: Stack, tmp_path: Path) -> None:
    program = _program("import list_files")
    assert program.count(PORT) == 1, "the port is all that differs here"
    job = process_job("echo done > outputs/report.txt", ResultPaths=[{"Name": "outputs", "Path": "/outputs"}])
    running.wait_ended(running.submit(job | {"Name": "my-job"}))
    told = _run(program.replace(PORT, str(running.api_port)), tmp_path).splitlines()
    assert [line.split()[0] for line in told] == ["exitCode", "outputs", "outputs/report.txt", "stderr", "stdout"]
    assert (tmp_path / "report.txt").read_text() == "done\n"


def test_the_http_example_runs_with_the_standard_library_alone(running: Stack, tmp_path: Path) -> None:
    program = _program("Hello over HTTP")
    told = _run(program.replace(PORT, str(running.api_port)), tmp_path).split("\n")
    assert "Completed" in told
    assert "Hello over HTTP" in told


def test_the_nats_example_runs_with_what_integration_show_prints(running: Stack, tmp_path: Path) -> None:
    settings = ["-c", f"DataDir={running.root / 'orchestrator'}", "-c", f"Orchestrator.Port={running.nats_port}"]
    shown = running.cli("agent", "integration", "show", "billing", *settings, "-c", "Orchestrator.Host=127.0.0.1")
    environment = dict(re.findall(r"^export (\w+)=(.*)$", shown.stdout, re.MULTILINE))
    told = _run(_program("import nats"), tmp_path, **environment).split()
    assert told[-2:] == ["Completed", "True"]


@pytest.mark.parametrize("name", ["a.b", "*", ""])
def test_an_integration_has_a_safe_name(running: Stack, name: str) -> None:
    done = running.cli("agent", "integration", "show", name, "-c", f"DataDir={running.root / 'x'}", check=False)
    assert done.returncode in {1, 2}
    assert "cannot be the name of this integration" in done.stderr
