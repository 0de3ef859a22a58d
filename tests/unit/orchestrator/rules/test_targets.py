"""Ops jobs by their rules: on which nodes they run, how they end, and which nodes are waited for."""

import pytest
from msgspec.structs import replace

from orchestrator.dispatch.targets import never_placed
from orchestrator.rules.attempts import NO_BACKOFF, Budget
from orchestrator.rules.fleet import Candidate, Fleet, Lane
from orchestrator.rules.job_progress import NO_LIMIT, Progress, job_transition, progress
from orchestrator.rules.life_events import Outcome, TargetsChosen
from orchestrator.rules.placement import PATIENCE_SECONDS, Plan, Wanted, lane_for, placement_of, plan
from orchestrator.rules.records import ExecutionRecord, Failure
from orchestrator.rules.shortfalls import NodeAbsence, absence, matching
from shared.ids import JobId, NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.spec import OPS, Constraint
from shared.jobs.states import ExecutionState, FailureReason, JobState
from shared.protocol.messages import NodeInfo
from tests.builders import new_execution, new_job, new_job_record

S = ExecutionState
A, B, C = NODES = (NodeId("a"), NodeId("b"), NodeId("c"))
SPEC = new_job("patch", type=OPS, count=0, constraints=(Constraint(key="zone", operator="=", values=("eu",)),))
ONE = Capacity(cpu=1.0)


def node(name: str, *, free: float = 2.0, zone: str = "eu", **more: object) -> Candidate:
    info = NodeInfo(
        node_id=NodeId(name), version="1", engines=("noop",), capacity=Capacity(cpu=2.0), labels={"zone": zone}
    )
    return replace(Candidate(info=info, free=Capacity(cpu=free)), **more)


def wanted(*, targets: tuple[NodeId, ...] = NODES, parts: int = 3, waiting: float = 0.0) -> Wanted:
    missing = tuple((part, 0) for part in range(parts))
    job, of = JobId("j-1"), targets
    return Wanted(job_id=job, version=1, job=SPEC, resources=ONE, missing=missing, targets=of, waiting_seconds=waiting)


def lane(*candidates: Candidate) -> tuple[Lane, Fleet]:
    fleet = Fleet(candidates)
    return lane_for(wanted(), fleet), fleet


def ops(*executions: ExecutionRecord, most_parallel: int = NO_LIMIT) -> Progress:
    return progress(
        new_job_record(targets=NODES),
        len(NODES),
        executions,
        budget=Budget(max_attempts=2),
        backoff=NO_BACKOFF,
        is_later=lambda _: False,
        most_parallel=most_parallel,
        each_node=True,
    )


def on(part: int, state: ExecutionState, *, attempt: int = 0, failure: Failure | None = None) -> ExecutionRecord:
    return new_execution(state, partition=part, attempt=attempt, on=NODES[part], failure=failure)


def failure(reason: FailureReason, detail: str = "") -> Failure:
    return Failure(reason=reason, detail=detail, retryable=reason.retryable)


FOR_GOOD = failure(FailureReason.TASK_NOT_STARTED, "no such program")
LOST = failure(FailureReason.NODE_LOST, "it has disappeared")


class TestWhichNodesMatch:
    def found(self, *candidates: Candidate, registered: frozenset[str] = frozenset("abc")) -> tuple[NodeId, ...]:
        return matching(lane(*candidates)[0], lambda node: node in registered)

    def test_those_that_suit_in_the_order_of_their_names(self) -> None:
        assert self.found(node("c"), node("a"), node("b", zone="us")) == (A, C)

    def test_one_that_is_busy_rests_or_has_its_engine_away_is_among_them(self) -> None:
        rests = node("b", expected=True, resting=", which rests")
        assert self.found(node("a", free=0.0), rests, node("c", away={"noop": True})) == NODES

    def test_one_that_is_drained_not_approved_or_not_there_is_not(self) -> None:
        drained = node("a", draining=True, expected=True)
        assert self.found(drained, node("b", unapproved=True), node("c"), registered=frozenset("ab")) == ()

    def test_once_chosen_they_stay(self) -> None:
        job = new_job_record()
        chosen = job_transition(job, JobState.PENDING, TargetsChosen(NODES), now=2)
        assert chosen.record.targets == NODES
        assert chosen.record.events[-1].message == "Runs on 3 nodes: a, b, c"
        again = job_transition(chosen.record, JobState.PENDING, TargetsChosen((A,)), now=3)
        assert (again.outcome, again.record) == (Outcome.KNOWN, chosen.record)
        assert job_transition(job, JobState.STOPPED, TargetsChosen(NODES), now=2).outcome is Outcome.LATE


