"""What an orchestrator answers to a node that publishes in parts, over real NATS and real S3, with a played node."""

import asyncio
import hashlib
import io
import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from yarl import URL

from shared.ids import ExecutionId
from shared.protocol.messages import (
    SENDS_MANIFESTS,
    BeginUpload,
    BesideGiven,
    BesideRequest,
    CompleteUpload,
    ExecutionFailed,
    ExecutionProgressed,
    ExecutionStarted,
    GrantRequest,
    IndexGrantGiven,
    IndexGrantRequest,
    OutputPublished,
    PartsGiven,
    PartsRequest,
    RequestRefused,
    RunOutput,
    TaskEnded,
    UploadBegun,
    UploadCompleted,
    UploadLost,
    UploadRequest,
)
from shared.protocol.objects import Beside
from tests.integration.played_node import PlayedNode
from tests.integration.running import Running
from tests.servers import S3Server
from tests.waiting import answered, eventually

PART_BYTES = 5 << 20
ENDED = TaskEnded(output=RunOutput(), run_seconds=0.1)
ASKING: list[Callable[[ExecutionId], UploadRequest]] = [
    lambda execution: GrantRequest(execution_id=execution),
    lambda execution: IndexGrantRequest(execution_id=execution),
    lambda execution: BesideRequest(execution_id=execution, beside=Beside.MANIFEST),
    lambda execution: BeginUpload(execution_id=execution),
    lambda execution: PartsRequest(execution_id=execution, upload_id="u", first=1, count=1),
    lambda execution: CompleteUpload(execution_id=execution, upload_id="u", etags=("0" * 32,)),
]
KINDS = [type(ask(ExecutionId("e"))).__name__ for ask in ASKING]


@pytest.fixture
async def node(running: Running) -> AsyncIterator[PlayedNode]:
    async with running.node("a") as node:
        await node.register()
        yield node


async def take_job(running: Running, node: PlayedNode) -> tuple[str, ExecutionId]:
    job = await running.submit()
    assignment = await node.accept_assignment()
    return job, assignment.execution_id


async def begin(node: PlayedNode, execution: ExecutionId) -> str:
    answer = await node.ask(BeginUpload(execution_id=execution))
    assert isinstance(answer, UploadBegun)
    return answer.upload_id


async def put_part(running: Running, node: PlayedNode, request: PartsRequest, body: bytes) -> None:
    answer = await node.ask(request)
    assert isinstance(answer, PartsGiven)
    async with running.http.put(URL(answer.parts[0].url, encoded=True), data=io.BytesIO(body)) as stored:
        assert stored.status == 200


def part(execution: ExecutionId, upload: str, number: int = 1) -> PartsRequest:
    return PartsRequest(execution_id=execution, upload_id=upload, first=number, count=1)


def bucket(running: Running) -> str:
    return running.config.publishers.types.s3managed.bucket


def unfinished(running: Running, s3_server: S3Server) -> list[str]:
    listed = s3_server.client().list_multipart_uploads(Bucket=bucket(running))
    return [each["UploadId"] for each in listed.get("Uploads", [])]


def allow_abort(running: Running, s3_server: S3Server) -> None:
    client = s3_server.client()
    policy = json.loads(client.get_bucket_policy(Bucket=bucket(running))["Policy"])
    allowed: list[dict[str, Any]] = [each for each in policy["Statement"] if each["Effect"] == "Allow"]
    allowed[0]["Action"] = ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"]
    client.put_bucket_policy(Bucket=bucket(running), Policy=json.dumps(policy | {"Statement": allowed}))


# ---- who may ask ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", ASKING, ids=KINDS)
async def test_a_node_is_refused_what_is_not_its_own_or_is_unknown_or_over(
    running: Running, node: PlayedNode, ask: Callable[[ExecutionId], UploadRequest]
) -> None:
    job, execution = await take_job(running, node)
    async with running.node("b") as other:
        await other.register()
        foreign = await other.ask(ask(execution))
    unknown = await node.ask(ask(ExecutionId("e-does-not-exist")))
    await running.api(f"/jobs/{job}", method="DELETE")
    await running.wait_state(job, "Stopped")
    finished = await node.ask(ask(execution))
    for answer in (foreign, unknown, finished):
        assert isinstance(answer, RequestRefused)
        assert (answer.code, answer.retryable) == ("GrantRefused", False)
        assert "X-Amz" not in answer.message
    assert isinstance(foreign, RequestRefused)
    assert isinstance(unknown, RequestRefused)
    assert foreign.message.replace("Node b", "") == f" holds no execution {execution}."
    assert unknown.message == "Node a holds no execution e-does-not-exist."


