"""Jobs that are forgotten, by a whole orchestrator over real NATS and S3: on demand, by age, by number."""

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from orchestrator.jobs.removal.retention import marked
from orchestrator.state.model import Model
from orchestrator.storage.store import Store
from shared.ids import ExecutionId, JobId
from shared.messaging.transport import connect
from shared.protocol import subjects
from shared.protocol.messages import ExecutionStarted, OutputPublished, RunOutput, TaskEnded
from shared.protocol.objects import is_record_key
from shared.runtime.aio import background
from tests.faulty_s3 import LOCKED, Fault, FaultyS3, Kind, Seen
from tests.integration.played_node import PlayedNode
from tests.integration.running import Answer, Running, running_orchestrator
from tests.servers import S3Server
from tests.waiting import answered, eventually

BODY = b"not an archive, but the orchestrator looks at size and digest alone"
JOBS = "/api/v1/orchestrator/jobs"
NOOP = {"Name": "main", "Engine": {"Type": "noop"}, "Timeouts": {"QueueTimeout": 3600}}
"""Waits for a node."""


@asynccontextmanager
async def another(running: Running) -> AsyncIterator[Store]:
    """What another orchestrator knows."""
    seed = (running.config.data_dir / "orchestrator" / "secrets" / "orchestrator.nkey").read_text().strip()
    async with connect([running.server], name="another", nkey_seed=seed) as connection:
        store = Store(connection, Model(max_attempts=5))
        async with background(state=store.keep_model()):
            await store.ready.wait()
            yield store


@asynccontextmanager
async def with_settings(
    folder: Path, s3_server: S3Server, patch: pytest.MonkeyPatch, **sets: str
) -> AsyncIterator[Running]:
    named = tuple(f"{name.replace('__', '.')}={value}" for name, value in sets.items())
    async with running_orchestrator(folder, s3_server, patch, sets=named) as running:
        yield running


async def stopped_job(running: Running, **job: Any) -> str:
    name = await running.submit(Tasks=[NOOP], **job)
    await running.api(f"/jobs/{name}", method="DELETE")
    await running.wait_state(name, "Stopped")
    return name


async def published_job(running: Running, node: PlayedNode) -> str:
    """A job that has completed, with an archive and an index in the bucket."""
    job = await running.submit()
    assignment = await node.accept_assignment()
    assert assignment.archive is not None
    assert await running.put(assignment.archive, BODY) == 200
    md5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    sha256 = hashlib.sha256(BODY).hexdigest()
    published = OutputPublished(size_bytes=len(BODY), md5=md5, sha256=sha256, entries=1, raw_bytes=1)
    ended = TaskEnded(output=RunOutput(), run_seconds=0.1)
    await node.report(ExecutionId(assignment.execution_id), ExecutionStarted(), ended, published)
    await running.wait_state(job, "Completed")
    return job


def objects(running: Running, s3_server: S3Server, job: str) -> list[str]:
    """Without records, which come when there is time (tests/integration/orchestrator/backups)."""
    bucket = running.config.publishers.types.s3managed.bucket
    listed = s3_server.client().list_objects_v2(Bucket=bucket, Prefix=f"results/{job}/")
    return [each["Key"] for each in listed.get("Contents", []) if not is_record_key(each["Key"], "results/")]


def add_index(running: Running, s3_server: S3Server, job: str) -> None:
    (archive,) = objects(running, s3_server, job)
    bucket = running.config.publishers.types.s3managed.bucket
    key = archive.replace(".tar.gz", ".index.json.gz")
    s3_server.client().put_object(Bucket=bucket, Key=key, Body=b"index")


def allow_deletion(running: Running, s3_server: S3Server, *, but: str = "") -> None:
    """Also of objects whose key has `but` after the prefix, which is denied."""
    client, bucket = s3_server.client(), running.config.publishers.types.s3managed.bucket
    policy = json.loads(client.get_bucket_policy(Bucket=bucket)["Policy"])
    statements: list[dict[str, Any]] = [each for each in policy["Statement"] if "DeleteObject" not in str(each)]
    allowed = next(each for each in statements if each["Effect"] == "Allow")
    statements.append(allowed | {"Action": ["s3:DeleteObject"]})
    if but:
        resource = [f"arn:aws:s3:::{bucket}/results/{but}/*"]
        statements.append(allowed | {"Effect": "Deny", "Action": ["s3:DeleteObject"], "Resource": resource})
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy | {"Statement": statements}))