class TestPlacing:
    def placed(self, found: Plan) -> dict[int, str]:
        return {each.partition: each.node_id for each in found.placements}

    def test_each_part_is_placed_on_its_own_node_however_busy_others_are(self) -> None:
        found = plan([wanted()], Fleet([node("a", free=0.0), node("b"), node("c"), node("d")]), limit=10)
        assert self.placed(found) == {1: "b", 2: "c"}
        assert found.waiting == {"j-1": "Waiting for free CPU on node a."}

    def test_no_more_than_so_many_are_placed_at_once(self) -> None:
        assert len(plan([replace(wanted(), most=2)], Fleet([node(each) for each in NODES]), limit=10).placements) == 2

    @pytest.mark.parametrize(
        ("of_a", "why"),
        [
            ((), "to come back."),
            ((node("a", expected=True),), "to connect."),
            ((node("a", draining=True, expected=True),), ", which is drained."),
            ((node("a", away={"noop": True}),), ", whose engine is away."),
            ((node("a", zone="us"),), "to fit again: its labels do not fulfil zone = eu: its zone is 'us'."),
        ],
    )
    def test_a_job_waits_for_its_own_nodes_and_is_never_impossible(self, of_a: tuple[Candidate, ...], why: str) -> None:
        found = plan([wanted(targets=(A,), parts=1)], Fleet([*of_a, node("b")]), limit=10)
        assert not found.placements
        assert not found.impossible
        (said,) = found.waiting.values()
        assert said.replace("node a ", "node a").endswith(f"node a{why}")

    def test_others_of_its_shape_do_not_wait_behind_it(self) -> None:
        other = replace(wanted(targets=(B,), parts=1), job_id=JobId("j-2"))
        found = plan([wanted(targets=(A,), parts=1), other], Fleet([node("a", free=0.0), node("b")]), limit=10)
        assert [each.job_id for each in found.placements] == ["j-2"]

    def test_after_a_while_its_node_is_kept_free_for_it(self) -> None:
        large = replace(wanted(targets=(A,), parts=1, waiting=PATIENCE_SECONDS + 1), resources=Capacity(cpu=2.0))
        batch = Wanted(job_id=JobId("j-2"), version=1, job=new_job(), resources=ONE, missing=((0, 0),), refused_by={})
        assert not plan([large, batch], Fleet([node("a", free=1.0)]), limit=10).placements


