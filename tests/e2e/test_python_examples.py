"""What Python programs of users look like, as the documents have it: a script, a notebook, an application, functions.

`.ci/run` has each of its Pythons run this file, against a devstack of the same Python.
"""

import contextlib
import itertools
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tarpon
from tarpon.pytest_plugin import TarponStack
from tests.documents import ROOT, blocks
from tests.e2e.stack import wait_until
from tests.programs_environment import programs_python
from tests.servers import HOST, free_ports

RUNNER = Path(__file__).with_name("notebook_runner.py")
SCRIPT, FUNCTIONS = "client.logs(job.id, follow=True)", "tarpon.Executor"
APPLICATION, NOTEBOOK, FILES = "FastAPI(", "tarpon.notebook", "import list_files"
HOSTILE = "<script>document.title='harmed'</script>"


def program(needle: str) -> str:
    """The one example in which this occurs."""
    (found,) = (each for each in blocks("python") if needle in each)
    return found


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[TarponStack]:
    """Its tasks find the Python of these tests first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        made: TarponStack = request.getfixturevalue("tarpon_stack")
        yield made


def environment(stack: TarponStack, folder: Path) -> dict[str, str]:
    homes = {name: str(folder) for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR")}
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | homes | stack.environment


def run(command: list[str], stack: TarponStack, folder: Path, **more: Any) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=folder,
        env=environment(stack, folder),
        **more,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


def test_the_script_runs(stack: TarponStack, tmp_path: Path) -> None:
    told, folder = run([sys.executable, "-c", program(SCRIPT)], stack, tmp_path).splitlines()
    assert told == "counted"
    assert (tmp_path / folder / "outputs" / "numbers").read_text().split()[-1] == "10"


def test_functions_run(stack: TarponStack, tmp_path: Path) -> None:
    values, answer = run([sys.executable, "-c", program(FUNCTIONS)], stack, tmp_path).splitlines()
    assert values == "[0, 1, 4, 9, 16]"
    assert answer.startswith("42 j-")


def test_functions_have_errors_files_and_large_arguments(stack: TarponStack, tmp_path: Path) -> None:
    def written(text: str) -> int:
        Path("text").write_text(text)
        return len(text) // (len(text) - 100_000)

    with tarpon.Executor(stack.host, stack.port, api_key=stack.key, python=sys.executable) as executor:
        good, bad = executor.submit(written, "x" * 100_001), executor.submit(written, "x" * 100_000)
        assert good.result() == 100_001
        assert isinstance(bad.exception(), ZeroDivisionError)
        assert (good.fetch_files(tmp_path) / "text").stat().st_size == 100_001
        assert list(itertools.islice(executor.map(abs, itertools.count(), buffersize=5), 7)) == list(range(7))


def notebook(cells: list[str], stack: TarponStack, folder: Path) -> dict[str, Any]:
    told = run([str(programs_python()), str(RUNNER)], stack, folder, input=json.dumps(cells))
    found: dict[str, Any] = json.loads(told)
    return found


SHOWN = f"""
name = {HOSTILE!r}
task = {{"Name": "main", "Engine": {{"Type": "process", "Params": {{"Entrypoint": ["sh", "-c", "exit 3"]}}}}}}
made = tarpon.Client()
await made.__aenter__()
submitted = await made.submit({{"Type": "batch", "Name": name, "Tasks": [task]}})
ended = await show(made, submitted.job_id)
"""


def test_the_notebook_shows_jobs_while_they_go_on(stack: TarponStack, tmp_path: Path) -> None:
    """With both clients, until they have ended; names of others are text."""
    found = notebook([program(NOTEBOOK), SHOWN, "client.list()"], stack, tmp_path)
    (live, fetched), (awaited,), (jobs,) = found["cells"]
    assert any("Scheduling" in html and ">Completed<" not in html for html in found["shown"]), "it was live"
    assert ">Completed<" in live["data"]["text/html"]
    assert "Files" in fetched["data"]["text/html"]
    assert ">Exit codes</th>" in awaited["data"]["text/html"], "it has ended"
    assert "&lt;script&gt;document.title" in awaited["data"]["text/html"]
    assert "&lt;script&gt;document.title" in jobs["data"]["text/html"]
    assert not [html for html in found["shown"] if "<script" in html]


@contextlib.contextmanager
def serving(stack: TarponStack, folder: Path) -> Iterator[str]:
    (folder / "application.py").write_text(program(APPLICATION))
    (port,) = free_ports(1)
    command = [str(programs_python()), "-m", "uvicorn", "application:app", "--host", HOST, "--port", str(port)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment(stack, folder), stdout=log, stderr=log)
    try:
        wait_until(lambda: "Uvicorn running on" in (folder / "log").read_text(), within=60, what="the application runs")
        yield f"http://{HOST}:{port}"
    finally:
        server.terminate()
        server.wait(30)


def test_the_application_answers_by_jobs(stack: TarponStack, tmp_path: Path) -> None:
    with serving(stack, tmp_path) as url:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/greetings?name=Ada", method="POST")) as answer:
            job = json.load(answer)["job"]
        with urllib.request.urlopen(f"{url}/greetings/{job}") as answer:
            assert json.load(answer) == {"status": "Completed", "said": "Hello, Ada\n"}
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{url}/greetings/no-such-job")


@pytest.mark.timeout(300)
def test_the_programs_are_typed(tmp_path: Path) -> None:
    for number, needle in enumerate((SCRIPT, FUNCTIONS, FILES, APPLICATION, NOTEBOOK, "import get_results")):
        (tmp_path / f"program_{number}.py").write_text(program(needle))
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(programs_python())]
    done = subprocess.run([*command, "."], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