async def until_allowed(running: Running, job: str, refusal: str = "DeletionRefused") -> Answer:
    """The answer to a deletion with the results, once S3 knows the new policy."""
    return await until(running, f"{JOBS}/{job}/record?results=true", "DELETE", lambda code: code != refusal)


async def until(running: Running, path: str, method: str, is_so: Callable[[str], bool]) -> Answer:
    """The first answer whose code is as it should be."""
    return await answered(
        lambda: running.ask(path, method), lambda answer: is_so(answer.json.get("Code", "")), within=15
    )


class LockingS3(FaultyS3):
    """Before a real one; results of the job `locked` it does not delete, as servers say it that have no versions."""

    locked = ""
    refused = 0

    def _next_fault(self, seen: Seen) -> Fault:
        if self.locked and f"/{self.locked}/" in seen.url and seen.kind is Kind.OTHER:
            self.refused += 1
            return LOCKED
        return super()._next_fault(seen)


class TestDeletedJobs:
    async def test_nothing_is_left_of_one_and_no_orchestrator_knows_it(self, running: Running) -> None:
        job = await stopped_job(running, Name="daily")
        async with another(running) as store:
            assert JobId(job) in store.model.jobs
            answer = await running.ask(f"{JOBS}/{job}/record", "DELETE")
            assert (answer.status, answer.json) == (200, {"JobID": job, "Deleted": True})
            await eventually(lambda: not store.model._entries)
            assert (len(store.model.jobs), len(store.model.names), store.model.backlog.job_states.total()) == (0, 0, 0)
            assert not [key for key in store.model._revisions if job in key or key.startswith("name.")]
        async with another(running) as later:
            assert not later.model._entries
        gone = await running.ask(f"{JOBS}/{job}")
        assert (gone.status, gone.json["Code"]) == (404, "NotFound")
        assert "JobRetention" in gone.json["Hint"]

    async def test_its_name_is_free_at_once(self, running: Running) -> None:
        first = await stopped_job(running, Name="daily")
        await running.ask(f"{JOBS}/daily/record", "DELETE")
        second = await stopped_job(running, Name="daily")
        assert second != first
        assert (await running.api("/jobs/daily"))["Job"]["ID"] == second

    async def test_one_that_runs_is_refused_or_stopped_first(self, running: Running) -> None:
        async with running.node("a") as node:
            await node.register()
            job = await running.submit(Tasks=[NOOP])
            await node.accept_assignment()
            refused = await running.ask(f"{JOBS}/{job}/record", "DELETE")
            assert (refused.status, refused.json["Code"]) == (409, "JobStillRuns")
            assert f"tarpon job stop {job}" in refused.json["Hint"]
            answer = await running.ask(f"{JOBS}/{job}/record?force=true", "DELETE")
            assert answer.json == {"JobID": job, "Deleted": True}

    async def test_a_token_does_not_bring_one_back(self, running: Running) -> None:
        request = {"Job": {"Type": "batch", "Tasks": [NOOP]}, "IdempotencyToken": "order-4711"}
        job = (await running.api("/jobs", request, "PUT"))["JobID"]
        await running.ask(f"{JOBS}/{job}/record?force=true", "DELETE")
        again = await running.ask(JOBS, "PUT", request)
        assert (again.status, again.json["Code"]) == (409, "JobDeleted")

    async def test_what_a_killed_leader_has_left_of_one_is_removed_by_the_next(
        self, tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was marked, and some of its parts are gone."""
        async with with_settings(tmp_path, s3_server, monkeypatch) as running:
            job = JobId(await stopped_job(running, Name="daily"))
            await running.ask(f"{JOBS}/{job}/rerun", "PUT", {})
            await running.api(f"/jobs/{job}", method="DELETE")
            await running.wait_state(job, "Stopped")
            async with another(running) as store:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr("orchestrator.jobs.removal.retention.Retention.sweep", _nothing)
                    record = marked(store.model.jobs[job], results=False)
                    await store.update(subjects.job_record(job), record)
                    await store.delete(subjects.spec_record(job, 2))
                    assert (await running.ask(f"{JOBS}/{job}")).status == 404
                await eventually(lambda: not store.model._entries)

    async def test_an_interrupted_submit_leaves_nothing_for_ever(
        self, tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("orchestrator.jobs.removal.retention.STRAY_SECONDS", 0.2)
        async with with_settings(tmp_path, s3_server, monkeypatch) as running, another(running) as store:
            job = JobId(await stopped_job(running))
            spec = store.model.jobs[job].spec
            await store.create(subjects.spec_record(JobId("j-lost"), 1), _spec(replace(spec, name="lost")))
            await eventually(lambda: list(store.model._entries) == [job])


class TestResultsOfDeletedJobs:
    async def test_they_stay_unless_that_is_asked_for(self, running: Running, s3_server: S3Server) -> None:
        async with running.node("a") as node:
            await node.register()
            job = await published_job(running, node)
        await running.ask(f"{JOBS}/{job}/record", "DELETE")
        assert len(objects(running, s3_server, job)) == 1

    async def test_nothing_is_deleted_where_s3_does_not_allow_it(self, running: Running, s3_server: S3Server) -> None:
        async with running.node("a") as node:
            await node.register()
            job = await published_job(running, node)
        refused = await running.ask(f"{JOBS}/{job}/record?results=true", "DELETE")
        assert (refused.status, refused.json["Code"]) == (403, "DeletionRefused")
        assert "s3:DeleteObject on arn:aws:s3:::" in refused.json["Message"]
        assert (await running.api(f"/jobs/{job}"))["Job"]["State"]["StateType"] == "Completed"
        assert len(objects(running, s3_server, job)) == 1

    async def test_they_go_with_their_indexes_where_it_does(self, running: Running, s3_server: S3Server) -> None:
        async with running.node("a") as node:
            await node.register()
            job = await published_job(running, node)
        add_index(running, s3_server, job)
        allow_deletion(running, s3_server)
        answer = await until_allowed(running, job)
        assert answer.json == {"JobID": job, "Deleted": True}
        assert objects(running, s3_server, job) == []

    async def test_the_job_stays_while_they_do_and_says_why(self, running: Running, s3_server: S3Server) -> None:
        async with running.node("a") as node:
            await node.register()
            job = await published_job(running, node)
        allow_deletion(running, s3_server, but=job)
        answer = await until_allowed(running, job)
        assert (answer.status, answer.json["Code"]) == (503, "ResultsNotDeleted")
        state = (await running.api(f"/jobs/{job}"))["Job"]["State"]
        assert state["StateType"] == "Completed"
        assert "being deleted" in state["Message"]
        assert "s3:DeleteObject" in state["Message"]
        rerun = await running.ask(f"{JOBS}/{job}/rerun", "PUT", {})
        assert (rerun.status, rerun.json["Code"]) == (409, "JobBeingDeleted")
        assert (await running.ask(f"{JOBS}/{job}/record", "DELETE")).json["Deleted"] is True
        assert len(objects(running, s3_server, job)) == 1


class TestRetention:
    async def test_beyond_a_number_the_oldest_ended_jobs_go(
        self, tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sets = {"Orchestrator__JobRetention__MaxJobs": "2"}
        async with with_settings(tmp_path, s3_server, monkeypatch, **sets) as running, another(running) as store:
            waiting = await running.submit(Tasks=[NOOP])
            jobs = [await stopped_job(running) for _ in range(5)]
            await eventually(lambda: set(store.model.jobs) == {waiting, *jobs[-2:]})

    async def test_ended_jobs_go_after_their_time(
        self, tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sets = {"Orchestrator__JobRetention__MaxAge": "1s"}
        async with with_settings(tmp_path, s3_server, monkeypatch, **sets) as running, another(running) as store:
            waiting = await running.submit(Tasks=[NOOP])
            for _ in range(3):
                await stopped_job(running)
            await eventually(lambda: set(store.model.jobs) == {waiting})

    async def test_results_go_after_their_time_and_their_job_does_not(
        self, tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("orchestrator.jobs.removal.retention.AGAIN_SECONDS", 0.1)
        sets = {"Publishers__Types__S3Managed__Retention": "1s"}
        async with with_settings(tmp_path, s3_server, monkeypatch, **sets) as running:
            async with running.node("a") as node:
                await node.register()
                job = await published_job(running, node)
            allow_deletion(running, s3_server)
            await eventually(lambda: not objects(running, s3_server, job))
            await running.wait_state(job, "Completed")
            answer = await until(running, f"{JOBS}/{job}/results", "GET", lambda code: code == "NotFound")
            assert "were deleted" in answer.json["Message"]

    async def test_results_and_jobs_stay_while_s3_does_not_allow_to_delete_them(
        self,
        tmp_path: Path,
        s3_server: S3Server,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        sets = {"Publishers__Types__S3Managed__Retention": "1s", "Orchestrator__JobRetention__MaxAge": "1s"}
        async with with_settings(tmp_path, s3_server, monkeypatch, **sets) as running:
            async with running.node("a") as node:
                await node.register()
                job = await published_job(running, node)
            await eventually(lambda: "Old results and their jobs are kept" in caplog.text)
            assert "s3:DeleteObject" in caplog.text
            health = (await running.ask("/api/v1/agent/node")).json["Publishers"]["S3Managed"]
            assert "s3:DeleteObject" in health["DeletionProblem"]["Message"]
            assert health["Ready"] is True
            assert len(objects(running, s3_server, job)) == 1
            assert (await running.api(f"/jobs/{job}"))["Job"]["ID"] == job

    async def test_a_result_under_object_lock_stays_and_holds_up_no_other_one(
        self, tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("orchestrator.jobs.removal.retention.AGAIN_SECONDS", 0.1)
        s3 = LockingS3(s3_server.endpoint)
        async with s3.serving():
            sets = {
                "Publishers__Types__S3Managed__Retention": "1s",
                "Publishers__Types__S3Managed__Endpoint": s3.endpoint,
                "Publishers__Types__S3Managed__ResultRecords": "false",
            }
            async with (
                with_settings(tmp_path, s3_server, monkeypatch, **sets) as running,
                running.node("a") as node,
            ):
                await node.register()
                s3.locked = locked = await published_job(running, node)
                allow_deletion(running, s3_server)
                await eventually(lambda: s3.refused, what="the deletion has been tried")
                other = await published_job(running, node)
                await eventually(lambda: not objects(running, s3_server, other))
                assert s3.refused == 1, "it is not tried all the time"
                assert objects(running, s3_server, locked)

    async def test_of_a_job_that_is_run_again_and_again_the_last_versions_stay(
        self, tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("orchestrator.state.ended_jobs.VERSIONS_KEPT", 2)
        monkeypatch.setattr("orchestrator.jobs.removal.retention.VERSIONS_KEPT", 2)
        async with with_settings(tmp_path, s3_server, monkeypatch) as running, another(running) as store:
            job = JobId(await stopped_job(running, Name="daily"))
            for _ in range(5):
                await running.ask(f"{JOBS}/{job}/rerun", "PUT", {})
                await running.api(f"/jobs/{job}", method="DELETE")
                await running.wait_state(job, "Stopped")
            await eventually(lambda: sorted(store.model.jobs[job].specs) == [1, 5, 6])
            versions = (await running.api(f"/jobs/{job}/versions"))["Items"]
            assert [each["Version"] for each in versions] == [1, 5, 6]


async def _nothing(_: Any) -> bool:
    return False


def _spec(job: Any) -> Any:
    from orchestrator.rules.records import SpecRecord

    return SpecRecord(job=job)
