"""Attempts at a part of a job: which count, and how long the next one waits after them.

All of it follows from stored records, so that every orchestrator comes to the same, also after a restart.
"""

import zlib
from datetime import UTC, datetime

import msgspec

from orchestrator.rules.exit_codes import first_wait
from orchestrator.rules.records import ExecutionRecord
from shared.jobs.spec import Retries
from shared.jobs.states import Cause, ExecutionState, FailureReason

NO_SUCH_ENGINE = "EngineNotOffered"
"""A node's refusal of what it had offered: since it was started it has not seen its engine yet."""
MOST_FREE = 50
"""How often nothing may be tried of one part, beside its attempts, so that no node can have it placed for ever."""

NOT_BEGUN = frozenset({FailureReason.HANDED_BACK.value, "NodeStopping"})
"""Reasons of those that were not begun because the node stops or is drained: another one may be asked at once."""
_NO_ENGINE = frozenset({FailureReason.ENGINE_UNAVAILABLE.value, NO_SUCH_ENGINE})
_FIRST_WAITS = {Cause.ENGINE: 8, Cause.REGISTRY: 8, Cause.SOURCE: 8}
"""Of the floor. What is away takes some seconds to come back: 4 waits outlast 60 floors at least."""
_FIRST_WAIT = 2
_MOST_DOUBLINGS = 32

NO_RETRIES = Retries()


class AttemptBackoff(msgspec.Struct, frozen=True, kw_only=True):
    """Waits double from one failed attempt to the next, between the two bounds; without a floor there are none.

    Each is drawn from the upper half of what it may be, by the execution's id, so that what failed together does not
    come back together.
    """

    floor_seconds: float = 0.0
    ceiling_seconds: float = 0.0

    def due(self, last: ExecutionRecord, failures: int, retries: Retries = NO_RETRIES) -> int:
        """When the attempt after `last` may begin, in nanoseconds since 1970; 0 is at once.

        `failures` is how many attempts at this part are waited after, with the last one: of those that failed by their
        exit codes, for which the job may have a first wait of its own, or of the others.
        """
        wished = first_wait(retries) if has_failed_by_exit_code(last) else None
        if (not self.floor_seconds and wished is None) or not is_waited_after(last):
            return 0
        first = _FIRST_WAITS.get(cause_of(last), _FIRST_WAIT) * self.floor_seconds if wished is None else wished
        longest = min(self.longest_seconds(retries), first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))
        drawn = longest * (1 + zlib.crc32(last.id.encode()) / 2**32) / 2
        return last.modify_time + int(max(self.floor_seconds, drawn) * 1e9)

    def longest_seconds(self, retries: Retries) -> float:
        """No attempt of a job with these retries waits for longer."""
        return max(self.ceiling_seconds, first_wait(retries) or 0.0)


NO_BACKOFF = AttemptBackoff()


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How often a part of a job may fail: by what happens to it, and beside that by its task's own exit codes."""

    max_attempts: int
    retries: Retries = NO_RETRIES

    def was_last(self, record: ExecutionRecord, *, free: int, exits: int) -> bool:
        """Whether no attempt is left after this one, which failed.

        Of all attempts at its part, `free` are how many cost nothing, and `exits` how many failed by an exit code.
        """
        if has_failed_by_exit_code(record):
            return exits > self.retries.max
        made = record.attempt + 1 - exits
        return made >= self.max_attempts and (free > MOST_FREE or made - free >= self.max_attempts)


def has_failed_by_exit_code(record: ExecutionRecord) -> bool:
    """Whether its task has, as its job sees it; so neither its node nor anything around it has failed."""
    return record.state is ExecutionState.FAILED and cause_of(record) is Cause.EXIT_CODE


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


def waits_until(instant: int) -> str:
    """In words."""
    return f"Waiting until {datetime.fromtimestamp(instant / 1e9, UTC):%H:%M:%S} UTC for its next attempt."
