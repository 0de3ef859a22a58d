"""A run from start to end on the command line: its output as it comes, its exit code, one document for programs."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.stack import Stack, process_job, wait_until
from tests.servers import HOST


def written(folder: Path, job: dict[str, Any]) -> str:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    return str(path)


@contextmanager
def started(stack: Stack, *arguments: str, out: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """`tarpon ARGUMENTS` as a process, with pipes for its stdout and stderr unless `out` is for both."""
    command = [sys.executable, "-m", "tarpon", *arguments]
    environment = {"TARPON_API_HOST": HOST, "TARPON_API_PORT": str(stack.api_port), "PYTHONUNBUFFERED": "1"}
    stream = subprocess.PIPE if out is None else out
    with subprocess.Popen(command, env=environment, stdout=stream, stderr=stream) as process:
        try:
            yield process
        finally:
            process.kill()


def gated(first: str, gate: Path, rest: str) -> dict[str, Any]:
    return process_job(f"{first}; while [ ! -e {gate} ]; do sleep 0.05; done; {rest}")


@pytest.mark.parametrize("publisher", ["s3managed", ""])
def test_what_a_task_writes_is_shown_while_it_runs_and_to_its_end(
    running: Stack, tmp_path: Path, publisher: str
) -> None:
    job = gated("echo first; echo aside >&2", tmp_path / "gate", "echo last; echo aside too >&2")
    job["Tasks"][0]["Publisher"]["Type"] = publisher
    with started(running, "job", "run", "--follow", written(tmp_path, job)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        (tmp_path / "gate").touch()
        rest, told = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, b"last\n")
    lines = told.decode().splitlines()
    assert [each for each in lines if each.startswith("aside")] == ["aside", "aside too"]
    assert "Exit code: 0." in told.decode()


def test_each_line_of_several_parts_is_shown_once_with_the_name_of_its_part(running: Stack, tmp_path: Path) -> None:
    script = "for i in 1 2 3; do echo $i; done; printf end; echo aside >&2"
    done = running.cli("job", "run", "-f", written(tmp_path, process_job(script) | {"Count": 12}))
    expected = [f"{part:04} | {line}" for part in range(12) for line in ("1", "2", "3", "end")]
    assert Counter(done.stdout.splitlines()) == Counter(expected)
    for part in range(12):
        assert [line for line in done.stdout.splitlines() if line.startswith(f"{part:04} ")] == expected[
            4 * part : 4 * part + 4
        ]
        assert f"{part:04} | aside" in done.stderr.splitlines()


def test_ctrl_c_ends_the_following_and_says_how_to_stop_the_job(running: Stack, tmp_path: Path) -> None:
    job = process_job("echo first; sleep 60")
    with started(running, "job", "run", "--follow", written(tmp_path, job)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    told = errors.decode()
    assert process.returncode == 130
    job_id = next(line.rpartition(" ")[2] for line in told.splitlines() if line.startswith("Job successfully"))
    assert f"job {job_id} goes on" in told
    assert f"tarpon job stop {job_id}" in told
    assert "Traceback" not in told
    assert running.state(job_id) == "Running"
    running.cli("job", "stop", job_id)


@pytest.mark.timeout(150)
def test_the_output_goes_on_with_the_next_byte_when_the_orchestrator_was_killed(stack: Stack, tmp_path: Path) -> None:
    stack.start_orchestrator()
    stack.start_compute("node-a")
    job = gated("echo first", tmp_path / "gate", "echo last")
    with started(stack, "job", "run", "--follow", written(tmp_path, job)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        assert stack.orchestrator is not None
        stack.orchestrator.kill()
        stack.start_orchestrator()
        (tmp_path / "gate").touch()
        rest, told = process.communicate(timeout=90)
    assert (process.returncode, rest) == (0, b"last\n"), told.decode()


def test_what_a_task_wrote_before_it_failed_is_shown(running: Stack, tmp_path: Path) -> None:
    job = process_job("echo before the end; sleep 60", Timeouts={"ExecutionTimeout": 1})
    done = running.cli("job", "run", "--follow", written(tmp_path, job), check=False)
    assert (done.returncode, done.stdout) == (1, "before the end\n")
    assert "[JobFailed]" in done.stderr


def test_nothing_is_drawn_into_a_line_of_a_task_on_a_terminal(running: Stack, tmp_path: Path) -> None:
    job = gated("printf 'how far? '", tmp_path / "gate", "echo far")
    ours, theirs = pty.openpty()
    seen = bytearray()

    def has(text: bytes) -> bool:
        seen.extend(os.read(ours, 1 << 16))
        return text in seen

    with started(running, "job", "run", "--follow", written(tmp_path, job), out=theirs) as process:
        wait_until(lambda: has(b"how far? "), within=40, what="the beginning of the line")
        running.wait_state(job_id := seen.partition(b"Job ID: ")[2].split()[0].decode(), "Running")
        (tmp_path / "gate").touch()
        running.wait_ended(job_id)
        wait_until(lambda: has(b"completed in"), within=40, what="the end")
        assert process.wait(30) == 0
    os.close(ours)
    os.close(theirs)
    assert b"how far? far\r\n" in seen


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -SEGV $$", 139)])
def test_the_exit_code_of_a_task_is_passed_on(running: Stack, script: str, code: int) -> None:
    done = running.cli("exec", "--exit-code", "--", "sh", "-c", script, check=False)
    assert done.returncode == code
    assert running.cli("exec", "--", "sh", "-c", script).returncode == 0


def test_the_exit_code_of_several_parts_is_the_highest(running: Stack) -> None:
    script = "exit $((3 * TARPON_PARTITION_INDEX))"
    done = running.cli("exec", "--count", "3", "--exit-code", "--", "sh", "-c", script, check=False)
    assert done.returncode == 6


def test_a_job_that_fails_by_its_exit_code_passes_that_on(running: Stack, tmp_path: Path) -> None:
    job = process_job("exit 9") | {"Count": 2}
    job["Tasks"][0]["FailOnExitCode"] = True
    done = running.cli("job", "run", "--exit-code", "--output", "json", written(tmp_path, job), check=False)
    assert done.returncode == 9
    assert "[JobFailed]" in done.stderr
    document = json.loads(done.stdout)
    assert document["Job"]["State"]["StateType"] == "Failed"
    assert document["Results"], "what failed so is published; the first that fails may have the other one stopped"
    assert running.cli("job", "run", written(tmp_path, job), check=False).returncode == 1


def test_a_job_that_fails_without_a_code_of_its_task_ends_the_command_with_1(running: Stack, tmp_path: Path) -> None:
    job = process_job("sleep 60", Timeouts={"ExecutionTimeout": 1})
    assert running.cli("job", "run", "--exit-code", written(tmp_path, job), check=False).returncode == 1


@pytest.mark.parametrize("options", [("--exit-zero",), ("--no-wait",)])
def test_an_exit_code_that_cannot_be_is_wrong_usage(running: Stack, options: tuple[str, ...]) -> None:
    assert running.cli("exec", "--exit-code", *options, "--", "true", check=False).returncode == 2


def test_programs_get_the_job_its_executions_and_its_results_in_one_document(running: Stack, tmp_path: Path) -> None:
    job = process_job("echo written; exit 3") | {"Count": 2, "Name": "for-programs"}
    done = running.cli("job", "run", "--output", "json", "--follow", written(tmp_path, job))
    document = json.loads(done.stdout)
    assert document["Job"]["ID"] == document["JobID"]
    assert (document["Job"]["State"]["StateType"], document["JobVersion"]) == ("Completed", 1)
    assert [each["RunOutput"]["ExitCode"] for each in document["Executions"]] == [3, 3]
    assert [each["PartitionIndex"] for each in document["Results"]] == [0, 1]
    assert {each["Bucket"] for each in document["Results"]} == {running.bucket}
    assert "X-Amz" not in done.stdout
    assert "0001 | written" in done.stderr, "what it follows is not of the document"


def test_what_is_submitted_again_tells_its_version_with_its_id(running: Stack, tmp_path: Path) -> None:
    job = written(tmp_path, process_job("true") | {"Name": "again"})
    first = running.cli("job", "run", job).stdout
    assert first.startswith("Job successfully submitted. Job ID: j-")
    job_id = first.split()[-1]
    again = running.cli("job", "run", "--force", "--no-wait", job)
    assert again.stdout.splitlines()[0] == f"Job successfully submitted as version 2. Job ID: {job_id}"
    assert f"tarpon job get {job_id}" in again.stderr


def test_output_that_is_not_kept_is_told_where_it_is_not_shown(running: Stack, tmp_path: Path) -> None:
    job = process_job("seq 1000")
    del job["Tasks"][0]["Publisher"]
    lost = "Warning: Only the beginning is kept of what was written, because the job has no publisher."
    assert lost in running.cli("job", "run", written(tmp_path, job)).stderr
    assert lost not in running.cli("job", "run", "--follow", written(tmp_path, job)).stderr
    advice = running.cli("job", "run", "--no-wait", written(tmp_path, job)).stderr
    assert ("tarpon job logs" in advice, "tarpon job get" in advice) == (True, False)


def test_programs_are_told_what_was_fetched(running: Stack, tmp_path: Path) -> None:
    job = written(tmp_path, process_job("echo x > outputs/x", ResultPaths=[{"Name": "outputs", "Path": "/outputs"}]))
    document = json.loads(running.cli("job", "run", "--output", "json", "--get", job).stdout)
    assert Path(document["Fetched"]["Folder"], "outputs", "x").read_text() == "x\n"


def test_programs_get_their_document_of_a_job_that_failed(running: Stack, tmp_path: Path) -> None:
    job = process_job("sleep 60", Timeouts={"ExecutionTimeout": 1})
    done = running.cli("job", "run", "--output", "yaml", written(tmp_path, job), check=False)
    document = yaml.safe_load(done.stdout)
    assert (done.returncode, document["Job"]["State"]["StateType"], document["Results"]) == (1, "Failed", [])


def test_programs_get_their_document_also_where_the_results_cannot_be_fetched(running: Stack) -> None:
    job = running.submit(process_job("true"))
    running.wait_ended(job)
    done = running.cli("job", "rerun", job, "--output", "json", "--get", "--output-dir", "/proc/no/folder", check=False)
    assert done.returncode == 1
    assert "Name a folder with --output-dir where you may write." in done.stderr
    assert json.loads(done.stdout)["JobVersion"] == 2


def test_results_in_the_way_are_found_before_the_submit(running: Stack, tmp_path: Path) -> None:
    job = written(tmp_path, process_job("true") | {"Name": "twice-got"})
    into = ("--get", "--output-dir", str(tmp_path / "here"))
    running.cli("job", "run", "--get", job)
    running.cli("job", "rerun", "twice-got", *into)
    assert (tmp_path / "here" / "stdout").is_file()
    for command in ["run", "--force", job], ["rerun", "twice-got"]:
        for taken in ("--get",), into:
            done = running.cli("job", *command, *taken, check=False)
            assert "[ResultsInTheWay]" in done.stderr
    assert len(json.loads(running.cli("job", "versions", "twice-got", "--output", "json").stdout)) == 2


def test_programs_that_do_not_wait_get_the_job_as_it_is(running: Stack, tmp_path: Path) -> None:
    job = written(tmp_path, process_job("true"))
    waiting = json.loads(running.cli("job", "run", "--output", "json", "--wait=false", job).stdout)
    assert waiting["Job"]["ID"] == waiting["JobID"]
    known = json.loads(running.cli("job", "run", "--output", "json", "--id-only", job).stdout)
    assert known == {"JobID": known["JobID"], "JobVersion": 1}


def test_a_command_without_a_job_file_tells_programs_of_its_run_too(running: Stack) -> None:
    script = "echo x > outputs/x"
    flags = ("-p", "s3managed", "-o", "outputs:/outputs", "--output", "json")
    document = json.loads(running.cli("exec", *flags, "--", "sh", "-c", script).stdout)
    assert [each["Name"] for each in document["Job"]["Tasks"][0]["ResultPaths"]] == ["outputs"]
    assert len(document["Results"]) == 1
    dry = json.loads(running.cli("exec", "--dry-run", "-o", "json", "--", "true").stdout)
    assert dry["Tasks"][0]["Engine"]["Params"]["Entrypoint"] == ["true"]
