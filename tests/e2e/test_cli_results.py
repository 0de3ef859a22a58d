"""How results come into folders, and what is said when there are none, as a user sees it."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.stack import Stack, process_job

WITH_FOLDER = {"ResultPaths": [{"Name": "outputs", "Path": "/outputs"}]}


@pytest.fixture(scope="module")
def two_parts(running: Stack) -> str:
    """A completed job with two partitions."""
    job = process_job("echo part $TARPON_PARTITION_INDEX; echo x > outputs/file", **WITH_FOLDER) | {"Count": 2}
    return completed(running, job)


def completed(stack: Stack, job: dict[str, Any]) -> str:
    job_id = stack.submit(job)
    assert stack.wait_ended(job_id)["Job"]["State"]["StateType"] == "Completed"
    return job_id


def executions(stack: Stack, job_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(stack.cli("job", "executions", job_id, "--output", "json").stdout)
    return found


def test_several_results_get_a_folder_each_so_that_it_is_known_who_wrote_what(
    running: Stack, two_parts: str, tmp_path: Path
) -> None:
    running.cli("job", "get", two_parts, "--output-dir", str(tmp_path))
    for each in executions(running, two_parts):
        folder = tmp_path / each["ID"]
        assert (folder / "stdout").read_text() == f"part {each['PartitionIndex']}\n"
        assert (folder / "outputs" / "file").read_text() == "x\n"
    assert len(list(tmp_path.iterdir())) == 2


def test_raw_results_are_the_archives(running: Stack, two_parts: str, tmp_path: Path) -> None:
    running.cli("job", "get", two_parts, "--raw", "--output-dir", str(tmp_path))
    names = {f"{two_parts}_{each['ID']}.tar.gz" for each in executions(running, two_parts)}
    assert {path.name for path in (tmp_path / "raw").iterdir()} == names
    with tarfile.open(tmp_path / "raw" / min(names)) as archive:
        assert "outputs/file" in [name.removeprefix("./") for name in archive.getnames()]


def test_nothing_is_downloaded_over_what_is_there(running: Stack, two_parts: str, tmp_path: Path) -> None:
    job_id = completed(running, process_job("echo new"))
    (tmp_path / "stdout").write_text("mine")
    done = running.cli("job", "get", job_id, "--output-dir", str(tmp_path), check=False)
    assert done.returncode == 1
    assert "Nothing was downloaded" in done.stderr
    assert "stdout" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["stdout"]
    assert (tmp_path / "stdout").read_text() == "mine"


def test_a_folder_that_is_named_must_exist(running: Stack, two_parts: str, tmp_path: Path) -> None:
    done = running.cli("job", "get", two_parts, "--output-dir", str(tmp_path / "none"), check=False)
    assert done.returncode == 2
    assert "mkdir -p" in done.stderr


def test_results_go_into_a_folder_named_as_the_job_was_typed(running: Stack) -> None:
    job_id = completed(running, process_job("true") | {"Name": "typed-name"})
    assert f"job '{job_id[:12]}' have been written to" in running.cli("job", "get", job_id[:12]).stdout
    assert (running.root / f"job-{job_id[:12]}" / "exitCode").read_text() == "0"
    running.cli("job", "get", "typed-name")
    assert (running.root / "job-typed-name" / "exitCode").exists()


def test_a_job_without_a_publisher_has_nothing_to_get_and_that_is_no_error(running: Stack) -> None:
    job = process_job("echo hello")
    del job["Tasks"][0]["Publisher"]
    done = running.cli("job", "get", completed(running, job))
    assert "No results found" in done.stderr
    assert "tarpon job logs" in done.stderr


def test_a_job_that_still_runs_has_no_results_yet(running: Stack, tmp_path: Path) -> None:
    job_id = running.submit(process_job("sleep 60"))
    running.wait_state(job_id, "Running")
    done = running.cli("job", "get", job_id, check=False)
    assert done.returncode == 1
    assert "has no results yet" in done.stderr
    assert not (running.root / f"job-{job_id}").exists()
    running.cli("job", "stop", job_id)
    running.wait_ended(job_id)
    done = running.cli("job", "get", job_id, check=False)
    assert "Stopped and has no results" in done.stderr


def test_a_job_that_fails_ends_the_command_with_1_and_its_reason(running: Stack, tmp_path: Path) -> None:
    job = process_job("true")
    job["Tasks"][0]["Engine"]["Params"]["Entrypoint"] = ["/no/such/program"]
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    done = running.cli("job", "run", str(path), check=False)
    assert done.returncode == 1
    assert "/no/such/program" in done.stderr.partition("Error:")[2]
    assert running.cli("job", "run", "--exit-zero", "--force", str(path)).returncode == 0


def test_run_and_get_in_one_go(running: Stack, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(process_job("echo in one go; exit 3")))
    done = running.cli("job", "run", "--get", "--id-only", str(path))
    job_id = done.stdout.splitlines()[0]
    assert "Exit code: 3." in done.stderr
    assert (running.root / f"job-{job_id}" / "stdout").read_text() == "in one go\n"
