"""Schedules as people have them: from a file, by commands, on real processes, also while leaders are killed."""

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

import tarpon
from shared.errors import IsSchedule
from tests.e2e.cluster import Cluster, Orchestrator
from tests.e2e.stack import Stack, process_job, wait_until
from tests.late_schedules import set_back
from tests.servers import HOST, S3Server, free_ports

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "examples" / "nightly.yaml"
MINUTE_SECONDS = 60.0


def test_the_example_of_a_schedule_is_submitted_run_now_and_stopped(running: Stack, tmp_path: Path) -> None:
    validated = running.cli("job", "validate", str(EXAMPLE))
    assert validated.stdout == "OK\n"
    assert validated.stderr.count("02:30+") == 3
    submitted = running.cli("job", "run", str(EXAMPLE))
    assert "to be run by its schedule. Job ID: j-" in submitted.stdout
    assert "tarpon job list -l tarpon.schedule=nightly" in submitted.stderr
    assert "job get" not in submitted.stderr
    run = running.cli("job", "schedule", "run-now", "nightly").stdout.strip()
    assert running.wait_ended(run)["Job"]["State"]["StateType"] == "Completed"
    running.cli("job", "get", run, "--output-dir", str(tmp_path / "result"))
    assert (tmp_path / "result" / "outputs" / "report").read_text().startswith("the report of 20")

    assert "tarpon job list -l tarpon.schedule=nightly" in running.cli("job", "get", "nightly", check=False).stderr
    assert "has no logs: its runs have" in running.cli("job", "logs", "--follow", "nightly", check=False).stderr
    watched = running.cli("job", "watch", "nightly", check=False).stderr
    assert "is a schedule, and has no end: its runs have. [IsSchedule]" in watched
    with tarpon.SyncClient(HOST, running.api_port) as client, pytest.raises(IsSchedule):
        client.wait("nightly")
    described = running.cli("job", "describe", "nightly").stdout
    assert "30 2 * * * (Europe/Berlin), within: 6h, keep: 30" in described
    assert "The next run is due at 20" in described
    assert "(asked for)" in described
    assert "nightly (j-" in running.cli("job", "describe", run).stdout
    assert "nightly" in running.cli("job", "list", "--schedules").stdout
    assert run[:10] in running.cli("job", "list", "-l", "tarpon.schedule=nightly").stdout
    assert run[:10] not in running.cli("job", "list", "--schedules").stdout

    assert "paused" in running.cli("job", "schedule", "pause", "nightly", "--reason", "holidays").stdout
    assert "Schedule paused: holidays" in running.cli("job", "history", "nightly").stdout
    assert "goes on" in running.cli("job", "schedule", "resume", "nightly").stdout
    running.cli("job", "stop", "nightly")
    refused = running.cli("job", "schedule", "run-now", "nightly", check=False)
    assert (refused.returncode, "[ScheduleStopped]" in refused.stderr) == (1, True)


@pytest.mark.parametrize("flag", ["--get", "--follow", "--exit-code"])
def test_what_needs_the_end_of_a_job_is_refused_for_a_schedule(running: Stack, flag: str) -> None:
    done = running.cli("job", "run", flag, str(EXAMPLE), check=False)
    assert done.returncode == 2
    assert f"{flag} needs the end of the job" in done.stderr


def test_a_file_with_a_schedule_and_another_job_is_watched_to_the_end_of_the_other(
    running: Stack, tmp_path: Path
) -> None:
    scheduled = process_job("true") | {"Name": "weekly", "Schedule": "@weekly"}
    path = tmp_path / "jobs.yaml"
    path.write_text(yaml.safe_dump(scheduled) + "---\n" + yaml.safe_dump(process_job("true") | {"Name": "once"}))
    done = running.cli("job", "run", str(path))
    assert "weekly: Job successfully submitted, to be run by its schedule" in done.stdout
    running.cli("job", "delete", "weekly", "--force")


def test_a_run_that_was_decided_and_not_begun_when_its_leader_was_killed_begins_once(
    s3_server: S3Server, tmp_path: Path
) -> None:
    stack = Stack(tmp_path, s3_server)
    try:
        stack.start_orchestrator()
        wanted = process_job("true") | {"Name": "hourly", "Schedule": "@hourly"}
        schedule = stack.submit(wanted)
        stack.stop()
        nobody = f"http://{HOST}:{free_ports(1)[0]}"
        killed = stack.start_orchestrator(publisher=stack.publisher_settings(Endpoint=nobody), ready=False)
        wait_until(lambda: answers(stack), within=30, what="it answers, without a bucket")
        asyncio.run(set_back(tmp_path / "orchestrator", stack.nats_url, schedule))
        wait_until(lambda: schedule_status(stack, schedule).get("Missed"), within=20, what="it is decided")
        assert "Runs" not in schedule_status(stack, schedule)
        killed.kill()
        stack.start_orchestrator()
        runs = wait_until(lambda: schedule_status(stack, schedule).get("Runs"), within=30, what="the run has begun")
        told = wait_until(lambda: schedule_status(stack, schedule).get("Begun"), within=20, what="it is told")
        assert (len(runs), told) == (1, 1)
        assert schedule_status(stack, schedule)["Missed"] == 2, "nothing is decided anew"
    finally:
        stack.stop()


def answers(stack: Stack) -> bool:
    with contextlib.suppress(OSError):  # it does not listen yet, or says that it still reads
        return bool(stack.api("/orchestrator/jobs"))
    return False


def schedule_status(stack: Stack, schedule: str) -> dict[str, Any]:
    status: dict[str, Any] = stack.describe(schedule)["Job"]["ScheduleStatus"]
    return status


@pytest.fixture
def cluster(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Cluster(tmp_path_factory.mktemp("cluster"), s3_server)
    try:
        made.start()
        yield made
        made.stop()
    finally:
        made.kill()


def runs_of(asked: Orchestrator, schedule: str) -> list[dict[str, Any]]:
    return [each for each in asked.api("/orchestrator/jobs")["Items"] if each.get("RunOf", {}).get("JobID") == schedule]


def test_a_run_that_is_due_while_its_leader_is_killed_begins_once(cluster: Cluster) -> None:
    leader = cluster.wait_leader()
    wanted = process_job("echo $TARPON_SCHEDULED_FOR") | {"Name": "often", "Schedule": "* * * * *"}
    schedule = leader.api("/orchestrator/jobs", {"Job": wanted}, "PUT")["JobID"]
    wait_until(lambda: time.time() % MINUTE_SECONDS > MINUTE_SECONDS - 1.5, within=70, what="a minute is nearly over")
    leader.kill()
    leader.is_away = True
    after = cluster.wait_leader()
    runs = wait_until(lambda: runs_of(after, schedule), within=30, what="the run has begun")
    wait_until(
        lambda: all(each["State"]["StateType"] == "Completed" for each in runs_of(after, schedule)),
        within=30,
        what="the run has completed",
    )
    described = after.api(f"/orchestrator/jobs/{schedule}")["Job"]
    due = [each["RunOf"]["Due"] for each in runs_of(after, schedule)]
    assert len(due) == len(set(due)) == described["ScheduleStatus"]["Begun"], json.dumps(described)
    assert "Missed" not in described["ScheduleStatus"]
    assert {each["ID"] for each in runs} <= {each["JobID"] for each in described["ScheduleStatus"]["Runs"]}
