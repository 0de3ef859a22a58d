"""A whole orchestrator over real NATS and real S3, with nodes that the tests play."""

import asyncio
import hashlib
from pathlib import Path

import msgspec
import pytest

import tarpon
from orchestrator.dispatch.grants import Grants
from orchestrator.dispatch.reports import ABSENT_SECONDS, ABSENT_TRIES
from shared.errors import StorageUnavailable
from shared.ids import ExecutionId
from shared.protocol import messages
from shared.protocol.messages import (
    Accepted,
    CancelExecution,
    ExecutionFailed,
    ExecutionProgressed,
    ExecutionStarted,
    GrantGiven,
    Order,
    OutputPublished,
    Receipt,
    Reconciliation,
    Register,
    Report,
    Reports,
    RequestRefused,
    RunOutput,
    TaskEnded,
)
from shared.protocol.signed_url import SignedUrl
from tarpon.results.fetch_job import get_results
from tests.faulty_s3 import FaultyS3, Kind, answer
from tests.integration.played_node import PlayedNode
from tests.integration.running import Running, running_orchestrator
from tests.servers import HOST, S3Server

BODY = b"not an archive, but the orchestrator looks at size and digest alone"


def _ended() -> TaskEnded:
    return TaskEnded(output=RunOutput(stdout="hello\n"), run_seconds=0.1)


def _published(body: bytes = BODY) -> OutputPublished:
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    sha256 = hashlib.sha256(body).hexdigest()
    return OutputPublished(size_bytes=len(body), md5=md5, sha256=sha256, entries=1, raw_bytes=1)


async def _take_job(running: Running, node: PlayedNode) -> tuple[str, ExecutionId]:
    job = await running.submit()
    assignment = await node.accept_assignment()
    assert assignment.job_id == job
    return job, assignment.execution_id


