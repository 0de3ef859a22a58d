"""What an orchestrator gives nodes to read of the inputs of jobs, over real NATS and real S3, with played nodes."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from shared.ids import ExecutionId
from shared.protocol.messages import ExecutionStarted, NodeRequestAnswer, RequestRefused, RunOutput, TaskEnded
from shared.protocol.nodes.inputs import MAX_FILES_AT_ONCE, InputFile, InputsGiven, InputsRequest
from tests.integration.input_places import give_rights, new_bucket, put_objects
from tests.integration.played_node import PlayedNode
from tests.integration.running import Running, running_orchestrator
from tests.servers import S3Server
from tests.waiting import answered

OBJECTS = {f"many/{number:03}": f"content {number}".encode() for number in range(150)}


@pytest.fixture(scope="module")
def data(s3_server: S3Server) -> str:
    return new_bucket(s3_server, OBJECTS | {"one": b"1", "gone": b"g", "other": b"o"})


@pytest.fixture
async def running(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, data: str
) -> AsyncIterator[Running]:
    allowed = f"InputSources.Types.S3.Allow=s3://{data}"
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, sets=(allowed,)) as running:
        yield running


@pytest.fixture
async def node(running: Running) -> AsyncIterator[PlayedNode]:
    async with running.node("a") as node:
        await node.register(input_sources=("s3", "s3managed"))
        yield node


def job_of(*sources: dict[str, Any], count: int = 1, **more: Any) -> dict[str, Any]:
    inputs = [{"Target": f"/in/{number}", "Source": each} for number, each in enumerate(sources)]
    engine = {"Type": "process", "Params": {"Entrypoint": ["true"]}}
    task = {"Name": "main", "Engine": engine, "InputSources": inputs}
    return {"Type": "batch", "Count": count, "Tasks": [task], **more}


async def submit(running: Running, *sources: dict[str, Any], count: int = 1, **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await running.api("/jobs", {"Job": job_of(*sources, count=count, **more)}, "PUT")
    return answer


def s3(bucket: str, key: str, **more: Any) -> dict[str, Any]:
    return {"Type": "s3", "Params": {"Bucket": bucket, "Key": key} | more}


async def given(node: PlayedNode, execution: ExecutionId, **more: Any) -> InputsGiven:
    answer = await node.ask(InputsRequest(execution_id=execution, **more))
    assert isinstance(answer, InputsGiven), answer
    return answer


async def all_given(node: PlayedNode, execution: ExecutionId) -> list[InputFile]:
    files: list[InputFile] = []
    while batch := (await given(node, execution, first=len(files))).files:
        files += batch
    return files


def refusal(answer: NodeRequestAnswer) -> RequestRefused:
    assert isinstance(answer, RequestRefused), answer
    assert "X-Amz" not in answer.message
    return answer


async def read(running: Running, file: InputFile, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    url = URL(file.url.url, encoded=True)
    async with running.http.request(method, url, headers=file.url.headers | headers) as answer:
        return answer.status, await answer.read()


async def test_a_node_is_given_the_share_of_its_execution_in_batches(
    running: Running, node: PlayedNode, data: str
) -> None:
    made = await submit(running, s3(data, "one"), s3(data, "many/", Partition={"Type": "object"}), count=2)
    job = made["JobID"]
    shares: list[set[str]] = []
    for _ in range(2):
        execution = (await node.accept_assignment()).execution_id
        first = await given(node, execution, count=1000)
        assert len(first.files) == MAX_FILES_AT_ONCE
        files = await all_given(node, execution)
        assert (len(files), sum(each.size for each in files)) == (first.total, first.total_bytes)
        assert (files[0].source, files[0].path) == (0, "one")
        assert await read(running, files[0]) == (200, b"1")
        assert await read(running, files[-1]) == (200, OBJECTS[f"many/{files[-1].path}"])
        assert await read(running, files[-1], Range="bytes=8-") == (206, OBJECTS[f"many/{files[-1].path}"][8:])
        assert (await read(running, files[-1], "HEAD"))[0] == 403
        assert {each.source for each in files[1:]} == {1}
        shares.append({each.path for each in files[1:]})
    shown = (await running.api(f"/jobs/{job}/executions"))["Items"]
    assert sorted(each["Inputs"]["Files"] for each in shown) == sorted(len(share) + 1 for share in shares)
    assert sum(each["Inputs"]["Size"] for each in shown) == 2 + sum(map(len, OBJECTS.values()))
    assert all(each["Inputs"]["Names"][0] == "one" and len(each["Inputs"]["Names"]) == 3 for each in shown)
    assert not shares[0] & shares[1]
    assert shares[0] | shares[1] == {key.removeprefix("many/") for key in OBJECTS}


async def test_what_was_stored_for_jobs_that_were_not_taken_is_removed(
    running: Running, data: str, s3_server: S3Server
) -> None:
    bucket = running.config.publishers.types.s3managed.bucket

    def lists() -> int:
        found = s3_server.client().list_objects_v2(Bucket=bucket, Prefix="results/inputs/default/listings/")
        return int(found["KeyCount"])

    rights = ("s3:PutObject", "s3:GetObject", "s3:DeleteObject")
    await asyncio.to_thread(give_rights, s3_server, bucket, rights)
    good, bad = (job_of(s3(data, key), Name=key.strip("/")) for key in ("many/", "nothing/"))
    refused = await running.api("/submissions", {"Jobs": [good, bad]}, "PUT")
    assert refused["Code"] == "InputEmpty"
    assert await asyncio.to_thread(lists) == 0
    body = {"Jobs": [good], "IdempotencyToken": "same"}
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(running.api("/submissions", body, "PUT")) for _ in range(4)]
    assert len({each.result()["Jobs"][0]["JobID"] for each in tries}) == 1
    assert await asyncio.to_thread(lists) == 1


async def test_a_node_is_told_what_is_the_same_for_another_execution_and_another_job(
    running: Running, node: PlayedNode, data: str
) -> None:
    whole, halves = s3(data, "many/"), s3(data, "many/", Partition={"Type": "object"})
    await submit(running, whole, s3(data, "one"))
    await submit(running, s3(data, "one"), whole, count=2)
    await submit(running, halves, count=2)
    found = []
    for _ in range(5):
        execution = (await node.accept_assignment()).execution_id
        answers = [await given(node, execution, first=first) for first in (0, 64)]
        assert answers[0].lists == answers[1].lists
        assert sum(each.count for each in answers[0].lists) == answers[0].total
        assert sum(each.size for each in answers[0].lists) == answers[0].total_bytes
        found.append({each.count: each.content for each in answers[0].lists})
    of_whole, of_halves = found[:3], found[3:]
    assert all(each == of_whole[0] for each in of_whole)
    assert len({of_whole[0][150], of_whole[0][1], *(each[75] for each in of_halves)}) == 4


async def test_what_a_node_asks_without_sense_does_no_harm(running: Running, node: PlayedNode, data: str) -> None:
    await submit(running, s3(data, "many/"))
    execution = (await node.accept_assignment()).execution_id
    assert [each.path for each in (await given(node, execution, first=-5, count=2)).files] == ["000", "001"]
    for first, count in ((150, 64), (10**9, 64), (0, 0), (0, -1)):
        assert (await given(node, execution, first=first, count=count)).files == ()


async def test_a_node_is_refused_what_is_not_its_own_or_is_unknown_or_over(
    running: Running, node: PlayedNode, data: str
) -> None:
    job = (await submit(running, s3(data, "one")))["JobID"]
    execution = (await node.accept_assignment()).execution_id
    request = InputsRequest(execution_id=execution)
    async with running.node("b") as other:
        await other.register(input_sources=("s3",))
        foreign = refusal(await other.ask(request))
    unknown = refusal(await node.ask(InputsRequest(execution_id=ExecutionId("e-does-not-exist"))))
    assert foreign.message.replace(str(execution), "E") == unknown.message.replace("e-does-not-exist", "E").replace(
        "Node a", "Node b"
    )
    await running.api(f"/jobs/{job}", method="DELETE")
    await running.wait_state(job, "Stopped")
    over = refusal(await node.ask(request))
    assert {each.code for each in (foreign, unknown, over)} == {"GrantRefused"}
    assert not any(each.retryable for each in (foreign, unknown, over))


async def test_an_execution_without_inputs_has_none(running: Running, node: PlayedNode) -> None:
    await running.submit()
    execution = (await node.accept_assignment()).execution_id
    assert await given(node, execution) == InputsGiven()


async def test_a_node_that_says_that_s3_refuses_is_given_more_only_where_the_orchestrator_can_read(
    running: Running, node: PlayedNode, s3_server: S3Server, data: str
) -> None:
    await submit(running, s3(data, "gone"))
    execution = (await node.accept_assignment()).execution_id
    (file,) = (await given(node, execution, s3_code="AccessDenied")).files
    assert await read(running, file) == (200, b"g")
    await asyncio.to_thread(put_objects, s3_server, data, {"gone": b"replaced"})
    assert (await read(running, file))[0] == 412

    async def told(*words: str) -> None:
        """What was found a second ago holds for that long."""
        request = InputsRequest(execution_id=execution, s3_code="AccessDenied")
        answer = refusal(
            await answered(
                lambda: node.ask(request),
                lambda answer: isinstance(answer, RequestRefused),
                within=20,
                what="the node is refused",
            )
        )
        assert (answer.code, answer.retryable) == ("InputGone", False)
        assert all(each in answer.message for each in words)

    await told("changed", f"s3://{data}/gone")
    await asyncio.to_thread(s3_server.client().delete_object, Bucket=data, Key="gone")
    await told("does not show")


async def test_a_new_version_finds_what_is_there_now_and_a_rerun_what_there_was(
    running: Running, node: PlayedNode, s3_server: S3Server, data: str
) -> None:
    await asyncio.to_thread(put_objects, s3_server, data, {"grows/a": b"a"})
    engine: dict[str, Any] = {"Name": "grows"}

    async def run() -> list[str]:
        execution = (await node.accept_assignment()).execution_id
        files = await all_given(node, execution)
        await node.report(
            execution,
            ExecutionStarted(),
            TaskEnded(output=RunOutput(), run_seconds=0.1),
        )
        return [each.path for each in files]

    job = (await submit(running, s3(data, "grows/"), **engine))["JobID"]
    assert await run() == ["a"]
    await running.wait_state(job, "Completed")
    await asyncio.to_thread(put_objects, s3_server, data, {"grows/b": b"b"})
    await running.api(f"/jobs/{job}/rerun", {}, "PUT")
    assert await run() == ["a"]
    await running.wait_state(job, "Completed")
    answer = await running.api("/jobs", {"Job": await as_submitted(running, job), "Force": True}, "PUT")
    assert answer["JobID"] == job
    assert await run() == ["a", "b"]


async def as_submitted(running: Running, job: str) -> dict[str, Any]:
    found: dict[str, Any] = (await running.api(f"/jobs/{job}"))["Job"]
    return {name: found[name] for name in ("Name", "Type", "Count", "Tasks")}


async def test_the_list_of_a_job_goes_with_it(
    running: Running, node: PlayedNode, s3_server: S3Server, data: str
) -> None:
    bucket = running.config.publishers.types.s3managed.bucket

    def lists() -> int:
        found = s3_server.client().list_objects_v2(Bucket=bucket, Prefix="results/inputs/default/listings/")
        return int(found["KeyCount"])

    rights = ("s3:PutObject", "s3:GetObject", "s3:DeleteObject")
    await asyncio.to_thread(give_rights, s3_server, bucket, rights)
    job, other = [(await submit(running, s3(data, "many/")))["JobID"] for _ in range(2)]
    assert lists() == 2
    execution = (await node.accept_assignment()).execution_id
    await node.accept_assignment()
    path = f"/api/v1/orchestrator/jobs/{job}/record?force=true"
    await running.api(f"/jobs/{job}", method="DELETE")
    await running.wait_state(job, "Stopped")
    await answered(lambda: running.ask(path, "DELETE"), lambda answer: answer.status == 404, within=30)
    assert lists() == 1
    left = (await running.api(f"/jobs/{other}/executions"))["Items"][0]["ID"]
    assert len(await all_given(node, left)) == len(OBJECTS)
    refusal(await node.ask(InputsRequest(execution_id=execution)))


async def test_urls_of_inputs_are_in_no_log(
    running: Running, node: PlayedNode, data: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await submit(running, s3(data, "many/"))
        execution = (await node.accept_assignment()).execution_id
        await all_given(node, execution)
        refusal(await node.ask(InputsRequest(execution_id=ExecutionId("e-x"))))
    assert "X-Amz" not in caplog.text


async def test_a_node_that_asks_for_more_than_it_could_read_is_put_off(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, data: str
) -> None:
    monkeypatch.setattr("orchestrator.inputs.grants.URLS_AT_ONCE", 100.0)
    monkeypatch.setattr("orchestrator.inputs.grants.URLS_PER_SECOND", 0.01)
    allowed = f"InputSources.Types.S3.Allow=s3://{data}"
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=(allowed,)) as running,
        running.node("a") as node,
        running.node("b") as other,
    ):
        await node.register(input_sources=("s3",))
        await submit(running, s3(data, "many/"))
        execution = (await node.accept_assignment()).execution_id
        for _ in range(2):
            assert len((await given(node, execution)).files) == MAX_FILES_AT_ONCE
        put_off = refusal(await node.ask(InputsRequest(execution_id=execution)))
        assert (put_off.code, put_off.retryable) == ("InputsAskedTooOften", True)
        await other.register(input_sources=("s3",))
        foreign = refusal(await other.ask(InputsRequest(execution_id=execution)))
        assert foreign.code == "GrantRefused"


async def test_the_same_object_is_known_by_the_same_content_and_by_another_once_it_is_replaced(
    running: Running, node: PlayedNode, s3_server: S3Server, data: str
) -> None:
    """Whoever only says that an object has some digest is given nothing that another one had under it."""

    async def contents(*sources: dict[str, Any]) -> list[str]:
        await submit(running, *sources)
        execution = (await node.accept_assignment()).execution_id
        return [each.content for each in await all_given(node, execution)]

    digest = hashlib.sha256(b"1").hexdigest()
    one, again, claimed, other = await contents(
        s3(data, "one"), s3(data, "one"), s3(data, "other", ChecksumSHA256=digest), s3(data, "other")
    )
    assert one == again
    assert len({one, claimed, other}) == 3
    assert digest not in claimed
    await asyncio.to_thread(put_objects, s3_server, data, {"one": b"2"})
    (replaced,) = await contents(s3(data, "one"))
    assert replaced != one
    await asyncio.to_thread(put_objects, s3_server, data, {"one": b"1"})
