"""The example programs of the documents run as they are written."""

import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.documents import ROOT, blocks
from tests.e2e.stack import Stack, process_job
from tests.programs import require_program
from tests.servers import HOST
from tests.tables_environment import tables_python

PORT = "1234"
PROGRAMS = (
    *("import get_results", "import list_files", "Hello over HTTP", "import duckdb", "import nats", "put_data"),
    *("client.logs(job.id, follow=True)", "tarpon.Executor", "EnginePlugin(", "OTLPSpanExporter"),
    *("webhook-signature", "FastAPI(", "tarpon.notebook", "securesystemslib"),
)
"""What is in one of the examples in Python alone; each is run by a test, the last five in others."""


def _program(needle: str) -> str:
    """The one example in which this occurs."""
    (found,) = (program for program in blocks("python") if needle in program)
    return found


def _at(running: Stack) -> dict[str, str]:
    return {"TARPON_API_HOST": HOST, "TARPON_API_PORT": str(running.api_port)}


def _run(program: str, folder: Path, *, python: Path | str = sys.executable, **environment: str) -> str:
    done = subprocess.run(
        [python, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_program_in_python_is_run_by_a_test() -> None:
    programs = blocks("python")
    assert sorted(needle for program in programs for needle in PROGRAMS if needle in program) == sorted(PROGRAMS)
    assert len(programs) == len(PROGRAMS)


def test_the_python_example_runs(running: Stack, tmp_path: Path) -> None:
    assert _run(_program("import get_results"), tmp_path, **_at(running)) == "Completed\nHello\n\n"
    (folder,) = tmp_path.glob("job-*")
    assert (folder / "exitCode").read_text() == "0"


def test_the_example_of_single_files_runs(running: Stack, tmp_path: Path) -> None:
    job = process_job("echo done > outputs/report.txt", ResultPaths=[{"Name": "outputs", "Path": "/outputs"}])
    running.wait_ended(running.submit(job | {"Name": "my-job"}))
    told = _run(_program("import list_files"), tmp_path, **_at(running)).splitlines()
    assert [line.split()[0] for line in told] == ["exitCode", "outputs", "outputs/report.txt", "stderr", "stdout"]
    assert (tmp_path / "report.txt").read_text() == "done\n"


def test_the_example_of_a_plugin_opens_its_engine(tmp_path: Path) -> None:
    used = """
from pathlib import Path
with PLUGIN.open(EngineHost(folder=Path())) as engine:
    print(PLUGIN.protocol, engine.name)
"""
    assert _run(_program("EnginePlugin(") + used, tmp_path) == "1 noop\n"


def test_the_example_without_await_runs(running: Stack, tmp_path: Path) -> None:
    told, folder = _run(_program("client.logs(job.id, follow=True)"), tmp_path, **_at(running)).splitlines()
    assert told == "counted"
    assert (tmp_path / folder / "outputs" / "numbers").read_text().split()[-1] == "10"


def test_the_example_that_sends_data_runs(running: Stack, tmp_path: Path) -> None:
    _tree(tmp_path)
    program = _program("put_data")
    assert _run(program, tmp_path, **_at(running)) == "2 of 2 files were sent\nCompleted\n"
    assert _run(program, tmp_path, **_at(running)).startswith("0 of 2 files were sent\n")


def _tree(folder: Path) -> None:
    (folder / "train").mkdir()
    for name in ("a", "b"):
        (folder / "train" / name).write_text(f"{name} of {folder}\n")


def test_the_commands_that_send_data_run_in_their_order(running: Stack, tmp_path: Path) -> None:
    _tree(tmp_path)
    (tmp_path / "job.json").write_text(json.dumps(process_job("ls data")))
    lines = [line for block in blocks("bash") if "./train" in block for line in block.splitlines()]
    assert [line.split()[1] for line in lines] == ["job", "exec", "docker", "data", "exec", "data", "data", "data"]
    for line in lines:
        words = shlex.split(line.replace("job.yaml", "job.json"))[1:]
        if words[0] == "docker":  # that it is understood; what it runs is tried with an engine elsewhere
            words.insert(2, "--dry-run")
        elif words[0] in {"job", "exec"}:
            words.insert(2 if words[0] == "job" else 1, "--follow")
        done = _command(running, tmp_path, words)
        assert words[0] not in {"job", "exec"} or done == "a\nb\n", line
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == ["a", "b"]


def _command(running: Stack, folder: Path, words: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tarpon", *words],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | _at(running),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_http_example_runs_with_the_standard_library_alone(running: Stack, tmp_path: Path) -> None:
    program = _program("Hello over HTTP")
    assert program.count(PORT) == 1, "the port is all that differs here"
    key = json.loads(running.cli("user", "create", "reader", "--output", "json").stdout)["Key"]
    told = _run(program.replace(PORT, str(running.api_port)), tmp_path, TARPON_API_KEY=key).split("\n")
    assert "Completed" in told
    assert "Hello over HTTP" in told


@pytest.fixture(scope="module")
def table(running: Stack) -> dict[str, str]:
    """The variables with which the examples find a job `my-job`, and the command itself."""
    script = r"printf 'a,b\n1,2\n3,4\n' > outputs/t.csv; head -c 1500000 /dev/urandom > outputs/noise"
    job = process_job(script, ResultPaths=[{"Name": "outputs", "Path": "/outputs"}]) | {"Name": "my-job"}
    running.wait_ended(running.submit(job))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {"PATH": path, "TARPON_API_HOST": HOST, "TARPON_API_PORT": str(running.api_port)}


def test_the_example_of_a_shell_prints_one_file_and_saves_the_archive(table: dict[str, str], tmp_path: Path) -> None:
    require_program("curl")
    require_program("wget")
    (program,) = (block for block in blocks("bash") if "tarpon job url my-job" in block)
    told = subprocess.run(["bash", "-euc", program], capture_output=True, cwd=tmp_path, env=table, check=False)
    assert (told.stdout, told.stderr) == (b"a,b\n1,2\n3,4\n", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["my-job.tar.gz"]
    with tarfile.open(tmp_path / "my-job.tar.gz") as archive:
        assert "outputs/t.csv" in archive.getnames()


@pytest.mark.timeout(300)
def test_the_example_of_pandas_and_duckdb_reads_one_file(table: dict[str, str], tmp_path: Path) -> None:
    told = _run(_program("import duckdb"), tmp_path, python=tables_python(), **table)
    assert told.splitlines() == ["6", "[(6,)]"]


def test_the_nats_example_runs_with_what_integration_show_prints(running: Stack, tmp_path: Path) -> None:
    shown = running.cli("agent", "integration", "show", "billing", "-c", f"DataDir={running.root / 'orchestrator'}")
    environment = dict(re.findall(r"^export (\w+)=(.*)$", shown.stdout, re.MULTILINE))
    told = _run(_program("import nats"), tmp_path, **environment).split()
    assert told[-2:] == ["Completed", "True"]


@pytest.mark.parametrize("name", ["a.b", "*", ""])
def test_an_integration_has_a_safe_name(running: Stack, name: str) -> None:
    done = running.cli("agent", "integration", "show", name, "-c", f"DataDir={running.root / 'x'}", check=False)
    assert done.returncode in {1, 2}
    assert "cannot be the name of this integration" in done.stderr
