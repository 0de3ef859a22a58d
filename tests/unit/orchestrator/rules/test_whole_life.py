"""Whatever nodes tell, users ask and leaders miss, in whatever order: jobs, executions and capacity stay in order.

The world below has a store with revisions, two orchestrators that lead in turn and read it late, and three nodes of
which nothing is believed. Chance decides what happens next; after each step the invariants are checked in the store.
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from orchestrator.dispatch.scheduler import wanted, wanted_of
from orchestrator.dispatch.targets import never_placed
from orchestrator.jobs.submissions import kept_to_rerun
from orchestrator.nodes.presence import Nodes
from orchestrator.rules.attempts import MOST_FREE, NO_BACKOFF, Budget, cost_nothing, has_failed_by_exit_code
from orchestrator.rules.exit_codes import failure_of
from orchestrator.rules.job_progress import NO_LIMIT, Progress, job_transition, progress
from orchestrator.rules.life_events import (
    ExecutionEvent,
    ExecutionLost,
    FactTold,
    GivenUp,
    JobEvent,
    NotBegun,
    NotComparable,
    NotOffered,
    NotVerified,
    OfferRefused,
    OfferTaken,
    Outcome,
    StopAsked,
    TargetsChosen,
    TimedOut,
    Withdrawn,
)
from orchestrator.rules.lifecycle import placed, transition
from orchestrator.rules.placement import Wanted, lane_for, placement_of, plan
from orchestrator.rules.records import (
    BindingRecord,
    Event,
    ExecutionRecord,
    JobRecord,
    NodeRecord,
    Record,
    SpecRecord,
    VerifiedResult,
)
from orchestrator.rules.replicas.agreement import Terms, event_of, is_same
from orchestrator.rules.shortfalls import matching
from orchestrator.state import model
from orchestrator.state.model import Model
from shared.errors import Conflict
from shared.ids import ExecutionId, JobId, NodeId, execution_key, new_execution_id
from shared.jobs.capacity import Capacity
from shared.jobs.replicas.verification import replicas_of
from shared.jobs.spec import OPS, Job, Resources, Retries, Task, Verification
from shared.jobs.states import ExecutionState, FailureReason, JobState
from shared.protocol import subjects
from shared.protocol.messages import (
    AnyFact,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionProgressed,
    ExecutionStarted,
    NodeInfo,
    OutputPublished,
    Registration,
    RunOutput,
    TaskEnded,
)
from tests.builders import new_job, new_job_record, new_task

S = ExecutionState
SECOND = 10**9
MAX_ATTEMPTS = 3
CAPACITY = Capacity(cpu=2.0, memory=1 << 30)
NAMES = tuple(NodeId(f"n-{number}") for number in range(3))
PUBLISHED = OutputPublished(size_bytes=1, md5="", sha256="", entries=1, raw_bytes=1)
RESULT = VerifiedResult(etag="e", size_bytes=1, sha256="")
ENDED = TaskEnded(output=RunOutput(), run_seconds=1.0)
ENDED_BADLY = TaskEnded(output=RunOutput(exit_code=75), run_seconds=1.0)
FACTS: tuple[AnyFact, ...] = (
    ExecutionStarted(),
    ExecutionStarted(age_seconds=1e30),
    ENDED,
    ENDED_BADLY,
    PUBLISHED,
    ExecutionFailed(reason="NonZeroExitCode", detail="a node that says what is not for it to say"),
    ExecutionFailed(reason="TaskNotStarted", detail="no such program"),
    ExecutionFailed(reason="DiskFull", detail="the disk is full"),
    ExecutionFailed(reason="NodeRestarted", not_begun=True),
    ExecutionFailed(reason="EatenByADog"),
    ExecutionCancelled(),
    ExecutionProgressed(detail="pulling"),
)
EVENTS: tuple[ExecutionEvent, ...] = (
    *(FactTold(fact=fact, publishes=publishes, result=RESULT) for fact in FACTS for publishes in (True, False)),
    FactTold(fact=PUBLISHED, publishes=True),
    NotVerified(),
    NotComparable("too large"),
    OfferTaken(),
    OfferRefused(reason="VariableRefused"),
    OfferRefused(reason="QueueFull", retryable=True),
    OfferRefused(reason="NodeStopping", retryable=True),
    ExecutionLost(FailureReason.NODE_LOST, "gone"),
    TimedOut(FailureReason.EXECUTION_TIMED_OUT, "too long"),
    NotBegun("drained"),
    NotOffered(FailureReason.SECRET_UNAVAILABLE, "no such secret"),
)
RETRIED: tuple[ExecutionEvent, ...] = (
    OfferRefused(reason="VariableRefused"),
    OfferRefused(reason="NodeStopping", retryable=True),
    ExecutionLost(FailureReason.NODE_LOST, "gone"),
    NotBegun("drained"),
    FactTold(fact=ENDED_BADLY, publishes=True),
    FactTold(fact=ENDED_BADLY, publishes=False),
)
MOST_JOBS = 3
STEPS = (
    *("choose", "be gone"),
    *("submit", "place", "happen", "read", "register", "clean up"),
    *("drain", "silence", "lead", "update", "stop", "give up", "run again"),
)
WEIGHTS = (6, 2, 4, 30, 40, 6, 6, 3, 2, 1, 1, 1, 1, 1, 3)


def terms_of(spec: Job) -> Terms | None:
    said = spec.verification
    return Terms(replicas=said.replicas, quorum=said.quorum, max_attempts=MAX_ATTEMPTS) if said else None


class Leader:
    def __init__(self, world: "World") -> None:
        self.model = Model(max_attempts=MAX_ATTEMPTS)
        self.nodes = Nodes(self.model, disconnect_seconds=60.0, clock=lambda: world.now / SECOND)
        self.read = 0


class World:
    def __init__(self, seed: int, *, is_honest: bool = False) -> None:
        self.is_honest = is_honest
        """Whether the same task ends the same wherever it runs to its end."""
        self.chance = random.Random(seed)
        self.now = 1_000_000 * SECOND
        self.log: list[tuple[str, Record]] = []
        self.revisions: dict[str, int] = {}
        self.store: dict[str, Record] = {}
        self.leaders = [Leader(self), Leader(self)]
        self.inventories = 0
        self.ended: dict[str, ExecutionRecord] = {}
        self.was: dict[tuple[JobId, int], JobState] = {}
        self.kept: dict[tuple[JobId, int], set[int]] = {}
        self.chosen: dict[tuple[JobId, int], tuple[NodeId, ...]] = {}
        for name in NAMES:
            info = NodeInfo(node_id=name, version="1", engines=("noop",), capacity=CAPACITY)
            self.write(self.leader, subjects.node_record(name), NodeRecord(info=info))
            self.write(self.leader, f"binding.{name}", BindingRecord(public_key=name, owner=f"of-{name}"))
        for leader in self.leaders:
            self.catch_up(leader)
            for name in NAMES:
                self.register(leader, name)

    @property
    def leader(self) -> Leader:
        return self.leaders[0]

    # ---- the store ----------------------------------------------------------------------------------------------

    def write(self, leader: Leader, key: str, record: Record) -> bool:
        """As the store does it: only on the revision that the writer has read."""
        if self.revisions.get(key, 0) != leader.model.revision_of(key):
            return False
        self.log.append((key, record))
        self.store[key] = record
        self.revisions[key] = len(self.log)
        leader.model.apply(key, record, len(self.log))
        return True

    def catch_up(self, leader: Leader, most: int = 1 << 30) -> None:
        until = min(len(self.log), leader.read + most)
        for number in range(leader.read, until):
            leader.model.apply(*self.log[number], number + 1)
        leader.read = until

    @property
    def jobs(self) -> list[JobRecord]:
        return [record for record in self.store.values() if isinstance(record, JobRecord)]

    @property
    def executions(self) -> list[ExecutionRecord]:
        return [record for record in self.store.values() if isinstance(record, ExecutionRecord)]

    def progress(self, job: JobRecord) -> Progress:
        mine = [each for each in self.executions if each.job_id == job.id]
        self.chance.shuffle(mine)
        spec = self.store[subjects.spec_record(job.id, job.version)]
        assert isinstance(spec, SpecRecord)
        written = self.revisions[subjects.job_record(job.id)]
        return progress(
            job,
            len(job.targets) or spec.job.count or 1,
            mine,
            budget=Budget(max_attempts=MAX_ATTEMPTS, retries=spec.job.task.retries),
            most_parallel=spec.job.max_parallel or NO_LIMIT,
            keeps=spec.keeps,
            backoff=NO_BACKOFF,
            is_later=lambda each: self.revisions[each.key] > written,
            each_node=spec.job.type == OPS,
            terms=terms_of(spec.job),
        )

    # ---- what may happen ----------------------------------------------------------------------------------------

    def step(self, what: str) -> None:  # noqa: PLR0912  # one branch for each thing that may happen
        self.now += SECOND
        match what:
            case "submit" if len(self.jobs) < MOST_JOBS:
                self.submit(JobId(f"j-{len(self.jobs)}"))
            case "place":
                self.place(self.leader)
            case "choose":
                self.choose(self.leader)
            case "be gone":
                self.be_gone(self.leader)
            case "clean up":
                self.clean_up(self.leader)
            case "happen":
                self.something_happens(self.leader)
            case "read":
                self.catch_up(self.chance.choice(self.leaders), self.chance.randint(1, 30))
            case "register":
                self.register(self.leader, self.chance.choice(NAMES))
            case "drain":
                self.drain(self.leader, self.chance.choice(NAMES))
            case "silence":
                self.be_silent(self.leader)
            case "lead":
                self.leaders.reverse()
            case _ if self.jobs:
                self.ask(what, self.chance.choice(self.jobs))
            case _:
                pass

    def ask(self, what: str, job: JobRecord) -> None:
        match what:
            case "update":
                self.version(job, job.version + 1, self.spec())
            case "run again":
                self.run_again(job)
            case "stop":
                self.change(self.leader, job.id, StopAsked("enough"))
            case "give up":
                self.change(self.leader, job.id, GivenUp("too late"))
            case _:
                pass

    def clean_up(self, leader: Leader) -> None:
        leader.model.find_out()
        for job in list(leader.model.backlog.surplus):
            for record in leader.model.jobs[job].progress.surplus:
                self.happen(leader, record.id, Withdrawn("surplus"))
        for job in list(leader.model.backlog.judged):
            for verdict in leader.model.jobs[job].progress.verdicts:
                self.happen(leader, verdict.record.id, event_of(verdict, "judged"))

    def something_happens(self, leader: Leader) -> None:
        """Mostly to what is live, as its leader knows it; and often what makes another attempt."""
        live = [each for of_node in leader.model.executions.live.values() for each in of_node]
        any_one = [each.id for each in self.executions if leader.model.execution(each.id) is not None]
        known = live if live and self.chance.random() < 0.8 else any_one
        if known:
            events = RETRIED if self.chance.random() < 0.5 else EVENTS
            self.happen(leader, self.chance.choice(known), self.chance.choice(events))

    def be_silent(self, leader: Leader) -> None:
        self.now += self.chance.choice((1, 70)) * SECOND
        for node in leader.nodes.sweep():
            for record in list(leader.model.executions.live[node].values()):
                self.happen(leader, record.id, ExecutionLost(FailureReason.NODE_LOST, "gone"))

    def spec(self) -> Job:
        task = new_task(
            resources=Resources(cpu=self.chance.choice(("0.5", "1", "2")), memory="1Mb"),
            fail_on_exit_code=self.chance.random() < 0.7,
            retries=Retries(max=self.chance.randint(0, 4), on_exit_codes=self.chance.choice(((), (75,), (1,)))),
        )
        parallel = self.chance.choice((UNSET, 1, 2))
        if self.chance.random() < 0.3:
            replicas = self.chance.randint(2, 3)
            agree = Verification(replicas=replicas, quorum=self.chance.randint(2, replicas), of="result")
            task = replace(task, retries=Retries())
            count = self.chance.randint(1, 2)
            return new_job("a", count=count, tasks=(task,), max_parallel=parallel, verification=agree)
        if self.chance.random() < 0.4:
            return new_job("a", type=OPS, count=0, tasks=(task,), max_parallel=parallel)
        return new_job("a", count=self.chance.randint(1, 3), tasks=(task,), max_parallel=parallel)

    def submit(self, job: JobId) -> None:
        self.write(self.leader, subjects.spec_record(job, 1), SpecRecord(job=self.spec()))
        record = new_job_record(
            job,
            at=self.now,
            priority=self.chance.choice((0, 10)),
            events=(Event(time=self.now, topic="Submission", message="Job submitted"),),
        )
        self.write(self.leader, subjects.job_record(job), record)

    def run_again(self, job: JobRecord) -> None:
        """What has not completed of it, as the leader knows it."""
        entry = self.leader.model.jobs.get(job.id)
        if entry is None or entry.job.version != job.version or not entry.progress.state.is_terminal:
            return
        try:
            keeps = kept_to_rerun(entry, job.version)
        except Conflict:  # all has completed, if only after the job was given up
            return
        known = {each.partition for each in entry.with_kept() if each.state is S.COMPLETED}
        if self.version(entry.job, job.version + 1, entry.spec, keeps, entry.targets()):
            self.kept[job.id, job.version + 1] = known

    def version(
        self, job: JobRecord, version: int, spec: Job, keeps: tuple[int, ...] = (), targets: tuple[NodeId, ...] = ()
    ) -> bool:
        if self.write(self.leader, subjects.spec_record(job.id, version), SpecRecord(job=spec, keeps=keeps)):
            after = replace(job, version=version, desired=type(job.desired).RUNNING, failure="", submit_time=self.now)
            after = replace(after, targets=targets)
            return self.write(self.leader, subjects.job_record(job.id), after)
        return False

    def change(self, leader: Leader, job: JobId, event: JobEvent) -> None:
        entry = leader.model.jobs.get(job)
        if entry is not None:
            step = job_transition(entry.job, entry.progress.state, event, now=self.now)
            if step.outcome is Outcome.MOVED:
                self.write(leader, subjects.job_record(job), step.record)

    def happen(self, leader: Leader, execution: ExecutionId, event: ExecutionEvent) -> None:
        record = leader.model.execution(execution)
        assert record is not None
        if isinstance(event, FactTold) and isinstance(event.fact, TaskEnded):
            fact = ENDED if self.is_honest else event.fact
            event = replace(event, fact=fact, failure=failure_of(self.task_of(record), fact.output.exit_code))
        if isinstance(event, FactTold) and self.spec_of(record.job_id, record.job_version).verification:
            event = replace(event, publishes=True)
            if event.result is not None:
                event = replace(event, answer="a" if self.is_honest else self.chance.choice("aaab"))
        step = transition(record, event, now=self.now)
        if step.record is not record:
            self.write(leader, record.key, step.record)

    def spec_of(self, job: JobId, version: int) -> Job:
        spec = self.store[subjects.spec_record(job, version)]
        assert isinstance(spec, SpecRecord)
        return spec.job

    def task_of(self, record: ExecutionRecord) -> Task:
        return self.spec_of(record.job_id, record.job_version).task

    def place(self, leader: Leader) -> None:
        leader.model.find_out()
        fleet = leader.nodes.fleet({})
        free = {node: each.free for node, each in fleet.nodes.items()}
        drained = {node for node, each in fleet.nodes.items() if each.draining or each.expected}
        planned = plan(wanted(leader.model, self.now), fleet, limit=20)
        running, is_late = self.running(), self.is_late(leader)
        taken: dict[NodeId, Capacity] = defaultdict(Capacity)
        for each in planned.placements:
            assert each.node_id not in drained
            taken[each.node_id] = taken[each.node_id].plus(each.resources)
            assert taken[each.node_id].fits_in(free[each.node_id]), "never more than there is"
            key = execution_key(each.job_id, each.version, each.partition, each.attempt)
            step = placed(new_execution_id(key), each, None, now=self.now)
            self.write(leader, subjects.execution_record(key), step.record)

        for job_version, count in self.running().items():
            most = self.spec_of(*job_version).max_parallel or NO_LIMIT
            most *= replicas_of(self.spec_of(*job_version))
            assert is_late or count <= max(most, running[job_version]), "no more at once than it says"

    def waiting_for_nodes(self, leader: Leader) -> list[Wanted]:
        """What the scheduler knows of pending ops jobs."""
        leader.model.find_out()
        entries = [leader.model.jobs[job] for job in leader.model.backlog.each_node]
        return [wanted_of(leader.model, self.now, each) for each in entries]

    def choose(self, leader: Leader) -> None:
        """The nodes of ops jobs that have none yet."""
        fleet = leader.nodes.fleet({})
        for each in self.waiting_for_nodes(leader):
            if found := () if each.targets else matching(lane_for(each, fleet), leader.nodes.is_registered):
                self.change(leader, each.job_id, TargetsChosen(found))

    def be_gone(self, leader: Leader) -> None:
        """The node of a part, for good, as far as its leader can tell."""
        parts = [(each, part) for each in self.waiting_for_nodes(leader) if each.targets for part in each.missing]
        if parts:
            each, (partition, attempt) = self.chance.choice(parts)
            placement = placement_of(each, partition, attempt, each.targets[partition])
            key = execution_key(each.job_id, each.version, partition, attempt)
            self.write(leader, subjects.execution_record(key), never_placed(placement, "gone", now=self.now))

    def running(self) -> Counter[tuple[JobId, int]]:
        return Counter((each.job_id, each.job_version) for each in self.executions if each.state.holds_capacity)

    def is_late(self, leader: Leader) -> bool:
        """Whether it has not read all, as nobody who leads has longer than for a moment."""
        return any(leader.model.revision_of(key) != revision for key, revision in self.revisions.items())

    def register(self, leader: Leader, node: NodeId) -> None:
        """With some of what it should hold, and some of what it never had."""
        self.inventories += 1
        live = list(leader.model.executions.live.get(node, {}))
        held = tuple(self.chance.sample(live, self.chance.randint(0, len(live)))) if live else ()
        registration = Registration(
            info=NodeInfo(node_id=node, version="1"),
            session=self.chance.choice(("s-1", "s-1", "s-2")),
            inventory=self.inventories,
            held=(*held, ExecutionId("e-unknown")),
        )
        for record in leader.nodes.on_registration(node, registration):
            self.happen(leader, record.id, ExecutionLost(FailureReason.NODE_RESTARTED, "unknown there"))

    def drain(self, leader: Leader, node: NodeId) -> None:
        record = leader.model.nodes[node]
        self.write(leader, subjects.node_record(node), replace(record, draining=not record.draining))
        for each in list(leader.model.executions.live.get(node, {}).values()):
            if each.state is S.NEW and not record.draining:
                self.happen(leader, each.id, NotBegun("drained"))

    # ---- what always holds --------------------------------------------------------------------------------------

    def check(self) -> None:
        parts: dict[tuple[JobId, int, int], list[ExecutionRecord]] = defaultdict(list)
        for each in self.executions:
            parts[each.job_id, each.job_version, each.partition].append(each)
        for mine in parts.values():
            spec = self.spec_of(mine[0].job_id, mine[0].job_version)
            if (terms := terms_of(spec)) is None:
                _check_part(mine, spec.task)
            else:
                _check_replicas(mine, terms)
        for of_version, kept in self.kept.items():
            again = {part for (of, number, part) in parts if (of, number) == of_version}
            assert not again & kept, "what has completed is not run again"
        for key, record in self.ended.items():
            assert self.store[key] is record, "an end is final"
        self.ended = {each.key: each for each in self.executions if each.state.is_terminal}
        # One that has not read that a part of the version before has completed runs it again.
        is_late = self.is_late(self.leader)
        for job in self.jobs:
            now = self.progress(job)
            before = self.was.get((job.id, job.version))
            assert is_late or before is None or not before.is_terminal or now.state is before
            assert not (now.state.is_terminal and now.missing)
            self.was[job.id, job.version] = now.state
            known = self.leader.model.jobs.get(job.id)
            if known is not None and self.leader.read == len(self.log):
                assert known.progress.state is now.state, "as soon as somebody asks"
            mine = [each for each in self.executions if each.job_id == job.id]
            if now.state is JobState.FAILED and not job.failure:
                _check_reason(now, mine)
            if self.spec_of(job.id, job.version).type == OPS:
                self.check_targets(job, now, [each for each in mine if each.job_version == job.version])

    def check_targets(self, job: JobRecord, now: Progress, mine: list[ExecutionRecord]) -> None:
        """Each part on its own node, whoever decides, and no part stopped by what has become of another."""
        targets = self.chosen.setdefault((job.id, job.version), job.targets) if job.targets else ()
        assert targets == job.targets, "once chosen they are the same for ever"
        assert len(set(targets)) == len(targets)
        assert all(each.node_id == targets[each.partition] for each in mine)
        if now.state is JobState.FAILED and not job.failure:
            known = {each.partition for each in mine} | self.kept.get((job.id, job.version), set())
            assert known == set(range(len(targets))), "each node has had its part"
            assert not any(each.state is S.CANCELLED for each in mine)
        if not now.state.is_terminal:
            assert not any(each in now.surplus for each in mine)


def _check_part(mine: list[ExecutionRecord], task: Task) -> None:
    assert sum(not each.state.is_terminal for each in mine) <= 1, "one live execution for each part"
    assert sum(each.state is S.COMPLETED for each in mine) <= 1
    assert sorted(each.attempt for each in mine) == list(range(len(mine)))
    costly = [each for each in mine if each.state.is_terminal and not cost_nothing(each)]
    exits = [each for each in mine if has_failed_by_exit_code(each)]
    assert len(costly) - len(exits) <= MAX_ATTEMPTS, "what a task fails for by itself is not among them"
    assert len(exits) <= (task.retries.max + 1 if task.fail_on_exit_code else 0)
    assert len(mine) <= MAX_ATTEMPTS + MOST_FREE + 1 + len(exits)
    ended_well = [each for each in mine if each.state is S.COMPLETED]
    assert not any(failure_of(task, each.output.exit_code) for each in ended_well if each.output), "also in two steps"
    refusals = [each for each in mine if each.state is S.REJECTED and each.failure and not each.failure.retryable]
    assert len({each.node_id for each in refusals}) == len(refusals), "never twice where it was refused for good"
    for refusal in refusals:
        later = [each for each in mine if each.attempt > refusal.attempt]
        assert all(each.node_id != refusal.node_id for each in later)


def _counts(record: ExecutionRecord) -> bool:
    return record.state is S.COMPLETED or (bool(record.answer) and has_failed_by_exit_code(record))


def _check_replicas(mine: list[ExecutionRecord], terms: Terms) -> None:
    """At most one decision, by a quorum of different owners; and never more answers than replicas."""
    assert sorted(each.attempt for each in mine) == list(range(len(mine)))
    taking_part = [
        each for each in mine if not each.state.is_terminal or (each.answer and each.state is not S.CANCELLED)
    ]
    assert len(taking_part) <= terms.replicas
    assert len({each.owner for each in taking_part}) == len(taking_part)
    counted = {(each.answer, each.output.exit_code) for each in mine if each.state is S.COMPLETED and each.output}
    assert len(counted) <= 1, "one decision"
    for each in mine:
        reason = each.failure.reason if each.failure else ""
        assert each.state is not S.COMPLETED or sum(is_same(each, other) for other in mine) >= terms.quorum
        assert reason != FailureReason.RESULT_DIFFERS or any(
            _counts(other) and not is_same(each, other) for other in mine
        )
        assert reason != FailureReason.NO_AGREEMENT or not counted
        assert not (each.state is S.COMPLETED and reason)
    costly = [each for each in mine if each.state.is_terminal and not cost_nothing(each) and not each.answer]
    assert len(costly) <= MAX_ATTEMPTS * terms.replicas


def _check_reason(found: Progress, mine: list[ExecutionRecord]) -> None:
    told = {each.failure.detail or each.failure.reason for each in mine if each.failure}
    if found.message == "judged":
        return
    message = re.sub(r"Failed on \d of \d nodes?: .*?\. Node [\w-]+: ", "", found.message)
    assert any(message.startswith(reason) for reason in told) or message == "The execution was cancelled."


@pytest.fixture(params=[model.FEW, 0], ids=["few executions", "as of many"], autouse=True, scope="module")
def few(request: pytest.FixtureRequest) -> Iterator[None]:
    """Of how many executions a job may be of which it is found out at once what follows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "FEW", request.param)
        yield


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 250))
def test_whatever_happens_the_invariants_hold(seed: int, steps: int) -> None:
    world = World(seed)
    for what in world.chance.choices(STEPS, WEIGHTS, k=steps):
        world.step(what)
        world.check()


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 150))
def test_replicas_of_honest_nodes_never_disagree_whatever_is_lost_and_told_twice(seed: int, steps: int) -> None:
    world = World(seed, is_honest=True)
    for what in world.chance.choices(STEPS, WEIGHTS, k=steps):
        world.step(what)
    reasons = {each.failure.reason for each in world.executions if each.failure is not None}
    assert not reasons & {FailureReason.RESULT_DIFFERS, FailureReason.NO_AGREEMENT}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 100))
