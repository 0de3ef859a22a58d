"""What a task writes is shown whole, each line once, while it runs: to its end, and over connections that break."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import NoResults
from tarpon.client import Client
from tarpon.results.rest_of_output import OutputNotKept
from tests.e2e.following import cutting_relay, follow_many, wrong
from tests.e2e.stack import Stack, process_job, wait_until
from tests.servers import HOST

RUNS = 5
LINES = 3000
MANY = f"i=0; while [ $i -lt {LINES} ]; do echo line $i ä; i=$((i+1)); done"
ALL_LINES = "".join(f"line {number} ä\n" for number in range(LINES))


@pytest.mark.parametrize("is_cut", [False, True], ids=["directly", "over connections that are cut"])
async def test_the_first_and_the_last_line_of_a_task_are_shown_once(
    running: Stack, tmp_path: Path, *, is_cut: bool
) -> None:
    shown = await follow_many(running.api_port, runs=RUNS, at_once=RUNS, is_cut=is_cut, gates=tmp_path)
    assert not wrong(shown)


async def followed(port: int, job: str) -> str:
    async with Client(HOST, port) as client:
        return "".join([line.line async for line in client.logs(job, follow=True)])


@pytest.mark.parametrize("publisher", ["s3managed", ""])
@pytest.mark.parametrize("is_cut", [False, True], ids=["directly", "over connections that are cut"])
async def test_a_program_follows_a_task_right_after_its_submit_to_its_last_line(
    running: Stack, publisher: str, *, is_cut: bool
) -> None:
    job = running.submit(process_job(f"{MANY}; sleep 0.5; {MANY}", Publisher={"Type": publisher}))
    async with cutting_relay(running.api_port) as relay:
        assert await followed(relay if is_cut else running.api_port, job) == ALL_LINES * 2


async def test_what_the_record_does_not_have_comes_from_the_result_of_a_task_that_has_ended(running: Stack) -> None:
    job = running.submit(process_job(MANY))
    running.wait_ended(job)
    assert await followed(running.api_port, job) == ALL_LINES


async def test_an_end_that_nobody_has_any_more_is_an_error(running: Stack) -> None:
    job = running.submit(process_job(MANY, Publisher={"Type": ""}))
    (execution,) = running.wait_ended(job)["Executions"]["Items"]
    folder = running.root / execution["NodeID"] / "compute" / "executions" / execution["ID"]
    wait_until(lambda: not folder.exists(), within=20, what="its node has forgotten it")
    async with Client(HOST, running.api_port) as client:
        with pytest.raises(OutputNotKept, match="it published no result"):
            _ = [line async for line in client.logs(job, follow=True)]
    done = running.cli("job", "logs", "-f", job, check=False)
    assert ALL_LINES.startswith(done.stdout.removesuffix("\n")[:100])
    assert "Only the beginning was kept" in done.stderr


async def test_a_job_that_ends_before_a_task_has_begun_has_nothing_to_follow(running: Stack) -> None:
    job = running.submit(process_job("true") | {"Constraints": [{"Key": "gpu", "Operator": "exists"}]})
    async with Client(HOST, running.api_port) as client:
        with pytest.raises(NoResults, match="No task of job"):
            _ = [line async for line in client.logs(job, follow=True)]


async def test_a_task_of_an_earlier_version_is_shown_while_the_newest_one_runs(running: Stack, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    job = running.submit(process_job(MANY) | {"Name": "followed"})
    earlier = running.wait_ended(job)["Executions"]["Items"][0]["ID"]
    running.submit(process_job(f"while [ ! -e {go_on} ]; do sleep 0.05; done") | {"Name": "followed"})
    running.wait_state(job, "Running")
    done = running.cli("job", "logs", "-f", "-e", earlier, job)
    assert (done.stdout, done.stderr) == (ALL_LINES, "")
    async with Client(HOST, running.api_port) as client:
        lines = [line.line async for line in client.logs(job, execution_id=earlier, follow=True)]
    assert "".join(lines) == ALL_LINES
    go_on.touch()


def test_a_command_goes_on_with_the_next_byte_when_the_orchestrator_was_killed(running: Stack, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    job = running.submit(process_job(f"echo first; while [ ! -e {go_on} ]; do sleep 0.05; done; echo last"))
    running.wait_state(job, "Running")
    output = tmp_path / "output"
    command = [sys.executable, "-m", "tarpon", "job", "logs", "-f", job, "--api-port", str(running.api_port)]
    with output.open("wb") as file, subprocess.Popen(command, env=os.environ, stdout=file) as follower:
        wait_until(lambda: output.read_text() == "first\n", within=30, what="the first line is shown")
        assert running.orchestrator is not None
        running.orchestrator.process.send_signal(signal.SIGKILL)
        running.orchestrator.process.wait()
        running.start_orchestrator()
        go_on.touch()
        assert follower.wait(60) == 0
    assert output.read_text() == "first\nlast\n"
