"""Results of jobs as inputs of others: which archives a node is given, and what of a result is no input."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from shared.ids import ExecutionId
from shared.protocol.messages import (
    Assignment,
    ExecutionStarted,
    IndexGrantGiven,
    IndexGrantRequest,
    OutputPublished,
    RequestRefused,
    RunOutput,
    TaskEnded,
)
from shared.protocol.nodes.inputs import InputFile, InputIndex, InputsGiven, InputsRequest
from tests.integration.orchestrator.jobs.removal.test_retention import allow_deletion
from tests.integration.played_node import PlayedNode
from tests.integration.running import Running, running_orchestrator
from tests.servers import S3Server
from tests.waiting import answered

ENGINE = {"Type": "process", "Params": {"Entrypoint": ["true"]}}
TASK: dict[str, Any] = {"Name": "main", "Engine": ENGINE, "Publisher": {"Type": "s3managed"}}
SUBMISSIONS = "/api/v1/orchestrator/submissions"


def reading(name: str, called: str, *paths: str, **more: Any) -> dict[str, Any]:
    source = {"Type": "result", "Params": {"Job": called, **({"Paths": list(paths)} if paths else {})}}
    return {"Name": name, "Tasks": [TASK | {"InputSources": [{"Source": source, "Target": "/in"}]}], **more}


class Desk:
    def __init__(self, running: Running, node: PlayedNode) -> None:
        self.running = running
        self.node = node

    async def publish(self, content: bytes = b"an archive", code: int = 0, index: bytes = b"") -> Assignment:
        """Of the next execution that the node is given."""
        assignment = await self.node.accept_assignment()
        assert assignment.archive is not None
        assert await self.running.put(assignment.archive, content) == 200
        if index:
            granted = await self.node.ask(IndexGrantRequest(execution_id=assignment.execution_id))
            assert isinstance(granted, IndexGrantGiven)
            assert await self.running.put(granted.index, index) == 200
        digests = hashlib.md5(content, usedforsecurity=False), hashlib.sha256(content)
        published = OutputPublished(
            size_bytes=len(content),
            md5=digests[0].hexdigest(),
            sha256=digests[1].hexdigest(),
            entries=1,
            raw_bytes=1,
            index_bytes=len(index),
            index_sha256=hashlib.sha256(index).hexdigest() if index else "",
        )
        ended = TaskEnded(output=RunOutput(exit_code=code), run_seconds=0.1)
        await self.node.report(assignment.execution_id, ExecutionStarted(), ended, published)
        return assignment

    async def result(self, **job: Any) -> str:
        made = await self.running.submit(**{"Tasks": [TASK], **job})
        for part in range(job.get("Count", 1)):
            await self.publish(f"archive {part}".encode())
        await self.running.wait_state(made, "Completed")
        return made

    async def submit(self, job: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = await self.running.api("/jobs", {"Job": job}, "PUT")
        return answer

    async def given(self, execution: ExecutionId) -> tuple[InputFile, ...]:
        answer = await self.node.ask(InputsRequest(execution_id=execution))
        assert isinstance(answer, InputsGiven), answer
        return answer.files

    async def read(self, file: InputFile | InputIndex) -> bytes:
        url = URL(file.url.url, encoded=True)
        async with self.running.http.get(url, headers=file.url.headers) as answer:
            assert answer.status == 200
            return await answer.read()


@pytest.fixture
async def desk(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    async with running_orchestrator(tmp_path, s3_server, monkeypatch) as running, running.node("n-1") as node:
        await node.register(input_sources=("result",))
        yield Desk(running, node)


async def test_a_node_is_given_the_archive_of_a_job_that_has_completed(desk: Desk) -> None:
    await desk.result(Name="prepare")
    await desk.submit(reading("train", "prepare", "outputs/model"))
    held = await desk.node.accept_assignment()
    (file,) = await desk.given(held.execution_id)
    assert (file.archive, file.path, file.members) == (True, "", ("outputs/model",))
    assert file.sha256 == hashlib.sha256(b"archive 0").hexdigest()
    assert await desk.read(file) == b"archive 0"


@pytest.mark.parametrize(("index", "paths"), [(b"an index", ("outputs/model",)), (b"an index", ()), (b"", ("a",))])
async def test_a_node_that_reads_some_paths_is_given_the_index_that_tells_where_they_are(
    desk: Desk, index: bytes, paths: tuple[str, ...]
) -> None:
    await desk.running.submit(Name="prepare", Tasks=[TASK])
    await desk.publish(index=index)
    await desk.running.wait_state("prepare", "Completed")
    await desk.submit(reading("train", "prepare", *paths))
    held = await desk.node.accept_assignment()
    (file,) = await desk.given(held.execution_id)
    if not (index and paths):
        assert file.index is None
        return
    assert file.index is not None
    assert (file.index.size, file.index.sha256) == (len(index), hashlib.sha256(index).hexdigest())
    assert await desk.read(file.index) == index
    told = (desk.running.config.data_dir / "orchestrator" / "audit" / "audit.jsonl").read_text()
    assert f'/{file.url.address.split("/", 4)[4].removesuffix("tar.gz")}*"' in told, "of both objects"


async def test_the_results_of_several_parts_are_folders_beside_each_other(desk: Desk) -> None:
    await desk.result(Name="prepare", Count=3)
    await desk.submit(reading("train", "prepare"))
    held = await desk.node.accept_assignment()
    files = await desk.given(held.execution_id)
    assert [each.path for each in files] == ["0000", "0001", "0002"]
    assert sorted([await desk.read(each) for each in files]) == [b"archive 0", b"archive 1", b"archive 2"]


async def test_who_reads_a_result_of_the_same_submission_waits_for_it(desk: Desk) -> None:
    jobs = [reading("train", "prepare"), {"Name": "prepare", "Tasks": [TASK]}]
    answer = await desk.running.ask(SUBMISSIONS, "PUT", {"Jobs": jobs})
    assert answer.status == 200, answer.json
    found = (await desk.running.wait_state("train", "Queued"))["Job"]
    assert found["State"]["Message"] == "It waits for prepare."
    await desk.publish(b"of prepare")
    held = await desk.node.accept_assignment()
    (file,) = await desk.given(held.execution_id)
    assert await desk.read(file) == b"of prepare"


async def test_a_job_reads_the_version_that_it_waited_for_also_when_there_is_a_later_one(desk: Desk) -> None:
    await desk.result(Name="prepare")
    await desk.submit(reading("train", "prepare"))
    held = await desk.node.accept_assignment()
    await desk.running.api("/jobs/prepare/rerun", {}, "PUT")
    await desk.publish(b"another")
    await desk.running.wait_state("prepare", "Completed")
    (file,) = await desk.given(held.execution_id)
    assert await desk.read(file) == b"archive 0"


async def test_a_result_stays_while_a_job_that_goes_on_reads_it(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ("Orchestrator.JobRetention.MaxAge=1s",)
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets) as running,
        running.node("n-1") as node,
    ):
        await node.register(input_sources=("result",))
        desk = Desk(running, node)
        jobs = [{"Name": "prepare", "Tasks": [TASK]}, reading("train", "prepare")]
        await running.ask(SUBMISSIONS, "PUT", {"Jobs": jobs})
        await desk.publish(b"of prepare")
        held = await node.accept_assignment()
        other = await running.submit(Name="other", Tasks=[TASK | {"Publisher": {"Type": "noop"}}])
        await running.api(f"/jobs/{other}", method="DELETE")
        await _is_forgotten(running, other)  # so would the one that is read have been, which ended before
        (file,) = await desk.given(held.execution_id)
        assert await desk.read(file) == b"of prepare"


async def _is_forgotten(running: Running, job: str) -> None:
    async def status() -> int:
        return (await running.ask(f"/api/v1/orchestrator/jobs/{job}")).status

    await answered(status, lambda found: found == 404, within=30, what="it is forgotten")


# ---- bad input ------------------------------------------------------------------------------------------------------


async def test_a_result_that_was_deleted_is_no_input(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.jobs.removal.retention.AGAIN_SECONDS", 0.1)
    sets = ("Publishers.Types.S3Managed.Retention=1s",)
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets) as running,
        running.node("n-1") as node,
    ):
        await node.register(input_sources=("result",))
        desk = Desk(running, node)
        await desk.result(Name="prepare")
        allow_deletion(running, s3_server)

        async def results() -> int:
            return (await running.ask("/api/v1/orchestrator/jobs/prepare/results")).status

        await answered(results, lambda status: status == 404, within=30, what="the result is deleted")
        refused = await desk.submit(reading("train", "prepare"))
        assert refused["Code"] == "InputResultMissing"
        told = "The result of job prepare cannot be an input: it was deleted from the bucket."
        assert refused["Message"] == told


async def test_the_result_of_a_job_that_was_deleted_is_no_input(desk: Desk) -> None:
    await desk.result(Name="prepare")
    assert (await desk.running.api("/jobs/prepare/record", method="DELETE"))["JobID"]
    refused = await desk.submit(reading("train", "prepare"))
    assert refused["Code"] == "InvalidJob"
    assert "Tasks[0].InputSources: there is no job 'prepare'" in refused["Message"]


async def test_a_result_that_vanishes_while_its_reader_waits_is_told_to_the_node(
    desk: Desk, s3_server: S3Server
) -> None:
    await desk.result(Name="prepare")
    await desk.submit(reading("train", "prepare"))
    held = await desk.node.accept_assignment()
    (file,) = await desk.given(held.execution_id)
    bucket = desk.running.config.publishers.types.s3managed.bucket
    key = URL(file.url.url, encoded=True).path.partition(f"/{bucket}/")[2]
    s3_server.client().delete_object(Bucket=bucket, Key=key)
    answer = await desk.node.ask(InputsRequest(execution_id=held.execution_id, s3_code="NoSuchKey"))
    assert isinstance(answer, RequestRefused | InputsGiven), answer


async def test_the_result_of_a_job_that_failed_is_no_input(desk: Desk) -> None:
    await desk.running.submit(Name="prepare", Tasks=[TASK | {"FailOnExitCode": True}])
    await desk.publish(code=3)
    await desk.running.wait_state("prepare", "Failed")
    refused = await desk.submit(reading("train", "prepare"))
    assert refused["Code"] == "NeedNeverMet"
    assert "Job prepare, which this one needs, has failed: " in refused["Message"]


async def test_the_result_of_a_job_of_another_namespace_is_no_input(desk: Desk) -> None:
    job = await desk.result(Name="prepare", Namespace="other")
    for called in ("prepare", job):
        refused = await desk.submit(reading("train", called))
        assert refused["Code"] == "InvalidJob"
        assert f"Tasks[0].InputSources: there is no job {called!r}" in refused["Message"]


@pytest.mark.parametrize(
    ("publisher", "why"),
    [
        ({"Type": "noop"}, "it publishes none"),
        ({"Type": "s3managed", "Params": {"Encoding": "plain"}}, "it is an object for each file"),
    ],
)
async def test_a_job_that_publishes_no_archive_has_no_result_to_read(
    desk: Desk, publisher: dict[str, Any], why: str
) -> None:
    silent = {"Name": "prepare", "Tasks": [TASK | {"Publisher": publisher}]}
    answer = await desk.running.ask(SUBMISSIONS, "PUT", {"Jobs": [silent, reading("train", "prepare")]})
    assert answer.json["Code"] == "InputResultMissing"
    assert answer.json["Message"].startswith(f"The result of job prepare cannot be an input: {why}")
    assert (await desk.running.ask("/api/v1/orchestrator/jobs/prepare")).status == 404, "none is stored"


async def test_a_node_is_not_given_results_that_its_executions_do_not_read(desk: Desk) -> None:
    await desk.result(Name="prepare")
    await desk.running.submit(Name="plain", Tasks=[TASK])
    held = await desk.node.accept_assignment()
    assert await desk.given(held.execution_id) == ()
