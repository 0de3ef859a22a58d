"""Over NATS, what is told of a job with ten thousand parts comes in answers that fit into a message."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.rules.location import Location
from orchestrator.rules.records import Event, ExecutionRecord, VerifiedResult, with_event
from orchestrator.state.model import Model
from orchestrator.storage.store import Store
from shared.ids import JobId, execution_key, new_execution_id
from shared.jobs.states import ExecutionState
from shared.messaging.transport import MAX_PAYLOAD_BYTES, connect
from shared.protocol import subjects
from shared.runtime.aio import pipelined
from tests.builders import new_execution, new_job, new_job_record, new_task
from tests.integration.orchestrator.nats_api.test_integrations import ask, program
from tests.integration.running import Running, running_orchestrator
from tests.servers import REGION, S3Server

PARTS = 10_000
NOW = time.time_ns()  # what ended long ago is removed
JOB = JobId("j-large")
RESULT = VerifiedResult(etag='"e"', size_bytes=1, sha256="f" * 64, index_bytes=1, index_sha256="f" * 64)


@pytest.fixture
async def running(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    async with running_orchestrator(tmp_path, s3_server, monkeypatch) as made:
        yield made


def execution(running: Running, part: int) -> tuple[str, ExecutionRecord]:
    key = execution_key(JOB, 1, part, 0)
    own = new_execution_id(key)
    s3 = running.config.publishers.types.s3managed
    events = with_event((), Event(time=NOW + part, topic="Scheduling", message="Placed on node n-1"))
    events = with_event(
        events, Event(time=2 + part, topic="Publishing Results", message="Result published and verified")
    )
    return subjects.execution_record(key), new_execution(
        ExecutionState.COMPLETED,
        of=JOB,
        partition=part,
        id=own,
        create_time=NOW + part // 100,
        modify_time=NOW + part,
        location=Location(bucket=s3.bucket, key=f"results/{JOB}/{own}.tar.gz", region=REGION, endpoint=s3.endpoint),
        result=RESULT,
        events=events,
    )


async def store_job(running: Running) -> None:
    """As if it had run; its record comes last, so that nobody places anything."""
    seed = (running.config.data_dir / "orchestrator" / "secrets" / "orchestrator.nkey").read_text().strip()
    async with connect([running.server], name="test", nkey_seed=seed) as connection:
        await connection.wait_connected()
        store = Store(connection, Model(max_attempts=3))

        async def create(part: int) -> None:
            await store.create(*execution(running, part))

        await pipelined(range(PARTS), create, at_once=256)
        task = new_task(publisher="s3managed")
        record = new_job_record(
            JOB,
            at=NOW,
            modify_time=NOW + PARTS,
            events=with_event((), Event(time=NOW, topic="Submission", message="Job submitted")),
            first=new_job(JOB, count=PARTS, tasks=(task,)),
        )
        await store.create(subjects.job_record(JOB), record)


async def test_each_item_of_a_large_job_comes_once_in_answers_that_fit(running: Running) -> None:
    await store_job(running)
    await running.wait_state(JOB, "Completed")

    async def whole(client: Any, what: str, part: str = "", **body: Any) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        token = ""
        while True:
            answer = await ask(client, what, {"JobID": JOB, **body, "NextToken": token})
            assert "Code" not in answer, answer
            assert len(json.dumps(answer, separators=(",", ":"))) <= MAX_PAYLOAD_BYTES
            page = answer[part] if part else answer
            items += page["Items"]
            token = page["NextToken"]
            if not token:
                return items

    async with program(running) as client:
        results = await whole(client, "jobs.results")
        assert [each["Params"]["PartitionIndex"] for each in results] == list(range(PARTS))
        history = await whole(client, "jobs.history")
        numbers = [each["SeqNum"] for each in history]
        assert numbers == sorted(set(numbers))
        assert len(numbers) == 2 * PARTS + 2
        executions = await whole(client, "jobs.get", "Executions", Include=["executions", "history"])
        assert len({each["ID"] for each in executions}) == len(executions) == PARTS
        both = await ask(client, "jobs.get", {"JobID": JOB, "Include": ["executions", "history"]})
        rest = await whole(client, "jobs.history", AfterSeqNum=int(both["History"]["NextToken"]))
        assert both["History"]["Items"] + rest == history
        assert (await ask(client, "jobs.results", {"JobID": JOB, "NextToken": "x"}))["Code"] == "InvalidInput"
