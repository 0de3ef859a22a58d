"""That `make test` hands out together what shares a server."""

import subprocess
import sys
from pathlib import Path

import tests.conftest

ROOT = Path(__file__).parents[2]
TESTS = """
import os, pathlib, pytest

@pytest.fixture(scope="module")
def server():
    with pathlib.Path(os.environ["STARTED"]).open("a") as file:
        file.write("started\\n")

@pytest.mark.parametrize("number", range(8))
def test_with_a_server(server, number):
    pass
"""


def test_the_server_of_a_module_is_started_once_however_many_processes_there_are(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "e2e"
    folder.mkdir(parents=True)
    (folder / "test_shared.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", tests.conftest.__name__, "-n", "2", "--dist", "loadgroup", str(folder)],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(ROOT), "STARTED": str(tmp_path / "started")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 passed" in done.stdout
    assert (tmp_path / "started").read_text() == "started\n"
