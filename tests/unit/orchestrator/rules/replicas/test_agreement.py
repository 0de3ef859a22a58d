"""What follows from the answers of a part's replicas, in each order in which they may come."""

from typing import Any

import pytest
from msgspec.structs import replace

from orchestrator.rules.attempts import NO_BACKOFF, AttemptBackoff
from orchestrator.rules.life_events import (
    Agreed,
    ExecutionLost,
    FactTold,
    ForgetExecution,
    NotAgreed,
    NotComparable,
    OfferRefused,
    Outcome,
    Outvoted,
    Withdrawn,
)
from orchestrator.rules.lifecycle import transition
from orchestrator.rules.records import Event, ExecutionRecord, Failure, VerifiedResult
from orchestrator.rules.replicas.agreement import (
    PartStanding,
    Ruling,
    Terms,
    ended_at,
    event_of,
    false_answer,
    owners_of,
    standing,
)
from shared.ids import NodeId
from shared.jobs.states import ExecutionState, FailureReason
from shared.protocol.messages import ExecutionFailed, OutputPublished, RunOutput
from tests.builders import new_execution

S = ExecutionState
TWO_OF_THREE = Terms(replicas=3, quorum=2, max_attempts=2)
RESULT = VerifiedResult(etag="e", size_bytes=1, sha256="")
PUBLISHED = OutputPublished(size_bytes=1, md5="", sha256="", entries=1, raw_bytes=1)


def answered(
    attempt: int, answer: str, *, state: ExecutionState = S.PUBLISHING, code: int = 0, **more: Any
) -> ExecutionRecord:
    plain: dict[str, Any] = {"answer": answer, "result": RESULT, "output": RunOutput(exit_code=code)}
    if code:
        plain["failure"] = Failure(reason=FailureReason.NON_ZERO_EXIT_CODE, detail=f"exit code {code}")
    return new_execution(state, attempt=attempt, owner=f"of-{attempt}", **(plain | more))


def nobody(_: NodeId) -> str:
    return ""


def failed(attempt: int, reason: FailureReason, **more: Any) -> ExecutionRecord:
    failure = Failure(reason=reason, retryable=reason.retryable)
    return new_execution(S.FAILED, attempt=attempt, owner=f"of-{attempt}", failure=failure, **more)


def running(attempt: int) -> ExecutionRecord:
    return new_execution(S.RUNNING, attempt=attempt, owner=f"of-{attempt}")


def of(*executions: ExecutionRecord, terms: Terms = TWO_OF_THREE, backoff: AttemptBackoff = NO_BACKOFF) -> PartStanding:
    return standing(executions, terms, backoff)


def rulings(found: PartStanding) -> dict[int, Ruling]:
    return {each.record.attempt: each.ruling for each in found.verdicts}


def test_all_replicas_are_wanted_at_once_and_no_more() -> None:
    assert of().missing == (0, 1, 2)
    assert of(running(0)).missing == (1, 2)
    assert of(running(0), answered(1, "a"), running(2)) == PartStanding()


def test_what_a_quorum_gave_counts_and_the_rest_is_stopped() -> None:
    waiting = (answered(0, "a"), answered(1, "a"), running(2))
    assert rulings(of(*waiting)) == {0: Ruling.AGREED, 1: Ruling.AGREED}
    done = answered(0, "a", state=S.COMPLETED)
    found = of(done, answered(1, "a"), running(2))
    assert (found.done, found.surplus, rulings(found)) == (done, (running(2),), {1: Ruling.AGREED})


def test_who_differs_is_outvoted_once_another_answer_counts_and_not_before() -> None:
    liar = answered(2, "b")
    assert rulings(of(answered(0, "a"), answered(1, "a"), liar)) == {0: Ruling.AGREED, 1: Ruling.AGREED}
    done = answered(0, "a", state=S.COMPLETED)
    (verdict,) = of(done, liar).verdicts
    assert (verdict.ruling, verdict.rival) == (Ruling.OUTVOTED, done)


def test_the_same_content_with_another_exit_code_is_another_answer() -> None:
    found = of(answered(0, "a"), answered(1, "a", code=1), running(2))
    assert found == PartStanding()


def test_a_task_has_failed_by_its_exit_code_where_a_quorum_says_so() -> None:
    both = (answered(0, "a", code=3), answered(1, "a", code=3), answered(2, "b"))
    assert rulings(of(*both)) == {0: Ruling.AGREED, 1: Ruling.AGREED}
    over = transition(both[0], Agreed("2 of 3 agree"), now=5).record
    assert (over.state, over.failure) == (S.FAILED, both[0].failure)
    found = of(over, *both[1:])
    assert found.failed is over
    assert rulings(found) == {1: Ruling.AGREED, 2: Ruling.OUTVOTED}


