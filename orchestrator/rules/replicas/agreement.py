"""Agreement: what the replicas of a part have answered, and what follows from that. Pure functions over records.

Each part of a job with `Verification` runs on several nodes of different owners. What a node has published there is an
answer, which waits until so many others are the same as the quorum says: then those count, and what differs does not.
A task that could not be run is an answer too, as one node alone is not believed. Whatever else ends an execution is
none, and another one takes its place. Answers are final and never more than the replicas, of which a quorum is more
than half: so there is one decision at most, whoever decides, and however much of it was written when a leader died.
"""

import enum
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import assert_never

import msgspec

from orchestrator.rules.attempts import MOST_FREE, AttemptBackoff, cost_nothing, is_waited_after, may_be_tried_again
from orchestrator.rules.life_events import Agreed, NotAgreed, Outvoted
from orchestrator.rules.records import ExecutionRecord
from shared.ids import ExecutionId, NodeId
from shared.jobs.states import ExecutionState, FailureReason

_JUDGED = frozenset({FailureReason.RESULT_DIFFERS.value, FailureReason.NO_AGREEMENT.value})

Answer = tuple[str, str | int]
"""What replicas are compared by: the digest of a result and the exit code, or that there is none and the reason."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How many replicas a part has, and how many of them have to agree; `max_attempts` is for each of them."""

    replicas: int
    quorum: int
    max_attempts: int = 1


class Ruling(enum.Enum):
    AGREED = "so many others answered the same as have to"
    OUTVOTED = "others agree about another answer"
    NO_AGREEMENT = "so many cannot agree any more"


class ReplicaVerdict(msgspec.Struct, frozen=True):
    """What becomes of a replica that has answered; `rival` is another one that answered otherwise, if one did."""

    record: ExecutionRecord
    ruling: Ruling
    rival: ExecutionRecord | None = None


_FALSE = "!"


def false_answer(execution: ExecutionId) -> str:
    """That of a node which told another digest than its manifest has: it is like no other."""
    return f"{_FALSE}{execution}"


def is_false(answer: str) -> bool:
    return answer.startswith(_FALSE)


def event_of(verdict: ReplicaVerdict, why: str) -> Agreed | Outvoted | NotAgreed:
    """What happens to the replica by this verdict, and why, in a sentence."""
    match verdict.ruling:
        case Ruling.AGREED:
            return Agreed(why)
        case Ruling.OUTVOTED:
            return Outvoted(why)
        case Ruling.NO_AGREEMENT:
            return NotAgreed(why)
        case _:
            assert_never(verdict.ruling)


class PartStanding(msgspec.Struct, frozen=True, kw_only=True):
    """Where a part stands: it is `done` by one of its executions, or has `failed` by one, or neither yet.

    `missing` are the attempts that should be made and are not, from `not_before` on, in nanoseconds since 1970; 0 is at
    once. `surplus` are live executions that should stop.
    """

    done: ExecutionRecord | None = None
    failed: ExecutionRecord | None = None
    missing: tuple[int, ...] = ()
    not_before: int = 0
    verdicts: tuple[ReplicaVerdict, ...] = ()
    surplus: tuple[ExecutionRecord, ...] = ()


def standing(of_part: Iterable[ExecutionRecord], terms: Terms, backoff: AttemptBackoff) -> PartStanding:
    """Where the part stands of which these are all executions of one version."""
    known = sorted(of_part, key=attrgetter("attempt"))
    waiting = [each for each in known if each.awaits_agreement]
    live = tuple([each for each in known if not each.state.is_terminal and not each.awaits_agreement])
    agreed = next((each for each in known if _has_agreed(each)), None)
    if agreed is not None:
        verdicts = tuple([_against(each, agreed) for each in waiting])
        if agreed.state is ExecutionState.COMPLETED:
            return PartStanding(done=agreed, verdicts=verdicts, surplus=live)
        return PartStanding(failed=agreed, verdicts=verdicts, surplus=live)
    split = next((each for each in known if _is_split(each)), None)
    if split is not None:
        return PartStanding(failed=split, verdicts=tuple(_undecided(waiting)), surplus=live)
    return _undecided_standing(known, waiting, live, terms, backoff)


def _undecided_standing(
    known: Sequence[ExecutionRecord],
    waiting: Sequence[ExecutionRecord],
    live: tuple[ExecutionRecord, ...],
    terms: Terms,
    backoff: AttemptBackoff,
) -> PartStanding:
    answered = [each for each in known if _answer(each) is not None]
    # A leader that is too late may have placed two at one owner, who has one vote all the same.
    votes = Counter(answer for _, answer in {(each.owner or each.id, _answer(each)) for each in answered})
    best, most = min(votes.items(), key=lambda each: (-each[1], str(each[0])), default=(None, 0))
    if most >= terms.quorum:
        group = [each for each in answered if _answer(each) == best]
        if group[0].awaits_agreement:
            return PartStanding(verdicts=tuple([ReplicaVerdict(each, Ruling.AGREED) for each in group]))
        return PartStanding(failed=group[0], surplus=(*live, *waiting))
    cancelled = sum([each.state is ExecutionState.CANCELLED for each in known])  # so that the part is not wanted
    placeable = _placeable(known, len(answered) + len(live) + cancelled, terms)
    if most + len(live) + placeable >= terms.quorum:
        first = known[-1].attempt + 1 if known else 0
        missing = tuple(range(first, first + placeable))
        return PartStanding(missing=missing, not_before=_not_before(known, backoff) if missing else 0)
    if len({_answer(each) for each in waiting}) > 1:
        return PartStanding(verdicts=tuple(_undecided(waiting)), surplus=live)
    last = max((each for each in known if may_be_tried_again(each)), key=attrgetter("modify_time"), default=known[-1])
    return PartStanding(failed=last, surplus=(*live, *waiting))