class TestHowItEnds:
    def test_it_has_completed_when_all_have(self) -> None:
        assert ops(*(on(part, S.COMPLETED) for part in range(3))).state is JobState.COMPLETED

    def test_while_its_nodes_are_not_chosen_it_waits(self) -> None:
        found = progress(
            new_job_record(),
            1,
            (),
            budget=Budget(max_attempts=2),
            backoff=NO_BACKOFF,
            is_later=lambda _: False,
            each_node=True,
        )
        assert (found.state, found.missing) == (JobState.PENDING, ((0, 0),))

    def test_a_part_that_failed_for_good_stops_no_other(self) -> None:
        found = ops(on(0, S.FAILED, failure=FOR_GOOD), on(1, S.RUNNING))
        assert (found.state, found.missing, found.surplus) == (JobState.RUNNING, ((2, 0),), ())

    def test_when_all_have_ended_it_says_where_it_failed_and_why(self) -> None:
        found = ops(on(0, S.COMPLETED), on(1, S.FAILED, failure=FOR_GOOD), on(2, S.FAILED, failure=FOR_GOOD))
        assert found.state is JobState.FAILED
        assert found.message == "Failed on 2 of 3 nodes: b, c. Node b: no such program"

    def test_what_was_lost_is_tried_again_as_often_as_any_part(self) -> None:
        lost = on(1, S.FAILED, failure=LOST)
        done = [on(0, S.COMPLETED), on(2, S.COMPLETED)]
        assert ops(*done, lost).missing == ((1, 1),)
        assert ops(*done, lost, on(1, S.FAILED, attempt=1, failure=LOST)).state is JobState.FAILED

    def test_what_its_node_refuses_nobody_else_is_asked_for(self) -> None:
        refused = on(0, S.REJECTED, failure=Failure(reason="VariableRefused", detail="not allowed"))
        found = ops(refused, on(1, S.COMPLETED), on(2, S.COMPLETED))
        assert (found.state, found.message) == (JobState.FAILED, "Failed on 1 of 3 nodes: a. Node a: not allowed")

    def test_what_its_node_refuses_for_now_is_tried_again_there(self) -> None:
        busy = on(0, S.REJECTED, failure=Failure(reason="QueueFull", retryable=True))
        assert ops(busy, on(1, S.COMPLETED), on(2, S.COMPLETED)).missing == ((0, 1),)

    def test_so_many_at_once_are_counted_as_for_any_job(self) -> None:
        assert ops(on(0, S.RUNNING), most_parallel=2).room == 1

    def test_a_part_whose_node_is_gone_has_failed_without_having_been_offered(self) -> None:
        record = never_placed(placement_of(wanted(), 1, 0, B), "Node b was deleted", now=5)
        assert (record.state, record.partition, record.node_id) == (S.FAILED, 1, "b")
        assert record.failure == failure(FailureReason.NODE_GONE, "Node b was deleted")
        assert [each.message for each in record.events] == ["Node b was deleted"]
        done = ops(on(0, S.COMPLETED), record, on(2, S.COMPLETED))
        assert (done.state, done.missing) == (JobState.FAILED, ())


class TestWhichNodesAreWaitedFor:
    def absence(self, *candidates: Candidate, known: bool = True, rejected: bool = False) -> NodeAbsence | None:
        return absence(A, *lane(*candidates), is_known=known, is_rejected=rejected)

    @pytest.mark.parametrize(
        "there",
        [
            node("a"),
            node("a", free=0.0),
            node("a", expected=True),
            node("a", expected=True, resting=", which rests"),
            node("a", away={"noop": True}),
        ],
        ids=["is there", "is busy", "has disappeared just now", "rests", "has its engine away just now"],
    )
    def test_one_that_may_be_given_its_part_by_and_by(self, there: Candidate) -> None:
        assert self.absence(there) is None

    @pytest.mark.parametrize(
        ("there", "why"),
        [
            (node("a", draining=True, expected=True), "Node a is drained"),
            (
                node("a", zone="us"),
                "Node a does not fit any more: its labels do not fulfil zone = eu: its zone is 'us'",
            ),
            (node("a", namespaces=("other",)), "Node a does not fit any more: it does not serve the namespace"),
            (node("a", unreachable={"": "cannot reach S3"}), "Node a does not fit any more: cannot reach S3"),
        ],
    )
    def test_one_that_may_fit_again_for_a_while(self, there: Candidate, why: str) -> None:
        assert self.absence(there) == NodeAbsence(why, is_final=False)

    def test_one_that_is_gone_not_at_all(self) -> None:
        for found in (self.absence(), self.absence(known=False), self.absence(node("a"), rejected=True)):
            assert found is not None
            assert found.is_final
