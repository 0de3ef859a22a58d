"""Second opinions: whether a failure counts, or another node is asked first, as one alone is not believed.

A node may be broken in ways that look like the task's fault, and may lie. Another one is asked at most once whether a
task can be run at all, and then that is settled.
"""

from collections.abc import Callable, Collection, Container

from orchestrator.nodes.conduct import Conduct
from orchestrator.nodes.presence import Nodes
from orchestrator.rules.attempts import cause_of, has_failed_by_exit_code, is_refused
from orchestrator.rules.fleet import shape_of
from orchestrator.rules.placement import unsuitable
from orchestrator.rules.records import ExecutionRecord
from orchestrator.state.job_entry import JobEntry
from shared.ids import NodeId
from shared.jobs.states import Cause, ExecutionState, FailureReason

_NOT_BEGUN = frozenset(
    {
        FailureReason.TASK_NOT_STARTED,
        FailureReason.IMAGE_NOT_FOUND,
        FailureReason.IMAGE_ACCESS_DENIED,
        FailureReason.INPUT_NOT_FOUND,
        FailureReason.INPUT_ACCESS_DENIED,
        FailureReason.INPUT_NOT_ALLOWED,
    }
)
"""Elsewhere that repeats nothing, and it may be the node's: a broken hook, credentials that it lacks, a folder that it
does not have, an address that its operator does not allow."""

HasOther = Callable[[Container[NodeId]], bool]
"""Whether a node could run the task, without these."""


def asks_others(record: ExecutionRecord, reason: FailureReason, entry: JobEntry, nodes: Nodes) -> bool:
    """Whether this execution, of which its node says that it has failed, uses no attempt up."""
    if entry.targets(record.job_version):  # no other node may run it
        return False
    if entry.specs[record.job_version].verification and reason.cause is Cause.TASK:  # others run it anyway
        return False
    of_partition = [each for each in entry.of_version(record.job_version) if each.partition == record.partition]
    refused = frozenset(each.node_id for each in of_partition if is_refused(each))
    shape = shape_of(entry.specs[record.job_version], refused)

    def has_other(without: Container[NodeId]) -> bool:
        return any(
            shape.engine.lower() not in each.away and not unsuitable(shape, record.resources, each)
            for each in nodes.others(without)
        )

    return is_asked_for(record, reason, of_partition, nodes.conduct, has_other)


def is_asked_for(
    record: ExecutionRecord,
    reason: FailureReason,
    of_partition: Collection[ExecutionRecord],
    conduct: Conduct,
    has_other: HasOther,
) -> bool:
    """The same, by all executions of its part."""
    if record.state is ExecutionState.PUBLISHING:
        return False
    node, failed = record.node_id, [each for each in of_partition if _has_failed(each)]
    asked = {node, *(each.node_id for each in failed)}
    if reason.cause is Cause.TASK:
        is_odd = reason in _NOT_BEGUN or conduct.is_doubtful(node)
        is_said = any(each.node_id != node and cause_of(each) is Cause.TASK for each in failed)
        return is_odd and not is_said and has_other(asked)
    if reason.cause is not Cause.NOT_TRIED:
        is_nodes = conduct.holds(node, but_for=record.job_id) > 0 or any(each.node_id == node for each in failed)
        return is_nodes and has_other(asked)
    return False


def _has_failed(record: ExecutionRecord) -> bool:
    """On its node; where the task ended by itself, whatever its exit code, it can be run."""
    return record.state is ExecutionState.FAILED and not has_failed_by_exit_code(record)