def _placeable(known: Sequence[ExecutionRecord], taken: int, terms: Terms) -> int:
    """How many attempts may be made beside those that go on or have answered."""
    vain = [each for each in known if may_be_tried_again(each) and _answer(each) is None]
    free = sum([cost_nothing(each) for each in vain])
    spent = len(vain) - free + max(0, free - terms.replicas * MOST_FREE)
    lacking = max(0, spent - terms.replicas * (terms.max_attempts - 1))
    return max(0, terms.replicas - taken - lacking)


def _not_before(known: Sequence[ExecutionRecord], backoff: AttemptBackoff) -> int:
    vain = [each for each in known if may_be_tried_again(each) and _answer(each) is None]
    waited = [each for each in vain if is_waited_after(each)]
    return backoff.due(vain[-1], len(waited)) if vain else 0


def _answer(record: ExecutionRecord) -> Answer | None:
    """None of an execution that goes on, or that says nothing about what its task does."""
    if record.awaits_agreement:
        return record.answer, record.output.exit_code if record.output is not None else 0
    failure = record.failure
    if record.state is not ExecutionState.FAILED or failure is None or failure.retryable or failure.reason in _JUDGED:
        return None
    if failure.reason == _EXIT_CODE and not record.answer:  # its node was lost, or could not publish what there was
        return None
    return "", failure.reason


def _has_agreed(record: ExecutionRecord) -> bool:
    """Whether its answer is that of the quorum: it counts, or failed by the exit code about which they agree."""
    if record.state is ExecutionState.COMPLETED:
        return True
    return record.state is ExecutionState.FAILED and bool(record.answer) and _reason(record) == _EXIT_CODE


def _is_split(record: ExecutionRecord) -> bool:
    """Whether it was found that nobody can agree. Without an answer only its node says so."""
    return bool(record.answer) and _reason(record) == FailureReason.NO_AGREEMENT


_EXIT_CODE = FailureReason.NON_ZERO_EXIT_CODE


def _reason(record: ExecutionRecord) -> str:
    return record.failure.reason if record.failure is not None else ""


def is_same(one: ExecutionRecord, other: ExecutionRecord) -> bool:
    """Whether two replicas that have answered with a result gave the same."""
    codes = [each.output.exit_code if each.output is not None else 0 for each in (one, other)]
    return one.answer == other.answer and codes[0] == codes[1]


def _against(record: ExecutionRecord, agreed: ExecutionRecord) -> ReplicaVerdict:
    if is_same(record, agreed):
        return ReplicaVerdict(record, Ruling.AGREED)
    return ReplicaVerdict(record, Ruling.OUTVOTED, agreed)


def _undecided(waiting: Sequence[ExecutionRecord]) -> Iterator[ReplicaVerdict]:
    for each in waiting:
        rival = next((other for other in waiting if not is_same(each, other)), None)
        yield ReplicaVerdict(each, Ruling.NO_AGREEMENT, rival)


def ended_at(of_part: Iterable[ExecutionRecord], terms: Terms, backoff: AttemptBackoff) -> int:
    """The number of the event by which the part has ended, 0 where none was given: what came later changes nothing."""
    known = sorted(of_part, key=_last_number)
    done = [_last_number(each) for each in known if _has_agreed(each) or _is_split(each)]
    if done:
        return done[0]
    for number, each in enumerate(known):
        if each.state.is_terminal:
            then = [*known[: number + 1], *map(_as_live, known[number + 1 :])]
            if standing(then, terms, backoff).failed is not None:
                return _last_number(each)
    return max(map(_last_number, known), default=0)


def _as_live(record: ExecutionRecord) -> ExecutionRecord:
    return msgspec.structs.replace(record, state=ExecutionState.RUNNING, answer="")


def _last_number(record: ExecutionRecord) -> int:
    return record.events[-1].number if record.events else 0


def owners_of(executions: Iterable[ExecutionRecord], owner_now: Callable[[NodeId], str]) -> dict[int, frozenset[str]]:
    """By the part, whose nodes have one of its replicas or its answer, so that another one goes to none of them.

    That is also who owns such a node now: by another name it would be another one.
    """
    found: dict[int, set[str]] = {}
    for each in executions:
        if not each.state.is_terminal or _answer(each) is not None:
            found.setdefault(each.partition, set()).update({each.owner, owner_now(each.node_id) or each.owner})
    return {part: frozenset(owners) for part, owners in found.items()}
