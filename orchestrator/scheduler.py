"""What is done about jobs and nodes: the leader's loop, which wakes at every change and acts on what follows from it.

What should happen is decided by pure functions (lifecycle, placement); here it is written down and set in motion.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Container, Iterator

import msgspec

from orchestrator.assignments import Offers
from orchestrator.fleet import Shape
from orchestrator.job_entry import JobEntry
from orchestrator.lifecycle import cancelled, failed, is_refused
from orchestrator.measures import Measures
from orchestrator.model import Model
from orchestrator.nodes import Nodes
from orchestrator.placement import Placement, Wanted, plan
from orchestrator.records import Event, ExecutionRecord, Location, about_execution, with_event
from orchestrator.store import Store
from orchestrator.times import now_ns
from shared import subjects
from shared.aio import pipelined
from shared.errors import IllegalTransition, MessagingUnavailable, RevisionConflict
from shared.ids import ExecutionId, JobId, NodeId, execution_key, new_execution_id
from shared.job_rules import MANAGED, capacity_of
from shared.logs import about
from shared.states import DesiredState, ExecutionState, FailureReason

_log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.002
"""Between two looks: changes that come this close together are decided about together, after the first."""
TICK_SECONDS = 1.0
"""How often time alone is looked at: silent nodes, jobs that have waited for too long."""
RETRY_SECONDS = 0.5
PLACED_AT_ONCE = 256
WRITES_AT_ONCE = 64
EXPLAINED_AT_ONCE = 256
"""To how many jobs behind one that has to wait it is said why, each time; to the others by and by."""


class Scheduler:
    """`locate` says where a result of this execution goes; `unreachable` which publishers which nodes cannot use."""

    def __init__(
        self,
        model: Model,
        store: Store,
        nodes: Nodes,
        offers: Offers,
        *,
        locate: Callable[[JobId, ExecutionId], Location],
        unreachable: Callable[[], dict[NodeId, dict[str, str]]],
        publish_seconds: float,
        measures: Measures,
    ) -> None:
        self._model = model
        self._store = store
        self._nodes = nodes
        self._offers = offers
        self._locate = locate
        self._unreachable = unreachable
        self._publish_seconds = publish_seconds
        self._measures = measures

    async def run(self) -> None:
        """Decide and act until cancelled: at each change about what it may have changed, and by the clock."""
        ticked_at = -math.inf
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._model.wake.wait()
            self._model.wake.clear()
            is_tick = time.monotonic() - ticked_at >= TICK_SECONDS
            try:
                if is_tick:
                    ticked_at = time.monotonic()
                    self._offers.offer_open()
                    await self._fail_lost()
                await self._cancel_surplus()
                await self._place()
                if is_tick:
                    await self._fail_overdue()
                await asyncio.sleep(PAUSE_SECONDS)
            except MessagingUnavailable as error:
                _log.warning("Nothing can be decided at present: %s", error.message)
                await asyncio.sleep(RETRY_SECONDS)
                self._model.wake.set()

    # ---- nodes that are gone ----------------------------------------------------------------------------------------

    async def _fail_lost(self) -> None:
        lost = [record for node in self._nodes.sweep() for record in self._model.live[node].values()]
        await pipelined([each for each in lost if self._is_given_up(each)], self._fail_one, at_once=WRITES_AT_ONCE)

    def _is_given_up(self, record: ExecutionRecord) -> bool:
        """A finished result on a silent node is worth waiting for: its task would have to run again."""
        if record.state is not ExecutionState.PUBLISHING:
            return True
        return now_ns() - record.modify_time > self._publish_seconds * 1e9

    async def _fail_one(self, record: ExecutionRecord) -> None:
        detail = f"Node {record.node_id} has disappeared"
        await self.write(record, lambda current: failed(current, FailureReason.NODE_LOST, detail, now=now_ns()))

    async def fail_missing(self, record: ExecutionRecord) -> None:
        """The node has registered and does not hold this execution any more."""
        detail = f"Node {record.node_id} does not know this execution any more"
        await self.write(record, lambda current: failed(current, FailureReason.NODE_RESTARTED, detail, now=now_ns()))

    async def write(self, record: ExecutionRecord, step: Callable[[ExecutionRecord], ExecutionRecord]) -> None:
        """Take the step from the newest state of the execution, unless it has ended or moves meanwhile."""
        current = self._model.execution(record.id)
        if current is None or current.state.is_terminal:
            return
        key = execution_key(record.job_id, record.job_version, record.partition, record.attempt)
        try:
            after = step(current)
            await self._store.update(subjects.execution_record(key), after)
            _log.info("Execution %s is %s.", after.id, after.state, extra=about_execution(after))
        except (RevisionConflict, IllegalTransition) as error:
            _log.info("Execution %s moved meanwhile: %s", record.id, error.message, extra=about(execution=record.id))
            await self._store.read(subjects.execution_record(key))

    # ---- executions that should stop --------------------------------------------------------------------------------

    async def _cancel_surplus(self) -> None:
        surplus = [each for job in list(self._model.surplus) for each in self._model.jobs[job].progress.surplus]
        await pipelined(surplus, self._cancel_one, at_once=WRITES_AT_ONCE)

    async def _cancel_one(self, record: ExecutionRecord) -> None:
        entry = self._model.jobs.get(record.job_id)
        if entry is None:  # it has ended and was deleted meanwhile
            return
        reason = self._why_cancelled(entry, record)
        await self.write(record, lambda current: cancelled(current, reason, now=now_ns()))
        self._offers.cancel(record, reason)

    @staticmethod
    def _why_cancelled(entry: JobEntry, record: ExecutionRecord) -> str:
        if entry.job.desired is DesiredState.STOPPED:
            return "Stopped because the job was stopped"
        if record.job_version != entry.job.version:
            return f"Stopped because version {entry.job.version} of the job replaces it"
        return "Stopped because the job has failed"

    # ---- executions that should start -------------------------------------------------------------------------------

    async def _place(self) -> None:
        fleet, blocked = self._nodes.fleet(self._unreachable()), dict[Shape, str]()
        planned = plan(self._wanted(blocked), fleet, limit=PLACED_AT_ONCE, blocked=blocked)
        self._model.touched.update(each.node_id for each in planned.placements)
        await pipelined(planned.placements, self._start, at_once=WRITES_AT_ONCE)
        for job, reason in (planned.waiting | planned.impossible).items():
            self._model.explain(job, reason)
        for shape, reason in blocked.items():
            for job in self._model.pending.take_unexplained(shape, EXPLAINED_AT_ONCE):
                self._model.explain(job, reason)
        hopeless = [job for job in planned.impossible if not self._may_wait(job)]
        await pipelined(hopeless, lambda job: self._fail_job(job, planned.impossible[job]), at_once=WRITES_AT_ONCE)
        if len(planned.placements) >= PLACED_AT_ONCE:
            self._model.wake.set()

    def _wanted(self, blocked: Container[Shape]) -> Iterator[Wanted]:
        for job, entry in self._model.pending_jobs(blocked):
            yield Wanted(
                job_id=job,
                version=entry.job.version,
                job=entry.spec,
                resources=capacity_of(entry.spec.task.resources),
                missing=entry.progress.missing,
                refused_by={each.node_id: _reason(each) for each in _of_version(entry) if is_refused(each)},
                failed_on=frozenset(each.node_id for each in _of_version(entry) if _failed(each)),
            )

    async def _start(self, placement: Placement) -> None:
        key = execution_key(placement.job_id, placement.version, placement.partition, placement.attempt)
        execution, entry = new_execution_id(key), self._model.jobs.get(placement.job_id)
        if entry is None:  # it was stopped and deleted meanwhile
            return
        spec = entry.specs[placement.version]
        managed = spec.task.publisher.type.lower() == MANAGED
        now = now_ns()
        record = ExecutionRecord(
            id=execution,
            job_id=placement.job_id,
            job_version=placement.version,
            partition=placement.partition,
            attempt=placement.attempt,
            node_id=placement.node_id,
            resources=placement.resources,
            location=self._locate(placement.job_id, execution) if managed else None,
            events=(Event(time=now, topic="Scheduling", message=f"Placed on node {placement.node_id}"),),
            create_time=now,
            modify_time=now,
        )
        try:
            await self._store.create(subjects.execution_record(key), record)
        except RevisionConflict:
            known = about(execution=execution, job=placement.job_id)
            _log.info("Execution %s exists already; it was decided before.", execution, extra=known)
            await self._store.read(subjects.execution_record(key))
        else:
            self._model.unexplain(placement.job_id)
            self._offers.offer(record)
            if placement.attempt == 0:
                self._measures.placed(now - entry.job.submit_time)
            about_it = about(execution=execution, job=placement.job_id, node=placement.node_id)
            _log.debug("Execution %s is placed on node %s.", execution, placement.node_id, extra=about_it)

    def _may_wait(self, job: JobId) -> bool:
        """A job that no node can run waits for one only where it has a queue time-out; a busy cluster is waited for."""
        return self._model.jobs[job].spec.task.timeouts.queue_timeout > 0

    async def _fail_overdue(self) -> None:
        """Fail the jobs whose time is over, also where their nodes are silent: the queue's, or that for all of it."""
        now = now_ns()
        due = self._model.deadlines.until(now)
        overdue = {job: late for job in due if (late := _lateness(self._model.jobs[job], now))}

        async def fail(job: JobId) -> None:
            await self._fail_job(job, f"{overdue[job]} {self._model.reasons.get(job, '')}".strip())

        await pipelined(overdue, fail, at_once=WRITES_AT_ONCE)

    async def _fail_job(self, job: JobId, message: str) -> None:
        entry = self._model.jobs.get(job)
        self._model.unexplain(job)
        if entry is None or entry.progress.state.is_terminal:
            return
        now = now_ns()
        event = Event(time=now, topic="Scheduling", message=message, details={"IsError": "true"})
        after = msgspec.structs.replace(
            entry.job, failure=message, modify_time=now, events=with_event(entry.job.events, event)
        )
        try:
            await self._store.update(subjects.job_record(job), after)
        except RevisionConflict:
            await self._store.read(subjects.job_record(job))


def _lateness(entry: JobEntry, now: int) -> str:
    """Which of the job's time-outs is over, in words; empty if none is."""
    timeouts, age = entry.spec.task.timeouts, now - entry.job.submit_time
    if 0 < timeouts.total_timeout * 1e9 < age:
        return f"Not ended within its total time-out of {timeouts.total_timeout} s."
    if 0 < timeouts.queue_timeout * 1e9 < age and not any(_of_version(entry)):
        return f"Not started within its queue time-out of {timeouts.queue_timeout} s."
    return ""


def _of_version(entry: JobEntry) -> Iterator[ExecutionRecord]:
    return (each for each in entry.executions.values() if each.job_version == entry.job.version)


def _reason(record: ExecutionRecord) -> str:
    return record.failure.detail or record.failure.reason if record.failure else ""


def _failed(record: ExecutionRecord) -> bool:
    return record.state in {ExecutionState.FAILED, ExecutionState.REJECTED}