def test_a_node_that_is_lost_after_its_task_has_failed_gave_no_answer() -> None:
    failure = Failure(reason=FailureReason.NON_ZERO_EXIT_CODE, detail="exit code 3")
    ended = new_execution(S.PUBLISHING, attempt=0, owner="of-0", failure=failure, output=RunOutput(exit_code=3))
    lost = transition(ended, ExecutionLost(FailureReason.NODE_LOST, "gone"), now=5).record
    assert lost.state is S.FAILED
    assert of(lost, answered(1, "a", code=3), answered(2, "b")).missing == (3,)
    all_of_two = Terms(replicas=2, quorum=2, max_attempts=2)
    assert of(lost, answered(1, "a", code=3), terms=all_of_two).missing == (2,)
    assert owners_of([lost], nobody) == {}


def test_one_node_alone_that_says_a_task_cannot_be_run_is_not_believed() -> None:
    lie = failed(0, FailureReason.IMAGE_NOT_FOUND)
    assert of(lie, running(1), running(2)) == PartStanding()
    assert rulings(of(lie, answered(1, "a"), answered(2, "a"))) == {1: Ruling.AGREED, 2: Ruling.AGREED}
    second = failed(1, FailureReason.IMAGE_NOT_FOUND)
    found = of(lie, second, running(2))
    assert (found.failed, found.surplus) == (lie, (running(2),))


def test_replicas_that_cannot_agree_any_more_fail_and_nobody_is_outvoted() -> None:
    found = of(answered(0, "a"), answered(1, "b"), answered(2, "c"))
    assert set(rulings(found).values()) == {Ruling.NO_AGREEMENT}
    assert all(each.rival is not None and each.rival.answer != each.record.answer for each in found.verdicts)
    split = transition(answered(0, "a"), NotAgreed("a, and b"), now=5).record
    found = of(split, answered(1, "b"), answered(2, "c"))
    assert found.failed is split
    assert set(rulings(found).values()) == {Ruling.NO_AGREEMENT}


@pytest.mark.parametrize("quorum", [2, 3])
def test_it_is_over_as_soon_as_no_quorum_is_possible(quorum: int) -> None:
    found = of(answered(0, "a"), answered(1, "b"), running(2), terms=Terms(replicas=3, quorum=quorum))
    assert bool(found.verdicts) is (quorum == 3)
    assert found.surplus == ((running(2),) if quorum == 3 else ())


def test_what_was_lost_is_made_again_for_as_long_as_there_are_attempts() -> None:
    lost = [failed(each, FailureReason.NODE_LOST) for each in range(4)]
    assert of(lost[0], running(1), running(2)).missing == (3,)
    assert of(*lost[:3], answered(3, "a")).missing == (4, 5)
    assert of(*lost, answered(4, "a"), answered(5, "a")).verdicts, "two can still agree"
    assert of(*lost, answered(4, "a"), failed(5, FailureReason.NODE_LOST)).failed is not None


def test_what_was_handed_back_uses_nothing_up() -> None:
    back = [failed(each, FailureReason.HANDED_BACK) for each in range(9)]
    assert of(*back).missing == (9, 10, 11)


def test_the_next_one_waits_after_a_failure() -> None:
    backoff = AttemptBackoff(floor_seconds=1.0, ceiling_seconds=60.0)
    found = of(failed(0, FailureReason.NODE_LOST), running(1), running(2), backoff=backoff)
    assert found.missing == (3,)
    assert found.not_before > 10**9
    assert of(running(0), backoff=backoff).not_before == 0


def test_a_part_that_was_stopped_is_not_begun_again() -> None:
    stopped = answered(0, "a", state=S.CANCELLED)
    assert of(stopped, failed(1, FailureReason.IMAGE_NOT_FOUND), running(2)).missing == ()


def test_an_answer_of_a_node_that_is_shut_out_counts_no_more() -> None:
    own = answered(0, "a")
    lost = ExecutionLost(FailureReason.NODE_LOST, "rejected", disowned=True)
    assert transition(own, lost, now=5).record.state is S.FAILED
    assert transition(own, ExecutionLost(FailureReason.NODE_LOST, "silent"), now=5).outcome is Outcome.KNOWN
    assert of(transition(own, lost, now=5).record, running(1), running(2)).missing == (3,)


@pytest.mark.parametrize(
    "fact", [PUBLISHED, ExecutionFailed(reason="DiskFull"), ExecutionFailed(reason="NodeRestarted", not_begun=True)]
)
def test_what_a_node_says_after_its_answer_changes_nothing_and_it_may_forget_it(fact: Any) -> None:
    step = transition(answered(0, "a"), FactTold(fact=fact, publishes=True, result=RESULT, answer="b"), now=5)
    assert (step.record, step.outcome, len(step.commands)) == (answered(0, "a"), Outcome.KNOWN, 1)


def test_an_answer_waits_with_its_result_and_its_node_is_done_with_it() -> None:
    told = FactTold(fact=PUBLISHED, publishes=True, result=RESULT, answer="a")
    step = transition(new_execution(S.PUBLISHING), told, now=5)
    assert (step.record.state, step.record.result, step.record.awaits_agreement) == (S.PUBLISHING, RESULT, True)
    assert step.record.is_over_there
    assert not step.record.has_counting_result
    assert step.commands