async def test_a_result_is_accepted_when_the_object_is_what_the_node_reported(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        job = await running.submit()
        assignment = await node.accept_assignment()
        assert assignment.archive is not None
        assert await running.put(assignment.archive, BODY) == 200
        await node.report(assignment.execution_id, ExecutionStarted(), _ended(), _published())
        found = await running.wait_state(job, "Completed")
        assert found["Executions"]["Items"][0]["PublishedResult"]["Params"]["Size"] == len(BODY)


async def test_a_result_is_refused_when_the_object_is_another(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        job = await running.submit()
        assignment = await node.accept_assignment()
        assert assignment.archive is not None
        await running.put(assignment.archive, b"something else")
        await node.report(assignment.execution_id, _ended(), _published())
        found = await running.wait_state(job, "Failed")
        assert "is not what node a says" in found["Job"]["State"]["Message"]


async def test_a_result_that_the_old_keys_do_not_show_is_looked_for_with_the_new_ones(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys are exchanged between the upload and the look: S3 says the same of an absent object and of unknown keys."""
    async with FaultyS3(s3_server.endpoint).serving() as s3:
        sets = (f"Publishers.Types.S3Managed.Endpoint={s3.endpoint}",)
        async with (
            running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets) as running,
            running.node("a") as node,
        ):
            await node.register()
            job, execution = await _take_job(running, node)
            given = await node.ask_for_grant(execution)
            assert isinstance(given, GrantGiven)
            assert await running.put(given.archive, BODY) == 200
            s3.plan(Kind.HEAD, *[answer(403)] * (ABSENT_TRIES + 1))
            await node.report(execution, ExecutionStarted(), _ended(), _published())
            await running.wait_state(job, "Completed")
            assert s3.planned == 0


async def test_a_refused_download_has_the_exchanged_keys_read_again(
    running: Running, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("orchestrator.s3.credentials.rotation.SPACING_SECONDS", 0.0)
    async with running.node("a") as node, tarpon.Client(HOST, running.config.api.port) as client:
        await node.register()
        job = await running.submit()
        assignment = await node.accept_assignment()
        assert assignment.archive is not None
        assert await running.put(assignment.archive, BODY) == 200
        await node.report(assignment.execution_id, ExecutionStarted(), _ended(), _published())
        await running.wait_state(job, "Completed")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKOLD")
        (dead,) = await client.results(job, refused=True)
        assert "Credential=AKOLD" in dead.params.pre_signed_url
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.orchestrator.access)
        got = await get_results(client, job, output_dir=tmp_path, raw=True)
        assert got.folder is not None
        (archive,) = (each for each in got.folder.rglob("*.tar.gz"))
        assert archive.read_bytes() == BODY


async def test_a_result_is_refused_when_there_is_no_object(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        job, execution = await _take_job(running, node)
        await node.report(execution, _ended(), _published())
        found = await running.wait_state(job, "Failed")
    assert "is not what node a says it published" in found["Job"]["State"]["Message"]


async def test_a_url_of_an_assignment_writes_once(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        await running.submit()
        assignment = await node.accept_assignment()
        assert assignment.archive is not None
        assert await running.put(assignment.archive, BODY) == 200
        assert await running.put(assignment.archive, b"overwritten") == 412


async def test_a_node_gets_a_fresh_url_for_its_own_execution(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        _, execution = await _take_job(running, node)
        answer = await node.ask_for_grant(execution)
        assert isinstance(answer, GrantGiven)
        assert execution in answer.archive.url
        assert await running.put(answer.archive, BODY) == 200


async def test_a_node_gets_no_url_for_another_nodes_execution(running: Running) -> None:
    async with running.node("a") as node, running.node("b") as other:
        await node.register()
        _, execution = await _take_job(running, node)
        await other.register()
        answer = await other.ask_for_grant(execution)
        assert isinstance(answer, RequestRefused)
        assert answer.code == "GrantRefused"


async def test_a_node_gets_no_url_for_an_execution_that_is_finished(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        job, execution = await _take_job(running, node)
        await running.api(f"/jobs/{job}", method="DELETE")
        await running.wait_state(job, "Stopped")
        answer = await node.ask_for_grant(execution)
        assert isinstance(answer, RequestRefused)


async def test_a_node_gets_no_url_for_an_execution_that_does_not_exist(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        answer = await node.ask_for_grant(ExecutionId("e-does-not-exist"))
        assert isinstance(answer, RequestRefused)


async def test_a_report_about_another_nodes_execution_changes_nothing(running: Running) -> None:
    async with running.node("a") as node, running.node("b") as other:
        await node.register()
        job, execution = await _take_job(running, node)
        await other.report(execution, _ended(), _published())
        await node.report(execution, ExecutionStarted())
        found = await running.wait_state(job, "Running")
        assert found["Executions"]["Items"][0]["NodeID"] == "a"


async def test_a_repeated_and_a_late_report_change_nothing(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        job = await running.submit()
        assignment = await node.accept_assignment()
        assert assignment.archive is not None
        await running.put(assignment.archive, BODY)
        facts = (ExecutionStarted(), _ended(), _published())
        await node.report(assignment.execution_id, *facts)
        before = await running.wait_state(job, "Completed")
        await node.report(assignment.execution_id, *facts)
        answer = await node.register(held=(assignment.execution_id,))
        assert answer == Reconciliation(settled=(assignment.execution_id,))
        assert await running.wait_state(job, "Completed") == before


async def test_progress_is_in_the_history_once_and_leaves_the_job_as_it_is(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        job, execution = await _take_job(running, node)
        told = ["Pulling image x:1", "Pulling image x:1: 37 % of 120 MB", "Pulled image x:1 in 12 s"]
        for detail in (*told, told[1]):
            await node.report(execution, ExecutionProgressed(detail=detail))
        await node.report(execution, ExecutionStarted())
        found = await running.wait_state(job, "Running")
        await node.report(execution, ExecutionFailed(reason="TaskNotStarted", detail="no"))
        await running.wait_state(job, "Failed")
        await node.report(execution, ExecutionProgressed(detail="Pulling image late:1"))
        await node.register()
        items = (await running.api(f"/jobs/{job}/history"))["Items"]
    assert found["Executions"]["Items"][0]["NodeID"] == "a"
    preparing = [item for item in items if item["Event"]["Topic"] == "Preparing Execution"]
    assert [item["Event"]["Message"] for item in preparing] == told
    assert {item["ExecutionID"] for item in preparing} == {execution}


async def test_a_report_that_overtakes_an_earlier_one_waits_for_it(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        job = await running.submit()
        assignment = await node.accept_assignment()
        assert assignment.archive is not None
        await running.put(assignment.archive, BODY)
        await node.report(assignment.execution_id, _published())
        await node.report(assignment.execution_id, ExecutionStarted(), _ended())
        found = await running.wait_state(job, "Completed")
        assert found["Executions"]["Items"][0]["RunOutput"]["Stdout"] == "hello\n"


async def test_a_result_that_cannot_be_signed_for_holds_up_no_other_job(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> SignedUrl:
        raise StorageUnavailable("There are no credentials at present.")

    async with running.node("a") as node:
        await node.register()
        with monkeypatch.context() as patch:
            patch.setattr(Grants, "archive", refuse)
            held_up = await running.submit()
            free = await running.submit(Tasks=[{"Name": "main", "Engine": {"Type": "noop"}}])
            assert (await node.accept_assignment()).job_id == free
        assert (await node.accept_assignment()).job_id == held_up


async def test_reports_that_travel_together_are_read_each_by_itself(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        jobs = [await _take_job(running, node) for _ in range(2)]
        reports = [messages.encode(Report(execution_id=each, facts=(ExecutionStarted(),))) for _, each in jobs]
        together = (reports[0], b'{"type":"ReportOfANewerNode"}', reports[1])
        await node.tell(messages.encode(Reports(reports=tuple(msgspec.Raw(each) for each in together))))
        for job, _ in jobs:
            await running.wait_state(job, "Running")


async def test_an_execution_that_its_node_no_longer_holds_is_tried_again(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        job, first = await _take_job(running, node)
        node.session = "another-process"
        await node.report(first, ExecutionStarted())
        await running.wait_state(job, "Running")
        await node.register()
        second = await node.accept_assignment()
        assert second.job_id == job
        assert second.execution_id != first


async def test_a_node_elsewhere_gets_no_work_for_an_endpoint_on_loopback(running: Running) -> None:
    async with running.node("far-away") as node:
        await node.register(loopback="another machine")
        found = await running.wait_state(await running.submit(), "Failed")
        assert "PublicEndpoint" in found["Job"]["State"]["Message"]
        assert "Node far-away: cannot reach the S3 endpoint" in found["Job"]["State"]["Message"]


async def test_the_same_idempotency_token_names_the_same_job(running: Running) -> None:
    task = {"Name": "main", "Engine": {"Type": "noop"}}
    request = {"Job": {"Type": "batch", "Tasks": [task]}, "IdempotencyToken": "once"}
    first = await running.api("/jobs", request, "PUT")
    second = await running.api("/jobs", request, "PUT")
    assert first["JobID"] == second["JobID"]
    assert len((await running.api("/jobs"))["Items"]) == 1


async def test_a_job_that_is_too_large_for_a_message_is_refused_with_the_limit(running: Running) -> None:
    task = {"Name": "main", "Engine": {"Type": "noop", "Params": {"Text": "x" * 400_000}}}
    answer = await running.api("/jobs", {"Job": {"Type": "batch", "Tasks": [task]}}, "PUT")
    assert answer["Status"] == 413
    assert "262,144" in answer["Message"]


async def test_an_execution_that_is_stopped_while_its_result_is_being_verified_stays_stopped(running: Running) -> None:
    """S3 is asked between the reading of the record and its writing, and the record moves meanwhile."""
    async with running.node("a") as node:
        await node.register()
        job = await running.submit()
        assignment = await node.accept_assignment()
        assert assignment.archive is not None
        await node.report(assignment.execution_id, ExecutionStarted(), _ended(), _published())
        await asyncio.sleep(ABSENT_SECONDS)  # the object is looked for, in vain so far
        await running.api(f"/jobs/{job}", method="DELETE")
        order: Order = Register()
        while not isinstance(order, Receipt):
            order, received = await node.next_order()
            await received.respond(messages.encode(Accepted(session=node.session, inventories=1)))
            if isinstance(order, CancelExecution):
                assert await running.put(assignment.archive, BODY) == 200
        found = await running.wait_state(job, "Stopped")
        assert "Result published" not in str(found["History"])
