"""Ended parts of a job: how many ended in which way, and why some have failed."""

from collections import Counter
from collections.abc import Iterator

from orchestrator.rules.records import ExecutionRecord
from orchestrator.state.job_entry import JobEntry
from shared.jobs.states import ExecutionState
from shared.protocol.jobs.rest_waits import PartCounts

MOST_REASONS = 5
_FAILED = frozenset({ExecutionState.FAILED, ExecutionState.REJECTED})


def ended_counts(entry: JobEntry) -> PartCounts:
    """By the last attempts at the parts of the newest version; some that are to stop may not have done so yet."""
    last = last_attempts(entry)
    states, total = Counter(each.state for each in last), entry.part_count()
    return PartCounts(
        total=total,
        placed=states[ExecutionState.NEW] + states[ExecutionState.ACCEPTED],
        running=states[ExecutionState.RUNNING],
        publishing=states[ExecutionState.PUBLISHING],
        completed=states[ExecutionState.COMPLETED],
        failed=sum(states[each] for each in _FAILED),
        stopped=states[ExecutionState.CANCELLED],
        never_begun=max(0, total - len(last)),
    )


def failures_told(entry: JobEntry) -> Iterator[str]:
    """Why parts have failed, the most frequent reasons first."""
    told = Counter(_why(each) for each in last_attempts(entry) if each.state in _FAILED)
    for why, count in told.most_common(MOST_REASONS):
        yield why if count == 1 else f"{why} ({count:,} parts)"
    if len(told) > MOST_REASONS:
        yield f"and {len(told) - MOST_REASONS:,} more reasons why parts have failed"


def _why(record: ExecutionRecord) -> str:
    failure = record.failure
    if failure is None:
        return "no reason was given"
    return f"{failure.reason}: {failure.detail}" if failure.detail else failure.reason


def last_attempts(entry: JobEntry, version: int = 0) -> list[ExecutionRecord]:
    """Of each part of this version, or the newest, what has completed, or else goes on, or else came last."""
    found: dict[int, ExecutionRecord] = {}
    for each in entry.with_kept(version):
        known = found.get(each.partition)
        if known is None or _rank(known) < _rank(each):
            found[each.partition] = each
    return list(found.values())


def _rank(record: ExecutionRecord) -> tuple[bool, bool, int]:
    return record.state is ExecutionState.COMPLETED, not record.state.is_terminal, record.attempt
