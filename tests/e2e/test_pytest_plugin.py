"""The fixture for projects of others: their tests get a real devstack, which ends with them."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = """
import subprocess, sys

JOB = {"Type": "batch", "Tasks": [{
    "Name": "main", "Publisher": {"Type": "s3managed"},
    "Engine": {"Type": "process", "Params": {"Entrypoint": ["sh", "-c", "echo it works"]}},
}]}


def test_by_the_client(tarpon_stack, tmp_path):
    with tarpon_stack.client() as client:
        job = client.wait(client.submit(JOB).job_id)
        assert job.status == "Completed"
        assert (client.get_results(job.id, output_dir=tmp_path / "r").folder / "stdout").read_text() == "it works\\n"


async def ask(stack):
    async with stack.async_client() as client:
        return (await client.nodes()).nodes


def test_by_a_program_and_without_await(tarpon_stack):
    import asyncio
    assert len([n for n in asyncio.run(ask(tarpon_stack)) if n.info.node_type == "Compute"]) == 1
    done = subprocess.run([sys.executable, "-m", "tarpon", "job", "list"], env=tarpon_stack.environment, text=True,
                          capture_output=True, check=True)
    assert "Completed" in done.stdout
"""
INI = "[pytest]\ntarpon_stack_options = --computes 1 -c Engines.Types.Docker.Socket= {more}\n"


def pytest_of(folder: Path, *, more: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "test_mine.py").write_text(TESTS)
    (folder / "conftest.py").write_text('pytest_plugins = ["tarpon.pytest_plugin"]\n')
    (folder / "pytest.ini").write_text(INI.format(more=more))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'tmp'}"]
    environment = os.environ | {"TARPON_API_KEY": "of somebody else"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=110, check=False
    )


def test_tests_of_others_run_against_a_whole_stack_that_ends_with_them(tmp_path: Path) -> None:
    done = pytest_of(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert not _left(tmp_path)


def test_a_stack_that_does_not_start_is_told_in_its_own_words(tmp_path: Path) -> None:
    done = pytest_of(tmp_path, more="-c Nonsense=1")
    assert done.returncode == 1
    assert "`tarpon devstack` did not start" in done.stdout
    assert "Nonsense" in done.stdout


def _left(folder: Path) -> list[str]:
    """Processes that name the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found
