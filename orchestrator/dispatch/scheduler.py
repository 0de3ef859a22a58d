"""The scheduler: the leader's loop, which wakes at every change and does what follows from it.

What should happen is decided by pure functions (lifecycle, placement); here it is written down and set in motion.
"""

import asyncio
import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Container, Iterator
from functools import partial
from itertools import chain

from orchestrator.dispatch.assignments import Offers
from orchestrator.dispatch.commands import Commands
from orchestrator.dispatch.drains import Drains
from orchestrator.dispatch.ends_in_vain import end_in_vain
from orchestrator.dispatch.second_opinion import asks_others
from orchestrator.dispatch.steps import Steps, TakenStep
from orchestrator.dispatch.targets import Targets
from orchestrator.nodes.node_changes import tell_suspicions
from orchestrator.nodes.presence import Nodes
from orchestrator.rules import time_outs
from orchestrator.rules.attempts import has_failed_by_exit_code, is_refused, may_be_tried_again
from orchestrator.rules.fair_share import Lately, Shares, in_turn
from orchestrator.rules.fleet import Shape
from orchestrator.rules.job_progress import Progress, job_transition
from orchestrator.rules.life_events import ExecutionEvent, ExecutionLost, GivenUp, NotBegun, Unattended, Withdrawn
from orchestrator.rules.lifecycle import placed
from orchestrator.rules.location import Location
from orchestrator.rules.placement import AtHand, Placement, Wanted, nowhere, plan, unshared
from orchestrator.rules.records import ExecutionRecord, about_execution
from orchestrator.rules.replicas.agreement import owners_of
from orchestrator.rules.time_outs import SilenceLimits
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from orchestrator.telemetry.measures import Measures
from shared.errors import MessagingUnavailable
from shared.ids import ExecutionId, JobId, NodeId, execution_key, new_execution_id
from shared.jobs.capacity import Capacity
from shared.jobs.publisher_params import is_plain
from shared.jobs.replicas.verification import replicas_of
from shared.jobs.rules import MANAGED, capacity_of
from shared.jobs.spec import OPS
from shared.jobs.states import DesiredState, ExecutionState, FailureReason, JobState
from shared.runtime.aio import pipelined
from shared.runtime.log_lines import about

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
    """`locate` says where a result of this execution goes, which may be plain.

    `unreachable` says which publishers which nodes cannot use. `judge` is told when replicas may have to be judged.
    """

    def __init__(
        self,
        model: Model,
        store: Store,
        nodes: Nodes,
        offers: Offers,
        steps: Steps,
        *,
        locate: Callable[[str, JobId, ExecutionId, bool], Location],
        unreachable: Callable[[], dict[NodeId, dict[str, str]]],
        publish_seconds: float,
        silence: SilenceLimits,
        commands: Commands,
        measures: Measures,
        at_hand: AtHand = nowhere,
        judge: Callable[[], None] = lambda: None,
    ) -> None:
        self._model = model
        self._store = store
        self._nodes = nodes
        self._offers = offers
        self._steps = steps
        self._locate = locate
        self._unreachable = unreachable
        self._publish_seconds = publish_seconds
        self._silence = silence
        self._commands = commands
        self._heard_since = now_ns()
        self._drains = Drains(model, nodes, offers)
        self._measures = measures
        self._lately = Lately()
        self._at_hand = at_hand
        self._judge = judge
        self._targets = Targets(model, store, nodes)

    async def run(self) -> None:
        """Decide and act until cancelled: at each change about what it may have changed, and by the clock."""
        ticked_at = -math.inf
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds_to_next_look()):
                    await self._model.wake.wait()
            self._model.find_out()
            self._model.wake.clear()
            is_tick = time.monotonic() - ticked_at >= TICK_SECONDS
            try:
                if is_tick:
                    ticked_at = time.monotonic()
                    self._look_at_shares()
                    self._offers.offer_open()
                    await self._end_overdue()
                    await self._take_from_limited()
                    await tell_suspicions(self._model, self._store, self._nodes.conduct)
                await self._cancel_surplus()
                self._judge()
                self._drains.take_back(time.monotonic())
                await self._take_back_from_leaving()
                await self._take_from_rejected()
                self._model.backlog.release(now_ns())
                await end_in_vain(self._model, self._store)
                await self._look_at_targets(is_tick=is_tick)
                await self._place()
                if is_tick:
                    await self._fail_overdue()
                await asyncio.sleep(PAUSE_SECONDS)
            except MessagingUnavailable as error:
                _log.warning("Nothing can be decided at present: %s", error.message)
                await asyncio.sleep(RETRY_SECONDS)
                self._model.wake.set()

    def _seconds_to_next_look(self) -> float:
        due = self._model.backlog.waiting.instant
        return TICK_SECONDS if due is None else max(0.0, min(TICK_SECONDS, (due - now_ns()) / 1e9))

    # ---- what time makes of executions --------------------------------------------------------------------------

    async def _end_overdue(self) -> None:
        """End what silent nodes will not end any more, and what others should have ended by themselves."""
        silent, now = frozenset(self._nodes.sweep()), now_ns()
        overdue: list[ExecutionRecord] = []

        def end_of(record: ExecutionRecord) -> ExecutionEvent | None:
            return self._made_by_time(record, now, silent=record.node_id in silent)

        for node, live in self._model.executions.live.items():
            for record in live.values():
                event = end_of(record)
                if event is not None:
                    overdue.append(record)
                    if isinstance(event, Unattended):
                        self._nodes.on_unattended(node)
        await pipelined(overdue, lambda record: self._step(record, end_of), at_once=WRITES_AT_ONCE)

    def _made_by_time(self, record: ExecutionRecord, now: int, *, silent: bool) -> ExecutionEvent | None:
        entry = self._model.jobs.get(record.job_id)
        if silent:
            return time_outs.of_silent_node(record, publish_seconds=self._publish_seconds, now=now)
        if entry is None or record.awaits_agreement:
            return None
        if record.state is ExecutionState.NEW:
            return self._nodes.unattended(record, self._silence)
        return time_outs.of_execution(
            record,
            entry.specs[record.job_version].task.timeouts,
            publish_seconds=self._publish_seconds,
            heard_since=self._heard_since,
            now=now,
        )

    async def _take_back_from_leaving(self) -> None:
        async def take_back(record: ExecutionRecord) -> None:
            event = NotBegun(f"Handed back by node {record.node_id}, which is stopping")
            await self._step(record, lambda _: event)

        await pipelined(self._nodes.never_to_begin(), take_back, at_once=WRITES_AT_ONCE)

    async def _take_from_rejected(self) -> None:
        """Also what is or was published there and awaits agreement: nothing counts any more that such a node says."""

        async def take(record: ExecutionRecord) -> None:
            why = f"Node {record.node_id} was rejected"
            event = ExecutionLost(FailureReason.NODE_LOST, why, disowned=True)
            await self._step(record, lambda _: event)

        live = (each for node in self._model.rejected for each in self._model.executions.live.get(node, {}).values())
        await pipelined(list(live), take, at_once=WRITES_AT_ONCE)

    async def _take_from_limited(self) -> None:
        """What a node holds that it may not hold by what is allowed to it now, as a new token may say less."""

        async def take(record: ExecutionRecord) -> None:
            event = ExecutionLost(
                FailureReason.NODE_LOST, f"Node {record.node_id} may not serve its namespace any more"
            )
            await self._step(record, lambda _: event)

        held = (
            record
            for node, binding in self._model.bindings.items()
            if binding.namespaces or binding.unapproved
            for record in self._model.executions.live.get(node, {}).values()
        )
        await pipelined([each for each in held if not self._model.may_hold(each)], take, at_once=WRITES_AT_ONCE)

    async def fail_missing(self, record: ExecutionRecord) -> None:
        """The node has registered and does not hold this execution any more: as if it had said that it failed."""
        reason, detail = FailureReason.NODE_RESTARTED, f"Node {record.node_id} does not know this execution any more"
        may_ask = self._model.max_attempts > 1

        def lost(current: ExecutionRecord) -> ExecutionLost:
            entry = self._model.jobs.get(current.job_id)
            excused = may_ask and entry is not None and asks_others(current, reason, entry, self._nodes)
            return ExecutionLost(reason, detail, excused)

        taken = await self._step(record, lost)
        if taken is not None and taken.has_moved and taken.before.state.holds_capacity:
            self._nodes.on_failure(taken.step.record)

    async def _step(
        self, record: ExecutionRecord, event: Callable[[ExecutionRecord], ExecutionEvent | None]
    ) -> TakenStep | None:
        """Have this happen to the execution, and do what follows from that."""
        taken = await self._steps.happen(record.id, event)
        if taken is not None:
            if taken.has_moved:
                _log.info("Execution %s is %s.", record.id, taken.step.record.state, extra=about_execution(record))
            self._commands.carry_out(taken.step.commands)
        return taken

    # ---- executions that should stop --------------------------------------------------------------------------------

    async def _cancel_surplus(self) -> None:
        surplus = [each for job in list(self._model.backlog.surplus) for each in self._model.jobs[job].progress.surplus]
        await pipelined(surplus, self._cancel_one, at_once=WRITES_AT_ONCE)

    async def _cancel_one(self, record: ExecutionRecord) -> None:
        entry = self._model.jobs.get(record.job_id)
        if entry is not None:  # else it has ended and was deleted meanwhile
            event = Withdrawn(self._why_cancelled(entry, record))
            await self._step(record, lambda _: event)

    @staticmethod
    def _why_cancelled(entry: JobEntry, record: ExecutionRecord) -> str:
        if entry.job.desired is DesiredState.STOPPED:
            return "Stopped because the job was stopped"
        if record.job_version != entry.job.version:
            return f"Stopped because version {entry.job.version} of the job replaces it"
        if entry.spec.verification and entry.progress.state is not JobState.FAILED:
            return "Stopped because other replicas of its part agree"
        return "Stopped because the job has failed"

    # ---- executions that should start -------------------------------------------------------------------------------

    async def _look_at_targets(self, *, is_tick: bool) -> None:
        """Choose the nodes of ops jobs whose turn it is, and end the parts whose nodes are gone."""
        if not self._model.backlog.each_node:
            return
        entries = [self._model.jobs[job] for job in self._model.backlog.each_node]
        fleet, now = self._nodes.fleet(self._unreachable()), now_ns()
        hopeless = await self._targets.choose([wanted_of(self._model, now, each) for each in entries], fleet)
        failing = {job: why for job, why in hopeless.items() if not self._may_wait(job)}
        versions = {job: self._model.jobs[job].job.version for job in failing}
        await pipelined(failing, lambda job: self._fail_job(job, versions[job], failing[job]), at_once=WRITES_AT_ONCE)
        if is_tick:
            left = [self._model.jobs[job] for job in self._model.backlog.each_node]
            await self._targets.end_gone([wanted_of(self._model, now, each) for each in left], fleet)

    async def _place(self) -> None:
        fleet, blocked = self._nodes.fleet(self._unreachable()), dict[Shape, str]()
        shares = self._shares(fleet.total) if self._model.backlog.pending.is_shared else None
        ordered = wanted(self._model, now_ns(), blocked, shares)
        charge = shares.charge if shares is not None else unshared
        at_hand = self._at_hand
        planned = plan(ordered, fleet, limit=PLACED_AT_ONCE, blocked=blocked, charge=charge, at_hand=at_hand)
        reasons = planned.waiting | planned.impossible
        versions = {job: self._model.jobs[job].job.version for job in reasons}
        await pipelined(planned.placements, self._start, at_once=WRITES_AT_ONCE)
        for job, reason in reasons.items():
            if self._is_newest(job, versions[job]):
                self._model.backlog.explain(job, reason)
        for shape, reason in blocked.items():
            self._model.backlog.explain_next(shape, reason, EXPLAINED_AT_ONCE)

        async def fail(job: JobId) -> None:
            await self._fail_job(job, versions[job], planned.impossible[job])

        hopeless = [job for job in planned.impossible if not self._may_wait(job)]
        await pipelined(hopeless, fail, at_once=WRITES_AT_ONCE)
        if len(planned.placements) >= PLACED_AT_ONCE:
            self._model.wake.set()

    def _shares(self, total: Capacity) -> Shares:
        return Shares(self._model.namespaces.held, total, self._model.namespaces.weights, self._lately.of)

    def _look_at_shares(self) -> None:
        total = self._nodes.fleet(self._unreachable()).total
        shares = {namespace: held.share(total) for namespace, held in self._model.namespaces.held.items()}
        self._lately.look(time.monotonic(), shares)

    async def _start(self, placement: Placement) -> None:
        incarnation = self._model.incarnation
        key = execution_key(placement.job_id, placement.version, placement.partition, placement.attempt, incarnation)
        if placement.owner:  # a node could find out the ids of its part's other replicas
            key = f"{key}.{os.urandom(16).hex()}"
        execution, entry = new_execution_id(key), self._model.jobs.get(placement.job_id)
        if entry is None:  # it was stopped and deleted meanwhile
            return
        spec = entry.specs[placement.version]
        location, publisher = None, spec.task.publisher
        if publisher.type.lower() == MANAGED:
            location = self._locate(spec.namespace, placement.job_id, execution, is_plain(publisher))
        now = now_ns()
        step = placed(execution, placement, location, incarnation=incarnation, now=now)
        self._model.backlog.unexplain(placement.job_id)  # before it is known that others have to wait for this one
        if not await changes.create(self._store, step.record):
            known = about(execution=execution, job=placement.job_id)
            _log.info("Execution %s exists already; it was decided before.", execution, extra=known)
            return
        self._commands.carry_out(step.commands)
        if placement.attempt == 0:
            self._measures.placed(now - (entry.waits_since or now))
        about_it = about(execution=execution, job=placement.job_id, node=placement.node_id)
        _log.debug("Execution %s is placed on node %s.", execution, placement.node_id, extra=about_it)

    def _is_newest(self, job: JobId, version: int) -> bool:
        """Whether what was decided about this version is still about what the job is."""
        entry = self._model.jobs.get(job)
        return entry is not None and entry.job.version == version

    def _may_wait(self, job: JobId) -> bool:
        """A job that no node can run waits for one only where it has a queue time-out; a busy cluster is waited for.

        Once something of it was placed, so long after the last that happened to it.
        """
        entry = self._model.jobs.get(job)
        if entry is None:
            return True
        most = entry.spec.task.timeouts.queue_timeout * 10**9
        return most > 0 and (not any(_of_version(entry)) or now_ns() - entry.modified < most)

    async def _fail_overdue(self) -> None:
        """Fail the jobs whose time is over, also where their nodes are silent: the queue's, or that for all of it."""
        now = now_ns()
        due = self._model.backlog.deadlines.until(now)
        overdue = {
            job: (entry.job.version, f"{late} {self._model.backlog.reasons.get(job, '')}".strip())
            for job in due
            if (late := _lateness(entry := self._model.jobs[job], now))
        }
        await pipelined(overdue, lambda job: self._fail_job(job, *overdue[job]), at_once=WRITES_AT_ONCE)

    async def _fail_job(self, job: JobId, version: int, message: str) -> None:
        """Have this version of the job fail, unless there is a newer one."""
        entry = self._model.jobs.get(job)
        if entry is None or not self._is_newest(job, version):
            return
        self._model.backlog.unexplain(job)
        if entry.progress.state.is_terminal:
            return
        step = job_transition(entry.job, entry.progress.state, GivenUp(message), now=now_ns())
        await changes.update(self._store, step.record)  # where it has changed, it is looked at again in a second


