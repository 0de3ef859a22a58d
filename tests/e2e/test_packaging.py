"""What is installed on a compute node: the built wheel and its base dependencies, and no boto."""

import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from shared.runtime.commit import of_checkout
from tests.environments import ROOT
from tests.node_environment import NODE, PACKAGES, WHEELS, node_python

PROGRAM = """
import asyncio
from pathlib import Path, PurePosixPath
from typing import assert_type

from tarpon import Client, ExecutionState, JobState
from tarpon.errors import NoResults, OrchestratorUnreachable, RemoteError, TarponError
from tarpon.results import get_results


async def work(job: dict[str, object]) -> JobState | str:
    async with Client(["one:1234", "two:1234"], timeout=10) as client:
        submitted = await client.submit(job, force=True)
        assert_type(submitted.job_id, str)
        for execution in await client.all_executions(submitted.job_id):
            assert_type(execution.state, ExecutionState | str)
        async for line in client.logs(submitted.job_id, follow=True):
            print(line.line, end="")
        ended = await client.wait(submitted.job_id)
        fetched = await get_results(client, submitted.job_id, paths=["outputs/*"])
        assert_type(fetched.folder, Path | None)
        return ended.status


def main(job: dict[str, object]) -> str:
    try:
        return asyncio.run(work(job))
    except RemoteError as error:
        assert_type(error.remote_code, str)
        return error.remote_code
    except (NoResults, OrchestratorUnreachable) as error:
        assert_type(error.retryable, bool)
        return error.hint
    except TarponError as error:
        return error.message
"""


@pytest.mark.parametrize("package", ["boto3", "botocore", "aioboto3", "aiobotocore"])
def test_boto_is_not_installed_where_compute_nodes_of_the_tests_run(package: str) -> None:
    done = subprocess.run([str(node_python()), "-c", f"import {package}"], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in done.stderr


def test_the_command_works_from_the_wheel_outside_of_the_checkout(tmp_path: Path) -> None:
    command = [str(node_python().with_name("tarpon")), "version", "--client"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "0.1.0" in done.stdout


def test_the_wheel_has_the_commit_that_it_was_built_from(tmp_path: Path) -> None:
    program = str(node_python().with_name("tarpon"))
    (wheel,) = (NODE.home / WHEELS).glob("*.whl")
    packed = zipfile.ZipFile(wheel)
    held = (
        packed.read("shared/runtime/commit.txt").decode().strip()
        if "shared/runtime/commit.txt" in packed.namelist()
        else ""
    )
    assert bool(held) is bool(of_checkout(ROOT)), "a checkout tells it, and an export has none"
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == (f"tarpon 0.1.0 (commit {held[:12]})\n" if held else "tarpon 0.1.0\n")


def test_each_package_of_the_wheel_says_that_it_is_typed() -> None:
    node_python()
    (wheel,) = (NODE.home / WHEELS).glob("*.whl")
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.timeout(300)
def test_a_program_that_uses_the_client_passes_the_strict_checks_of_mypy(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(node_python())]
    command += ["--config-file", "", "--cache-dir", str(NODE.home / ".mypy_cache"), "program.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout == "Success: no issues found in 1 source file\n", done.stderr


def test_the_wheel_has_every_file_of_the_page_and_the_licences_of_its_libraries() -> None:
    node_python()
    (wheel,) = (NODE.home / WHEELS).glob("*.whl")
    static = PurePosixPath("orchestrator/api/page/static")
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / static).rglob("*") if path.is_file()}
    assert f"{static}/vendor/LICENSES.txt" in files
    assert files <= set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_the_four_packages_and_nothing_else() -> None:
    node_python()
    (wheel,) = (NODE.home / WHEELS).glob("*.whl")
    folders = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in folders if not name.endswith(".dist-info")} == set(PACKAGES)