def test_what_is_outvoted_or_stopped_has_no_result_that_counts() -> None:
    own = answered(0, "b")
    outvoted = transition(own, Outvoted("a instead"), now=5).record
    assert outvoted.failure == Failure(reason=FailureReason.RESULT_DIFFERS, detail="a instead")
    stopped = transition(own, Withdrawn("enough"), now=5)
    assert (stopped.record.state, stopped.commands) == (S.CANCELLED, ())
    assert not any(each.has_counting_result for each in (outvoted, stopped.record))
    assert transition(own, Agreed("all agree"), now=5).record.has_counting_result


def test_an_owner_has_one_vote_however_many_replicas_were_placed_there() -> None:
    twice = [replace(answered(each, "lie"), owner="of-0") for each in range(2)]
    assert of(*twice, running(2)).verdicts == ()
    assert set(rulings(of(*twice, answered(2, "a"))).values()) == {Ruling.NO_AGREEMENT}
    assert set(rulings(of(*twice, answered(2, "lie"))).values()) == {Ruling.AGREED}


def test_a_false_answer_is_like_no_other() -> None:
    lies = [answered(each, false_answer(running(each).id)) for each in range(3)]
    assert set(rulings(of(*lies)).values()) == {Ruling.NO_AGREEMENT}


@pytest.mark.parametrize("code", [0, 3])
def test_a_result_that_is_too_large_to_be_compared_fails_its_part_and_not_its_node(code: int) -> None:
    def refused(attempt: int) -> ExecutionRecord:
        ended = new_execution(S.PUBLISHING, attempt=attempt, owner=f"of-{attempt}", output=RunOutput(exit_code=code))
        if code:
            ended = replace(ended, failure=Failure(reason=FailureReason.NON_ZERO_EXIT_CODE, detail="exit code 3"))
        step = transition(ended, NotComparable("too large"), now=5)
        assert step.commands == (ForgetExecution(step.record.node_id, step.record.id),)
        return step.record

    one, two = refused(0), refused(1)
    assert one.failure == Failure(reason=FailureReason.RESULT_NOT_COMPARABLE, detail="too large")
    assert of(one, running(1), running(2)) == PartStanding(), "nothing is placed again"
    found = of(one, two, answered(2, "a"))
    assert (found.failed, found.verdicts) == (one, ())
    assert rulings(of(one, answered(1, "a"), answered(2, "a"))) == {1: Ruling.AGREED, 2: Ruling.AGREED}


@pytest.mark.parametrize(
    "verdict", [FailureReason.NO_AGREEMENT, FailureReason.RESULT_DIFFERS, FailureReason.RESULT_NOT_COMPARABLE]
)
def test_a_node_cannot_say_what_is_for_the_others_to_say(verdict: FailureReason) -> None:
    told = FactTold(fact=ExecutionFailed(reason=verdict.value, detail="says the node"), publishes=True)
    lie = transition(running(0), told, now=5).record
    assert lie.failure is not None
    assert lie.failure.reason == FailureReason.UNKNOWN
    assert of(lie, running(1), running(2)) == PartStanding()
    refusal = OfferRefused(reason=verdict.value, detail="says the node", retryable=True)
    refused = transition(new_execution(S.NEW, attempt=0, owner="of-0"), refusal, now=5).record
    assert of(refused, running(1), running(2)).failed is None


def test_a_verdict_is_about_nothing_but_an_answer() -> None:
    (verdict, _) = of(answered(0, "a"), answered(1, "a")).verdicts
    assert event_of(verdict, "both") == Agreed("both")
    assert transition(running(0), event_of(verdict, "both"), now=5).outcome is Outcome.KNOWN
    assert transition(answered(0, "a", state=S.COMPLETED), Outvoted("late"), now=5).outcome is Outcome.LATE


def test_owners_that_have_a_replica_or_gave_an_answer_get_no_other_one_of_the_part() -> None:
    known = [running(0), answered(1, "a"), failed(2, FailureReason.NODE_LOST), failed(3, FailureReason.IMAGE_NOT_FOUND)]
    assert owners_of(known, nobody) == {0: frozenset({"of-0", "of-1", "of-3"})}


def test_a_node_that_has_another_owner_since_gets_no_second_replica_of_a_part() -> None:
    owners = {"n-0": "of-0", "n-1": "new"}
    known = [replace(running(attempt), node_id=NodeId(f"n-{attempt}")) for attempt in range(2)]
    assert owners_of(known, lambda node: owners.get(node, "")) == {0: frozenset({"of-0", "of-1", "new"})}


def test_a_part_has_ended_by_the_first_event_that_settled_it() -> None:
    def at(number: int) -> dict[str, Any]:
        return {"events": (Event(time=number, number=number, topic="t", message="m"),)}

    completed = [answered(each, "a", state=S.COMPLETED, **at(7 + each)) for each in range(2)]
    assert ended_at([*completed, failed(2, FailureReason.NODE_LOST, **at(3))], TWO_OF_THREE, NO_BACKOFF) == 7
    refused = [failed(each, FailureReason.IMAGE_NOT_FOUND, **at(5 + each)) for each in range(3)]
    assert ended_at(refused, TWO_OF_THREE, NO_BACKOFF) == 6
