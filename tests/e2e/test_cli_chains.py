"""Chains of jobs from one file with one command: submitted together, watched to their ends, told one by one."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.stack import Stack, process_job

ROOT = Path(__file__).resolve().parents[2]


def job(name: str, script: str, *needs: Any, publisher: str = "", **more: Any) -> dict[str, Any]:
    made = process_job(script) | {"Name": name, **more}
    made["Tasks"][0]["Publisher"]["Type"] = publisher
    return made | ({"Needs": list(needs)} if needs else {})


def written(folder: Path, *jobs: dict[str, Any]) -> str:
    path = folder / "chain.yaml"
    path.write_text("---\n".join(map(yaml.safe_dump, jobs)))
    return str(path)


def run(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return stack.cli("job", "run", *arguments, check=False)


def test_a_file_of_several_jobs_is_run_with_one_command_and_all_of_them_are_followed(
    running: Stack, tmp_path: Path
) -> None:
    file = written(
        tmp_path,
        job("collect-a", "echo all", "train-a"),
        job("train-a", "echo part $TARPON_PARTITION_INDEX", "prepare-a", Count=2),
        job("prepare-a", "echo ready"),
    )
    done = run(running, "--follow", file)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "prepare-a | ready"
    assert sorted(lines[1:3]) == ["train-a 0000 | part 0", "train-a 0001 | part 1"]
    assert lines[3:] == ["collect-a | all"]
    assert "collect-a: Queued: It waits for train-a." in done.stderr
    assert "train-a: Job " in done.stderr
    assert "Exit code of both tasks: 0." in done.stderr


def test_a_chain_that_fails_tells_which_job_is_to_blame_and_ends_with_1(running: Stack, tmp_path: Path) -> None:
    file = written(tmp_path, job("prepare-b", "exit 3"), job("train-b", "true", "prepare-b"))
    done = run(running, file)
    assert done.returncode == 1
    assert "Job prepare-b, which this one needs, ended with exit code 3." in done.stderr
    assert "train-b: Failed: Job prepare-b" in done.stderr
    described = running.cli("job", "describe", "train-b").stdout
    assert "Needs" in described
    assert "prepare-b (j-" in described
    assert "Needed by" in running.cli("job", "describe", "prepare-b").stdout


def test_programs_get_one_document_about_all_jobs(running: Stack, tmp_path: Path) -> None:
    path = tmp_path / "jobs.json"
    jobs = [job("prepare-c", "true"), job("train-c", "true", {"Job": "prepare-c", "On": "completed"})]
    path.write_text(json.dumps({"Jobs": jobs}))
    done = run(running, "--output", "json", str(path))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["Jobs"]
    assert [each["Job"]["Name"] for each in told] == ["prepare-c", "train-c"]
    assert [each["Job"]["State"]["StateType"] for each in told] == ["Completed", "Completed"]
    only = run(running, "--id-only", "--force", str(path))
    assert only.stdout.split() == [each["JobID"] for each in told]


def test_what_is_wrong_in_a_file_of_several_jobs_is_told_with_the_job_and_none_is_submitted(
    running: Stack, tmp_path: Path
) -> None:
    file = written(
        tmp_path, job("good-d", "true"), job("bad-d", "true", "good-d", Count=0), job("worse-d", "true", 7, Conut=2)
    )
    for command in ("run", "validate"):
        done = running.cli("job", command, file, check=False)
        assert done.returncode == 2
        assert "job 2 (bad-d): Count is 0; it must be between 1 and 10,000." in done.stderr
        assert "job 3 (worse-d): Conut is not known; did you mean Count?" in done.stderr
    assert running.cli("job", "describe", "good-d", check=False).returncode == 1


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_what_a_dry_run_prints_of_several_jobs_is_a_file_of_the_same(running: Stack, tmp_path: Path, form: str) -> None:
    file = written(tmp_path, job("prepare-e", "true"), job("train-e", "true", "prepare-e"))
    printed = running.cli("job", "run", "--dry-run", *(["--output", form] if form == "json" else []), file).stdout
    again = tmp_path / "again.yaml"
    again.write_text(printed)
    assert running.cli("job", "validate", str(again)).stdout == "OK\n"
    assert running.cli("job", "describe", "prepare-e", check=False).returncode == 1


def test_the_chain_of_the_tutorial_comes_to_its_result_by_its_own_commands(running: Stack, tmp_path: Path) -> None:
    lines = (ROOT / "docs" / "tutorial.md").read_text().partition("```console\n")[2].partition("```")[0].splitlines()
    typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    shown = running.shell("\n".join(typed), cwd=tmp_path)
    assert shown.splitlines()[-1] == lines[-1] == "4656"
    train = json.loads(running.cli("job", "describe", "train", "--output", "json").stdout)
    assert train["Job"]["Count"] == 8
    assert [each["Name"] for each in train["Job"]["Chain"]["NeededBy"]] == ["collect"]
