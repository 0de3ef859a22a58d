"""Time-outs: what time alone makes of executions and jobs, also where nodes are silent. Pure functions of `now`."""

import msgspec

from orchestrator.rules.life_events import ExecutionLost, TimedOut, Unattended
from orchestrator.rules.records import ExecutionRecord
from shared.jobs.spec import Timeouts
from shared.jobs.states import ExecutionState, FailureReason
from shared.protocol.execution_lines import RUNNING

SLACK_SECONDS = 120.0
"""How much longer than a time-out a connected node may take to end the execution itself, and to tell."""


MOST_TOLD = 5
"""So many times the limit an execution may be prepared where its node goes on to say something of it."""


class SilenceLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a connected node may leave orders unanswered, and say nothing of what it accepted and has not begun."""

    answer_seconds: float
    start_seconds: float


class LastHeard(msgspec.Struct, frozen=True, kw_only=True):
    """When a node accepted an execution, and when it said something of it last."""

    accepted_at: float
    last_at: float


def of_silent_node(record: ExecutionRecord, *, publish_seconds: float, now: int) -> ExecutionLost | None:
    """A finished result on a silent node is worth waiting for: its task would have to run again."""
    if record.awaits_agreement:
        return None
    if record.state is ExecutionState.PUBLISHING and now - record.modify_time <= publish_seconds * 1e9:
        return None
    return ExecutionLost(FailureReason.NODE_LOST, f"Node {record.node_id} has disappeared")


def of_silence(
    record: ExecutionRecord, *, silent_since: float | None, told: LastHeard | None, limits: SilenceLimits, now: float
) -> Unattended | None:
    """What was placed on a node that is connected, and neither answers nor begins it; times are monotonic seconds.

    `silent_since` is from when on the node has left every offer unanswered.
    """
    if record.state is not ExecutionState.NEW:
        return None
    if silent_since is not None and now - silent_since > limits.answer_seconds:
        return Unattended(f"Node {record.node_id} has not answered for {limits.answer_seconds:g} s")
    if told is None:
        return None
    if now - told.last_at > limits.start_seconds or now - told.accepted_at > MOST_TOLD * limits.start_seconds:
        return Unattended(f"Node {record.node_id} accepted this and has not begun it: its StartTimeout is over")
    return None


def of_execution(
    record: ExecutionRecord, timeouts: Timeouts, *, publish_seconds: float, heard_since: int, now: int
) -> TimedOut | None:
    """The time-out that its node, which is connected, should have kept.

    `heard_since` is from when on reports were taken in: what was told before may still be on its way.
    """
    publishing = record.state is ExecutionState.PUBLISHING
    limit = publish_seconds if publishing else float(timeouts.execution_timeout or timeouts.total_timeout)
    most = int((limit + SLACK_SECONDS) * 1e9)
    has_limit = publishing or (record.state is ExecutionState.RUNNING and limit > 0)
    if not has_limit or now - record.create_time <= most or now - heard_since <= SLACK_SECONDS * 1e9:
        return None
    if now - _running_or_ended_since(record) <= most:
        return None
    silence = f"and node {record.node_id} has not ended it"
    if publishing:
        detail = f"The result could not be published within {limit:g} s, {silence}."
        return TimedOut(FailureReason.PUBLISH_TIMED_OUT, detail)
    detail = f"The task ran longer than its time limit of {limit:g} s, {silence}."
    return TimedOut(FailureReason.EXECUTION_TIMED_OUT, detail)


def _running_or_ended_since(record: ExecutionRecord) -> int:
    """When its task began or, where it has ended, ended: as it was recorded, by the orchestrator's clock."""
    for event in reversed(record.events):
        if event.topic == RUNNING:
            return event.recorded or event.time
    return record.modify_time


def of_job(since: int, timeouts: Timeouts, *, is_placed: bool, now: int) -> str:
    """Which time-out is over of a job that waits for a node `since` then, in words; empty if none is."""
    age = now - since
    if 0 < timeouts.total_timeout * 1e9 < age:
        return f"Not ended within its total time-out of {timeouts.total_timeout} s."
    if 0 < timeouts.queue_timeout * 1e9 < age and not is_placed:
        return f"Not started within its queue time-out of {timeouts.queue_timeout} s."
    return ""
