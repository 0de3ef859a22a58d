"""Which attempts at a part of a job count, and how long the next one waits after them.

All of it follows from stored records, so that every orchestrator comes to the same, also after a restart.
"""

import zlib
from datetime import UTC, datetime

import msgspec

from orchestrator.records import ExecutionRecord
from shared.states import Cause, ExecutionState, FailureReason

NO_SUCH_ENGINE = "EngineNotOffered"
"""A node's refusal of what it had offered: since it was started it has not seen its engine yet."""
MOST_FREE = 50
"""How often nothing may be tried of one part, beside its attempts, so that no node can have it placed for ever."""

NOT_BEGUN = frozenset({FailureReason.HANDED_BACK.value, "NodeStopping"})
"""Reasons of those that were not begun because the node stops or is drained: another one may be asked at once."""
_NO_ENGINE = frozenset({FailureReason.ENGINE_UNAVAILABLE.value, NO_SUCH_ENGINE})
_FIRST_WAITS = {Cause.ENGINE: 8, Cause.REGISTRY: 8}
"""Of the floor. What is away takes some seconds to come back: 4 waits outlast 60 floors at least."""
_FIRST_WAIT = 2
_MOST_DOUBLINGS = 32


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Waits double from one failed attempt to the next, between the two bounds; without a floor there are none.

    Each is drawn from the upper half of what it may be, by the execution's id, so that what failed together does not
    come back together.
    """

    floor_seconds: float = 0.0
    ceiling_seconds: float = 0.0

    def due(self, last: ExecutionRecord, failures: int) -> int:
        """When the attempt after `last` may begin, in nanoseconds since 1970; 0 is at once.

        `failures` is how many attempts at this part are waited after, with the last one.
        """
        if not self.floor_seconds or not is_waited_after(last):
            return 0
        first = _FIRST_WAITS.get(cause_of(last), _FIRST_WAIT) * self.floor_seconds
        longest = min(self.ceiling_seconds, first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))
        drawn = longest * (1 + zlib.crc32(last.id.encode()) / 2**32) / 2
        return last.modify_time + int(max(self.floor_seconds, drawn) * 1e9)


NO_BACKOFF = Backoff()


def cause_of(record: ExecutionRecord) -> Cause:
    """Of its failure, or of its refusal."""
    told = record.failure.reason if record.failure is not None else ""
    if record.state is not ExecutionState.REJECTED:
        return FailureReason.parse(told).cause
    if is_refused(record) or told in NOT_BEGUN or told == "QueueFull":
        return Cause.NOT_TRIED
    return Cause.ENGINE if told in _NO_ENGINE else Cause.NODE


def is_waited_after(record: ExecutionRecord) -> bool:
    """Whether the next attempt waits: not where others alone can be asked, or the node stops or is drained."""
    is_in_order = is_given_back(record) and not (record.failure and record.failure.excused)
    return not is_refused(record) and not is_in_order


def cost_nothing(record: ExecutionRecord) -> bool:
    """Whether this uses no attempt up: the node would not have it, now or ever, gave it back, or is not believed."""
    if record.failure is None:
        return False
    return is_given_back(record) or record.failure.excused or record.state is ExecutionState.REJECTED


def is_given_back(record: ExecutionRecord) -> bool:
    """Whether the node has not begun it because it stops or is drained; what is `excused` it gave back of itself."""
    return record.failure is not None and record.failure.retryable and record.failure.reason in NOT_BEGUN


def is_refused(record: ExecutionRecord) -> bool:
    """Whether the node will not run this, ever: it refused, or says that nobody can, which others are asked."""
    failure = record.failure
    if record.state is ExecutionState.REJECTED:
        return not (failure and failure.retryable)
    return failure is not None and failure.excused and FailureReason.parse(failure.reason).cause is Cause.TASK


def may_be_tried_again(record: ExecutionRecord) -> bool:
    return record.state in {ExecutionState.FAILED, ExecutionState.REJECTED}


def was_last(record: ExecutionRecord, free: int, max_attempts: int) -> bool:
    """Whether all attempts are used up with this one, which failed; `free` is how many of its part cost nothing."""
    made = record.attempt + 1
    return made >= max_attempts and (free > MOST_FREE or made - free >= max_attempts)


def waits_until(instant: int) -> str:
    """In words."""
    return f"Waiting until {datetime.fromtimestamp(instant / 1e9, UTC):%H:%M:%S} UTC for its next attempt."
