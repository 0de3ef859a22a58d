"""Verdicts about replicas are written down once each, wherever the leader dies that writes them."""

import asyncio
from typing import Any

import pytest

from orchestrator.dispatch.answers import ReplicaAnswers
from orchestrator.dispatch.judgements import Judgements
from orchestrator.dispatch.steps import Steps
from orchestrator.rules.records import NodeRecord, Record, VerifiedResult
from orchestrator.s3.locations import Locations
from orchestrator.state.model import Model
from orchestrator.storage.store import Store
from orchestrator.telemetry.measures import Measures
from shared.ids import ExecutionId, JobId, NodeId
from shared.jobs.spec import Verification
from shared.jobs.states import ExecutionState, JobState
from shared.protocol.messages import NodeInfo, RunOutput
from shared.runtime.aio import background
from tests.builders import new_execution, new_job, new_job_record
from tests.nats_bus import Bus

JOB = JobId("j-1")
S = ExecutionState


class Died(Exception):
    """The leader has."""


class Leader:
    """Of a job of which these are the answers, each of a node of its own."""

    def __init__(self, bus: Bus) -> None:
        self.store = Store(bus.connection, Model(max_attempts=1))
        self.counted: list[ExecutionId] = []
        steps, answers = Steps(self.store.model, self.store), ReplicaAnswers(Locations(None))
        self.judgements = Judgements(
            self.store.model, self.store, steps, answers, measures=Measures(), on_verified=self.counted.append
        )

    async def submit(self, *answers: str, job_id: JobId = JOB) -> None:
        agree = Verification(replicas=len(answers), quorum=len(answers) // 2 + 1, of="result")
        job = new_job(job_id, namespace="default", verification=agree)
        await self.store.create(f"job.{job_id}", new_job_record(job_id, first=job))
        for attempt, answer in enumerate(answers):
            node = NodeRecord(info=NodeInfo(node_id=NodeId(f"n-{attempt}"), version="1"))
            if node.info.node_id not in self.store.model.nodes:
                await self.store.create(node.key, node)
            replica = new_execution(
                S.PUBLISHING,
                of=job_id,
                attempt=attempt,
                on=f"n-{attempt}",
                answer=answer,
                output=RunOutput(),
                result=VerifiedResult(etag="e", size_bytes=1, sha256=""),
            )
            await self.store.create(replica.key, replica)

    async def judge(self) -> None:
        async with background(judgements=self.judgements.run()):
            while self.store.model.backlog.judged:
                self.judgements.look()
                await asyncio.sleep(0)

    @property
    def ends(self) -> list[tuple[S, str]]:
        known = sorted(self.store.model.jobs[JOB].executions.values(), key=lambda each: each.attempt)
        return [(each.state, each.failure.reason if each.failure else "") for each in known]

    def differed(self) -> list[int]:
        return [self.store.model.nodes[NodeId(f"n-{each}")].differed for each in range(3)]


async def test_the_quorum_completes_and_who_differs_is_noted_once(bus: Bus) -> None:
    leader = Leader(bus)
    await leader.submit("a", "b", "a")
    await leader.judge()
    assert leader.ends == [(S.COMPLETED, ""), (S.FAILED, "ResultDiffers"), (S.COMPLETED, "")]
    assert leader.differed() == [0, 1, 0]
    assert len(leader.counted) == 2
    assert leader.store.model.jobs[JOB].progress.state is JobState.COMPLETED
    (noted,) = leader.store.model.nodes[NodeId("n-1")].differences
    assert (noted.job, noted.detail.count("node n-")) == (JOB, 2)


async def test_replicas_that_cannot_agree_all_fail_and_nothing_is_noted(bus: Bus) -> None:
    leader = Leader(bus)
    await leader.submit("a", "b", "c")
    await leader.judge()
    assert leader.ends == [(S.FAILED, "NoAgreement")] * 3
    assert leader.differed() == [0, 0, 0]
    assert not leader.counted
    progress = leader.store.model.jobs[JOB].progress
    assert progress.state is JobState.FAILED
    assert (
        "2 of 3 replicas have to agree, and cannot any more: node n-0 gave a, and node n-1 gave b" in progress.message
    )


async def test_what_is_agreed_about_does_not_wait_until_it_is_told_where_others_differ(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, other, asked, seen = Leader(bus), JobId("j-2"), list[object](), list[bool]()
    await leader.submit(*"abcdefghi")

    async def where(*which: object) -> str:
        asked.append(which)
        if len(asked) == 1:
            await leader.submit("a", "a", job_id=other)
        seen.append(other in leader.store.model.jobs and leader.store.model.jobs[other].progress.state.is_terminal)
        return ""

    monkeypatch.setattr(Judgements, "_where", where)
    await leader.judge()
    assert seen[-1]
    assert leader.store.model.jobs[other].progress.state is JobState.COMPLETED


@pytest.mark.parametrize("writes", range(4))
async def test_a_leader_that_dies_after_any_of_its_writes_leaves_the_rest_to_the_next(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    first, second = Leader(bus), Leader(bus)
    await first.submit("a", "b", "a")
    genuine, left = Store.update, [writes]

    async def update(of: Store, key: str, record: Record, **more: Any) -> None:
        if not left[0]:
            raise Died
        left[0] -= 1
        await genuine(of, key, record, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "update", update)
        with pytest.raises(Died):
            await first.judge()
    async with background(state=second.store.keep_model()):
        await second.store.ready.wait()
        await second.judge()
    assert second.ends == [(S.COMPLETED, ""), (S.FAILED, "ResultDiffers"), (S.COMPLETED, "")]
    assert second.differed() == [0, 1, 0]