async def test_a_question_that_an_orchestrator_fails_at_may_be_asked_again(
    running: Running, node: PlayedNode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Else one error in it would cost a result for good that another try, or another orchestrator, lets pass."""
    _, execution = await take_job(running, node)
    upload = await begin(node, execution)
    monkeypatch.setattr("orchestrator.dispatch.grants.MAX_URLS", None)
    answer = await node.ask(part(execution, upload))
    assert isinstance(answer, RequestRefused)
    assert (answer.code, answer.retryable) == ("InternalError", True)
    assert "A request of node a could not be answered." in caplog.text


async def test_a_job_without_publisher_gets_no_url(running: Running, node: PlayedNode) -> None:
    await running.submit(Tasks=[{"Name": "main", "Engine": {"Type": "noop"}}])
    assignment = await node.accept_assignment()
    for ask in ASKING:
        assert isinstance(await node.ask(ask(assignment.execution_id)), RequestRefused)


async def test_what_was_never_begun_has_no_parts(running: Running, node: PlayedNode) -> None:
    _, execution = await take_job(running, node)
    for upload_id in ("", "u"):
        assert isinstance(await node.ask(part(execution, upload_id)), UploadLost)
        complete = CompleteUpload(execution_id=execution, upload_id=upload_id, etags=("0" * 32,))
        assert isinstance(await node.ask(complete), UploadLost)


async def test_the_upload_of_another_execution_is_of_no_use(running: Running, node: PlayedNode) -> None:
    _, one = await take_job(running, node)
    _, two = await take_job(running, node)
    upload_one, upload_two = await begin(node, one), await begin(node, two)
    assert upload_one != upload_two
    assert isinstance(await node.ask(part(two, upload_one)), UploadLost)


# ---- the whole way ----------------------------------------------------------------------------------------------


async def test_a_result_in_parts_is_verified_and_its_index_offered(
    running: Running, node: PlayedNode, s3_server: S3Server
) -> None:
    job, execution = await take_job(running, node)
    bodies = [os.urandom(PART_BYTES), b"the rest"]
    await node.report(execution, ExecutionStarted(), ENDED)
    upload = await begin(node, execution)
    for number, body in enumerate(bodies, 1):
        await put_part(running, node, part(execution, upload, number), body)
    etags = tuple(hashlib.md5(body).hexdigest() for body in bodies)
    complete = CompleteUpload(execution_id=execution, upload_id=upload, etags=etags)
    assert isinstance(await node.ask(complete), UploadCompleted)
    assert isinstance(await node.ask(complete), UploadCompleted), "asked again, because the answer was lost"
    index = await node.ask(IndexGrantRequest(execution_id=execution))
    assert isinstance(index, IndexGrantGiven)
    assert await running.put(index.index, b"an index") == 200
    digests = b"".join(hashlib.md5(body).digest() for body in bodies)
    published = OutputPublished(
        size_bytes=sum(map(len, bodies)),
        md5=f"{hashlib.md5(digests).hexdigest()}-2",
        sha256=hashlib.sha256(b"".join(bodies)).hexdigest(),
        entries=1,
        raw_bytes=1,
        parts=2,
        index_bytes=8,
        index_sha256=hashlib.sha256(b"an index").hexdigest(),
    )
    await node.report(execution, published)
    found = await running.wait_state(job, "Completed")
    assert found["Executions"]["Items"][0]["PublishedResult"]["Params"]["Parts"] == 2
    (item,) = (await running.api(f"/jobs/{job}/results"))["Items"]
    async with running.http.get(item["Params"]["IndexURL"]) as answer:
        assert await answer.read() == b"an index"
    await node.register()
    assert unfinished(running, s3_server) == []


@pytest.mark.parametrize("lies", [False, True], ids=["", "another is there"])
async def test_the_manifest_that_a_node_tells_of_is_looked_at_and_offered(
    running: Running, node: PlayedNode, *, lies: bool
) -> None:
    await node.register(abilities=(SENDS_MANIFESTS,))
    job = await running.submit()
    assignment = await node.accept_assignment()
    execution, archive, manifest = assignment.execution_id, assignment.archive, assignment.beside[Beside.MANIFEST]
    assert archive is not None
    assert await running.put(archive, b"an archive") == 200
    assert await running.put(manifest, b"a manifest") == 200
    renewed = await node.ask(BesideRequest(execution_id=execution, beside=Beside.MANIFEST))
    assert isinstance(renewed, BesideGiven)
    assert await running.put(renewed.url, b"a Manifest" if lies else b"a manifest") == 200
    published = OutputPublished(
        size_bytes=10,
        md5=hashlib.md5(b"an archive").hexdigest(),
        sha256=hashlib.sha256(b"an archive").hexdigest(),
        entries=1,
        raw_bytes=1,
        content_digest="d" * 64,
        manifest_bytes=10,
        manifest_sha256=hashlib.sha256(b"a manifest").hexdigest(),
        manifest_md5=hashlib.md5(b"a manifest").hexdigest(),
    )
    await node.report(execution, ExecutionStarted(), ENDED, published)
    found = await running.wait_state(job, "Failed" if lies else "Completed")
    shown = found["Executions"]["Items"][0]["PublishedResult"]
    assert (shown is None) is lies
    if shown is not None:
        assert shown["Params"]["ContentDigest"] == "d" * 64
        (item,) = (await running.api(f"/jobs/{job}/results"))["Items"]
        assert item["Params"]["ManifestSHA256"] == published.manifest_sha256
        async with running.http.get(item["Params"]["ManifestURL"]) as answer:
            assert await answer.read() == b"a manifest"


async def test_a_node_of_an_earlier_version_is_given_no_url_for_a_manifest(running: Running, node: PlayedNode) -> None:
    await running.submit()
    assert (await node.accept_assignment()).beside == {}


async def test_the_report_of_the_end_is_not_undone_by_the_beginning_of_an_upload(
    running: Running, node: PlayedNode
) -> None:
    """Both come from the node in the same moment, and write the same record."""
    for _ in range(5):
        job, execution = await take_job(running, node)
        await node.report(execution, ExecutionStarted())
        async with asyncio.TaskGroup() as group:
            group.create_task(begin(node, execution), name="begin")
            group.create_task(node.report(execution, ENDED), name="report")
        await node.report(execution, ExecutionProgressed(detail="Publishing, waiting for S3: no answer"))
        await _eventually_told(running, job, "Publishing Results", "Publishing, waiting for S3: no answer")
        found = await running.api(f"/jobs/{job}?include=executions")
        assert found["Executions"]["Items"][0]["RunOutput"] is not None


async def _eventually_told(running: Running, job: str, topic: str, message: str) -> None:
    def is_told(history: Any) -> bool:
        return (topic, message) in [(item["Event"]["Topic"], item["Event"]["Message"]) for item in history["Items"]]

    await answered(lambda: running.api(f"/jobs/{job}/history"), is_told, what=message)


async def test_what_another_result_is_in_the_way_of_is_not_replaced(
    running: Running, node: PlayedNode, s3_server: S3Server
) -> None:
    job, execution = await take_job(running, node)
    upload = await begin(node, execution)
    await put_part(running, node, part(execution, upload), b"content")
    key = f"results/{job}/{execution}.tar.gz"
    s3_server.client().put_object(Bucket=bucket(running), Key=key, Body=b"in the way")
    etags = (hashlib.md5(b"content").hexdigest(),)
    answer = await node.ask(CompleteUpload(execution_id=execution, upload_id=upload, etags=etags))
    assert isinstance(answer, UploadCompleted)
    assert s3_server.client().get_object(Bucket=bucket(running), Key=key)["Body"].read() == b"in the way"


# ---- uploads that nothing came of -------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["failed", "stopped"])
async def test_an_upload_whose_execution_ended_without_a_result_is_aborted_where_that_is_allowed(
    running: Running, node: PlayedNode, s3_server: S3Server, end: str
) -> None:
    await asyncio.to_thread(allow_abort, running, s3_server)
    job, execution = await take_job(running, node)
    upload = await begin(node, execution)
    await put_part(running, node, part(execution, upload), b"content")
    assert unfinished(running, s3_server) == [upload]
    if end == "failed":
        await node.report(execution, ENDED, ExecutionFailed(reason="PublishRefused", detail="no"))
        await running.wait_state(job, "Failed")
    else:
        await running.api(f"/jobs/{job}", method="DELETE")
        await running.wait_state(job, "Stopped")
    await eventually(lambda: unfinished(running, s3_server) == [])


async def test_where_aborting_is_not_allowed_the_upload_stays_and_this_is_logged_once(
    running: Running, node: PlayedNode, s3_server: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    def complaints() -> list[logging.LogRecord]:
        return [each for each in caplog.records if "cannot be aborted" in each.getMessage()]

    for _ in range(2):
        job, execution = await take_job(running, node)
        await begin(node, execution)
        await running.api(f"/jobs/{job}", method="DELETE")
        await running.wait_state(job, "Stopped")
    await eventually(complaints)
    assert [each.levelno for each in complaints()] == [logging.WARNING]
    assert len(unfinished(running, s3_server)) == 2
    listed = await running.ask("/api/v1/agent/uploads")
    assert sorted(each["UploadID"] for each in listed.json["Items"]) == sorted(unfinished(running, s3_server))
    health = (await running.ask("/api/v1/agent/node")).json["Publishers"]["S3Managed"]
    assert health["UnfinishedUploads"] == 2