def wanted(model: Model, now: int, blocked: Container[Shape] = (), shares: Shares | None = None) -> Iterator[Wanted]:
    """What is not executed yet, but for the shapes that are blocked: each namespace in its turn, by `shares` if given.

    Of one namespace it is the most urgent first, then the oldest.
    """
    lines = {
        namespace: (wanted_of(model, now, each) for each in entries if not each.lacks_targets)
        for namespace, entries in model.pending_jobs(blocked).items()
    }
    return chain.from_iterable(lines.values()) if shares is None or len(lines) < 2 else in_turn(lines, shares)


def wanted_of(model: Model, now: int, entry: JobEntry) -> Wanted:
    """What of this job is not executed yet."""
    is_ops = entry.spec.type == OPS  # so that nobody else may be asked
    return Wanted(
        job_id=entry.id,
        version=entry.job.version,
        job=entry.spec,
        resources=capacity_of(entry.spec.task.resources),
        missing=_due(entry.progress, partial(model.backlog.is_due, entry)),
        refused_by={} if is_ops else {each.node_id: _reason(each) for each in _of_version(entry) if is_refused(each)},
        failed_on=frozenset(each.node_id for each in _of_version(entry) if _did_badly(each)),
        waiting_seconds=(now - (entry.waits_since or now)) / 1e9,
        targets=entry.job.targets,
        replicas=replicas_of(entry.spec),
        owners=owners_of(_of_version(entry), model.owner_of) if entry.spec.verification else {},
    )


def _due(progress: Progress, is_due: Callable[[int], bool]) -> tuple[tuple[int, int], ...]:
    """Without the parts that wait after a failed attempt, and as many as may run beside those that do.

    They are the first ones, so that a leader that was replaced and the next decide about the same parts.
    """
    due = progress.missing
    if progress.waits:
        due = tuple(each for each in due if is_due(progress.waits.get(each[0], 0)))
    return due[: progress.room]


def _lateness(entry: JobEntry, now: int) -> str:
    since = entry.waits_since
    if since is None:
        return ""
    return time_outs.of_job(since, entry.spec.task.timeouts, is_placed=any(_of_version(entry)), now=now)


def _of_version(entry: JobEntry) -> Iterator[ExecutionRecord]:
    return (each for each in entry.executions.values() if each.job_version == entry.job.version)


def _did_badly(record: ExecutionRecord) -> bool:
    """Whether it may go better elsewhere; by its own exit code a task fails anywhere."""
    return may_be_tried_again(record) and not has_failed_by_exit_code(record)


def _reason(record: ExecutionRecord) -> str:
    return record.failure.detail or record.failure.reason if record.failure else ""