def test_whatever_has_happened_every_job_and_every_execution_comes_to_an_end(seed: int, steps: int) -> None:
    world = World(seed)
    for what in world.chance.choices(STEPS, WEIGHTS, k=steps):
        world.step(what)
    leader = world.leader
    for _ in range(200):
        world.now += SECOND
        world.catch_up(leader)
        for node in NAMES:
            world.register(leader, node)
            if leader.model.nodes[node].draining:
                world.drain(leader, node)
        world.step("clean up")
        world.choose(leader)
        world.place(leader)
        for record in [each for each in world.executions if not each.state.is_terminal]:
            world.happen(leader, record.id, FactTold(fact=ENDED, publishes=False))
            world.happen(leader, record.id, FactTold(fact=PUBLISHED, publishes=True, result=RESULT))
        world.step("clean up")
        planned = plan(wanted(leader.model, world.now), leader.nodes.fleet({}), limit=1)
        for job in (*planned.impossible, *(job for job, why in planned.waiting.items() if "owner" in why)):
            world.change(leader, job, GivenUp("no node will run it"))
        world.check()
        leader.model.find_out()
        if not leader.model.backlog.surplus and not leader.model.backlog.pending and not leader.model.backlog.judged:
            break
    states = Counter(world.progress(job).state for job in world.jobs)
    assert not {state for state in states if not state.is_terminal}
    assert all(each.state.is_terminal for each in world.executions)
