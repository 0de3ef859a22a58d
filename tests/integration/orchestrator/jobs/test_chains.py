"""Chains of jobs: one begins when those that it needs have ended as they have to, and ends with them otherwise."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.protocol.messages import Assignment, ExecutionStarted, RunOutput, TaskEnded
from tests.integration.played_node import PlayedNode
from tests.integration.running import Running, running_orchestrator
from tests.servers import S3Server
from tests.waiting import answered

TASK = {
    "Name": "main",
    "Engine": {"Type": "process", "Params": {"Entrypoint": ["true"]}},
    "Publisher": {"Type": "noop"},
}
FAILING = TASK | {"FailOnExitCode": True}


def job(name: str, *needs: Any, **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "batch", "Tasks": [TASK], **({"Needs": list(needs)} if needs else {}), **more}


class Desk:
    """Who submits jobs, and what a node makes of them."""

    def __init__(self, running: Running, node: PlayedNode) -> None:
        self.running = running
        self.node = node

    async def submit_all(self, *jobs: dict[str, Any], **more: Any) -> Any:
        answer = await self.running.ask("/api/v1/orchestrator/submissions", "PUT", {"Jobs": list(jobs), **more})
        return answer.json

    async def submit(self, *jobs: dict[str, Any]) -> list[str]:
        found = await self.submit_all(*jobs)
        return [each["JobID"] for each in found["Jobs"]]

    async def begin(self) -> Assignment:
        assignment = await self.node.accept_assignment()
        await self.node.report(assignment.execution_id, ExecutionStarted())
        return assignment

    async def end(self, assignment: Assignment, code: int = 0) -> None:
        await self.node.report(assignment.execution_id, TaskEnded(output=RunOutput(exit_code=code), run_seconds=0.1))

    async def run(self, name: str, code: int = 0) -> None:
        """The next thing that the node gets, which has to be of this job."""
        assignment = await self.begin()
        assert assignment.job_id == (await self.running.api(f"/jobs/{name}"))["Job"]["ID"]
        await self.end(assignment, code)

    async def state(self, name: str, state: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.running.wait_state(name, state))["Job"]
        return found

    async def told(self, name: str, text: str) -> dict[str, Any]:
        async def ask() -> dict[str, Any]:
            found: dict[str, Any] = (await self.running.api(f"/jobs/{name}"))["Job"]
            return found

        return await answered(ask, lambda found: text in found["State"]["Message"], what=f"{name} tells {text}")


@pytest.fixture
async def desk(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    async with desk_at(tmp_path, s3_server, monkeypatch) as made:
        yield made


@asynccontextmanager
async def desk_at(
    folder: Path, s3_server: S3Server, patch: pytest.MonkeyPatch, *, seed: str = "", sets: tuple[str, ...] = ()
) -> AsyncIterator[Desk]:
    async with (
        running_orchestrator(folder, s3_server, patch, publisher=False, sets=sets) as running,
        running.node("n-1", seed=seed) as node,
    ):
        await node.register()
        yield Desk(running, node)


async def test_a_job_waits_until_all_parts_of_what_it_needs_have_ended_with_exit_code_0(desk: Desk) -> None:
    await desk.submit(job("prepare"), job("train", "prepare", Count=2), job("collect", "train"))
    found = await desk.told("train", "It waits for prepare.")
    assert found["State"]["StateType"] == "Queued"
    assert found["Needs"] == [{"Job": "prepare"}]
    assert (await desk.running.api("/jobs/collect/waits"))["Summary"] == "it waits for no node: It waits for train."
    await desk.run("prepare")
    first, second = await desk.begin(), await desk.begin()
    await desk.end(first)
    assert (await desk.state("collect", "Queued"))["State"]["Message"] == "It waits for train."
    await desk.end(second)
    await desk.run("collect")
    await desk.state("collect", "Completed")


async def test_who_describes_a_job_sees_what_it_needs_and_what_needs_it(desk: Desk) -> None:
    prepare, train, _ = await desk.submit(
        job("prepare"), job("train", {"Job": "prepare", "On": "completed"}), job("collect", "train")
    )
    chain = (await desk.told("train", "It waits"))["Chain"]
    assert chain["Needs"] == [
        {"JobID": prepare, "Name": "prepare", "State": "Running", "JobVersion": 1, "AnyCode": True}
    ] or chain["Needs"][0]["State"] in {"Pending", "Queued"}
    assert [each["Name"] for each in chain["NeededBy"]] == ["collect"]
    assert chain["NeededByTotal"] == 1
    listed = {each["Name"]: each for each in (await desk.running.api("/jobs"))["Items"]}
    assert listed["collect"]["Chain"]["Needs"][0]["JobID"] == train


async def test_a_job_fails_at_once_with_the_one_that_it_needs_and_so_does_what_needs_it(desk: Desk) -> None:
    await desk.submit(job("prepare", Tasks=[FAILING]), job("train", "prepare"), job("collect", "train"))
    await desk.run("prepare", code=3)
    found = await desk.state("train", "Failed")
    assert found["State"]["Message"].startswith("Job prepare, which this one needs, has failed: ")
    assert "exit code 3" in found["State"]["Message"]
    found = await desk.state("collect", "Failed")
    assert found["State"]["Message"].startswith("Job train, which this one needs, has failed: ")


async def test_an_exit_code_other_than_0_fails_what_needs_the_job_unless_it_says_that_any_will_do(desk: Desk) -> None:
    await desk.submit(job("prepare"), job("train", "prepare"), job("clear", {"Job": "prepare", "On": "completed"}))
    await desk.run("prepare", code=3)
    found = await desk.state("train", "Failed")
    told = "Job prepare, which this one needs, ended with exit code 3. `On: completed` would take any."
    assert found["State"]["Message"] == told
    await desk.run("clear")
    await desk.state("clear", "Completed")


async def test_stopping_a_job_stops_what_waits_for_it(desk: Desk) -> None:
    await desk.submit(job("prepare"), job("train", "prepare"), job("collect", "train"))
    await desk.begin()
    await desk.running.api("/jobs/prepare", {"Reason": "enough"}, "DELETE")
    found = await desk.state("train", "Stopped")
    assert found["State"]["Message"] == "Job stopped: job prepare, which this one needs, was stopped"
    await desk.state("collect", "Stopped")


async def test_a_chain_waits_on_when_its_orchestrator_was_replaced(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk_at(tmp_path, s3_server, monkeypatch) as desk:
        await desk.submit(job("prepare"), job("train", "prepare"))
        held = await desk.begin()
        await desk.state("prepare", "Running")  # else what replaces this one may hand it out again
        seed = desk.node.seed
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False) as running,
        running.node("n-1", seed=seed) as node,
    ):
        desk = Desk(running, node)
        await node.register(held=(held.execution_id,))
        assert (await desk.state("train", "Queued"))["State"]["Message"] == "It waits for prepare."
        await desk.end(held)
        await desk.run("train")
        await desk.state("train", "Completed")


async def test_the_queue_time_out_begins_when_what_is_needed_has_ended(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk_at(tmp_path, s3_server, monkeypatch) as desk:
        limits = {"Timeouts": {"QueueTimeout": 1, "TotalTimeout": 60}}
        nowhere = {"Constraints": [{"Key": "nowhere", "Operator": "exists"}]}
        await desk.submit(job("prepare"), job("train", "prepare", Tasks=[TASK | limits]))
        held = await desk.begin()
        alone = await desk.running.submit(Name="alone", Tasks=[TASK | limits], **nowhere)
        await desk.state(alone, "Failed")  # in the time in which the other one would have failed, too
        assert (await desk.state("train", "Queued"))["State"]["Message"] == "It waits for prepare."
        await desk.end(held)
        await desk.run("train")
        await desk.state("train", "Completed")


async def test_a_job_is_not_deleted_while_one_that_goes_on_needs_it(desk: Desk) -> None:
    await desk.submit(job("prepare"), job("train", "prepare"))
    await desk.run("prepare")
    held = await desk.begin()
    refused = await desk.running.api("/jobs/prepare/record?force=true", method="DELETE")
    assert refused["Code"] == "JobNeeded"
    assert refused["Message"] == "Job prepare cannot be deleted: job train, which has not ended, needs it."
    await desk.end(held)
    await desk.state("train", "Completed")
    assert (await desk.running.api("/jobs/prepare/record", method="DELETE"))["Deleted"]


async def test_a_running_job_that_is_deleted_by_force_takes_with_it_what_waits_for_it(desk: Desk) -> None:
    await desk.submit(job("prepare"), job("train", "prepare"))
    await desk.begin()
    deleting = await desk.running.api("/jobs/prepare/record?force=true", method="DELETE")
    assert deleting["Deleted"], deleting
    await desk.state("train", "Stopped")
    assert (await desk.running.api("/jobs/train"))["Job"]["Chain"]["Needs"][0].get("State", "") == ""


async def test_what_waits_for_a_version_fails_when_another_takes_its_place_and_a_rerun_waits_for_the_new_one(
    desk: Desk,
) -> None:
    await desk.submit(job("prepare"), job("train", "prepare"))
    await desk.begin()
    await desk.state("prepare", "Running")
    await desk.running.api("/jobs/prepare/rerun", {}, "PUT")
    found = await desk.state("train", "Failed")
    told = "Version 1 of prepare, which this one needs, had not ended when version 2 took its place."
    assert found["State"]["Message"] == told
    await desk.running.api("/jobs/train/rerun", {}, "PUT")
    found = await desk.state("train", "Queued")
    assert found["Chain"]["Needs"][0]["JobVersion"] == 2


async def test_a_job_that_needs_one_that_has_ended_well_begins_at_once(desk: Desk) -> None:
    await desk.submit(job("prepare"))
    await desk.run("prepare")
    await desk.state("prepare", "Completed")
    await desk.submit(job("train", "prepare"))
    await desk.run("train")
    await desk.state("train", "Completed")


async def test_a_job_that_needs_one_that_has_failed_is_refused(desk: Desk) -> None:
    await desk.submit(job("prepare", Tasks=[FAILING]))
    await desk.run("prepare", code=3)
    await desk.state("prepare", "Failed")
    refused = await desk.running.api("/jobs", {"Job": job("train", "prepare")}, "PUT")
    assert refused["Code"] == "NeedNeverMet"
    assert "Job prepare, which this one needs, has failed: " in refused["Message"]
    assert (await desk.submit_all(job("train", "prepare")))["Code"] == "NeedNeverMet"
    assert (await desk.running.ask("/api/v1/orchestrator/jobs/train")).status == 404
