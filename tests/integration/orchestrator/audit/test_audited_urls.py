"""Each URL that is signed for a node or a reader has its line in the audit log before it is given, and is not in it."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.audit.lines import AuditLine
from shared.protocol.messages import (
    BeginUpload,
    ExecutionStarted,
    GrantGiven,
    IndexGrantGiven,
    IndexGrantRequest,
    OutputPublished,
    PartsGiven,
    PartsRequest,
    RequestRefused,
    RunOutput,
    TaskEnded,
    UploadBegun,
)
from shared.protocol.nodes.inputs import InputsGiven, InputsRequest
from shared.protocol.signed_url import SignedUrl
from tests.audit_logs import full_at, lines_of
from tests.integration.input_places import new_bucket
from tests.integration.orchestrator.inputs.test_input_grants import OBJECTS, s3, submit
from tests.integration.orchestrator.nats_api.test_integrations import NOOP, ask, program
from tests.integration.running import Running, running_orchestrator
from tests.integration.sent_trees import SentTree
from tests.servers import S3Server
from tests.waiting import answered, eventually

BODY = b"an archive"


@pytest.fixture(scope="module")
def data(s3_server: S3Server) -> str:
    return new_bucket(s3_server, OBJECTS)


@pytest.fixture
async def running(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, data: str
) -> AsyncIterator[Running]:
    allowed = f"InputSources.Types.S3.Allow=s3://{data}"
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, sets=(allowed,)) as made:
        yield made


def lines(running: Running, action: str = "sign") -> list[AuditLine]:
    return [each for each in lines_of(running.config.data_dir) if each.action == action]


def key_of(url: SignedUrl) -> str:
    """`bucket/key`."""
    return url.address.split("/", 3)[3]


def text_of(running: Running) -> str:
    return (running.config.data_dir / "orchestrator" / "audit" / "audit.jsonl").read_text()


async def test_each_url_for_a_result_is_told_by_its_object_execution_and_lifetime(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        job = await running.submit()
        assignment = await node.accept_assignment()
        execution, archive = assignment.execution_id, assignment.archive
        assert archive is not None
        (told,) = lines(running)
        assert (told.kind, told.who, told.operation, told.method) == ("node", "a", "archive", "PUT")
        assert (told.job, told.execution, told.namespace) == (job, execution, "default")
        assert (told.object, told.lifetime_seconds) == (f"s3://{key_of(archive)}", archive.lifetime_seconds)

        granted, index = await node.ask_for_grant(execution), await node.ask(IndexGrantRequest(execution_id=execution))
        assert isinstance(granted, GrantGiven)
        assert isinstance(index, IndexGrantGiven)
        assert [each.operation for each in lines(running)[1:]] == ["archive", "index"]
        assert lines(running)[-1].object == f"s3://{key_of(index.index)}"

        begun = await node.ask(BeginUpload(execution_id=execution))
        assert isinstance(begun, UploadBegun)
        parts = await node.ask(PartsRequest(execution_id=execution, upload_id=begun.upload_id, first=3, count=5))
        assert isinstance(parts, PartsGiven)
        told = lines(running)[-1]
        assert (told.operation, told.first, told.count, told.method) == ("parts", 3, 5, "PUT")

        assert isinstance(await node.ask(IndexGrantRequest(execution_id="e-none")), RequestRefused)  # type: ignore[arg-type]
        await eventually(lambda: lines(running)[-1].outcome == "refused")
        assert (lines(running)[-1].code, lines(running)[-1].execution) == ("GrantRefused", "e-none")

        assert await running.put(archive, BODY) == 200
        md5, sha256 = hashlib.md5(BODY, usedforsecurity=False).hexdigest(), hashlib.sha256(BODY).hexdigest()
        published = OutputPublished(size_bytes=len(BODY), md5=md5, sha256=sha256, entries=1, raw_bytes=1)
        await node.report(execution, ExecutionStarted(), TaskEnded(output=RunOutput(), run_seconds=0.1), published)
        await running.wait_state(job, "Completed")
        (result,) = (await running.api(f"/jobs/{job}/results"))["Items"]
        told = lines(running)[-1]
        assert (told.kind, told.operation, told.method, told.executions) == (
            "anonymous",
            "results",
            "GET",
            (execution,),
        )
        assert told.object == f"s3://{key_of(archive)}"
        async with program(running) as client:
            assert (await ask(client, "jobs.results", {"JobID": job}))["Items"]
        assert (lines(running)[-1].kind, lines(running)[-1].who) == ("integration", "billing")

        text = text_of(running)
        assert "X-Amz" not in text
        assert "Signature" not in text
        assert result["Params"]["PreSignedURL"].partition("?")[2] not in text
        assert begun.upload_id not in text


async def test_urls_of_inputs_have_one_line_for_each_answer(running: Running, data: str) -> None:
    async with running.node("a") as node:
        await node.register(input_sources=("s3", "s3managed"))
        await submit(running, s3(data, "many/"))
        execution = (await node.accept_assignment()).execution_id
        given = await node.ask(InputsRequest(execution_id=execution, first=10, count=20))
        assert isinstance(given, InputsGiven)
        (told,) = lines(running)
        assert (told.operation, told.method, told.first, told.count) == ("inputs", "GET", 10, len(given.files))
        assert told.object == f"s3://{data}/many/0*"
        assert told.lifetime_seconds == given.files[0].url.lifetime_seconds


async def test_urls_to_send_and_read_data_are_told(running: Running) -> None:
    tree = SentTree(running, {"a": b"content of a", "b": b"content of b"})
    await tree.send_all("weights")
    told = [(each.operation, each.method, each.count) for each in lines(running)]
    assert told == [("data manifest", "PUT", 1), ("data contents", "PUT", 2)]
    files = (await running.api(f"/data/{tree.digest}/files"))["Files"]
    assert len(files) == 2
    assert (lines(running)[-1].operation, lines(running)[-1].method) == ("data files", "GET")
    assert {each.namespace for each in lines(running)} == {"default"}
    assert {each.operation for each in lines(running, "write:data")} >= {"put_data", "finish_data"}
    assert "X-Amz" not in text_of(running)


async def test_no_url_is_signed_that_cannot_be_told(running: Running) -> None:
    async with running.node("a") as node, program(running) as client:
        await node.register()
        await running.submit()
        execution = (await node.accept_assignment()).execution_id
        path = running.config.data_dir / "orchestrator" / "audit" / "audit.jsonl"
        with full_at(path.stat().st_size):
            refused = await node.ask_for_grant(execution)
            assert isinstance(refused, RequestRefused)
            assert (refused.code, refused.retryable) == ("AuditUnwritable", True)
            assert (await ask(client, "jobs.submit", {"Job": NOOP}))["Code"] == "AuditUnwritable"
            state = (await running.ask("/api/v1/agent/node")).json["Audit"]
            assert (state["Writable"], state["Problem"]["Code"]) == (False, "AuditUnwritable")
            assert b"tarpon_audit_writable 0" in (await running.ask("/metrics")).body
        found = await answered(
            lambda: node.ask_for_grant(execution),
            lambda given: isinstance(given, GrantGiven),
            what="there is room again",
        )
        assert isinstance(found, GrantGiven)
        assert (await ask(client, "jobs.submit", {"Job": NOOP}))["JobID"]


async def test_programs_and_nodes_are_told_that_come_over_nats(running: Running) -> None:
    async with running.node("a"), program(running) as client:
        (joined,) = lines(running, "join")
        assert (joined.who, joined.source) == ("a", "127.0.0.1")
        assert "join secret" in joined.detail
        job = (await ask(client, "jobs.submit", {"Job": NOOP}))["JobID"]
        told = lines_of(running.config.data_dir)[-1]
        assert (told.kind, told.who, told.source) == ("integration", "billing", "nats")
        assert (told.operation, told.object, told.namespace) == ("jobs.submit", job, "default")
        await ask(client, "jobs.stop", {"JobID": job})
        assert (lines_of(running.config.data_dir)[-1].operation, told.object) == ("jobs.stop", job)
        assert [(each.kind, each.who) for each in lines(running, "sign-in")] == [("integration", "billing")]
