"""The node's part of a job's trace, told once the orchestrator knows an end: all from the journal.

Archive and upload begin together, because what is packed is sent at once; `archive` is as long as packing alone would
have taken. Texts that a task or S3 wrote stay out: attributes are ids, codes and sizes.
"""

import time
from collections.abc import Iterator

from compute.journal.entry import Entry
from shared.ids import NodeId
from shared.protocol.messages import AnyFact, ExecutionFailed, ExecutionStarted, OutputPublished, TaskEnded
from shared.runtime.tracing import Place, Span, Tracing, place_of


class ExecutionTraces:
    def __init__(self, tracing: Tracing, node: NodeId) -> None:
        self._tracing = tracing
        self._node = node

    def __repr__(self) -> str:
        return f"<ExecutionTraces of {self._node} to {self._tracing!r}>"

    def on_over(self, entry: Entry) -> None:
        """The orchestrator has stored its end, or does not want it any more."""
        execution = place_of(entry.assignment.traceparent) if self._tracing.is_on else None
        if execution is not None:
            self._tracing.tell(spans(entry, execution, self._node, now=time.time_ns()))


def spans(entry: Entry, execution: Place, node: NodeId, *, now: int) -> Iterator[Span]:
    """Below the orchestrator's span of this execution, in the order of their beginning."""
    at = {type(each.fact): int(each.at * 1e9) for each in entry.happenings}
    facts: dict[type[AnyFact], AnyFact] = {type(each.fact): each.fact for each in entry.happenings}
    accepted = int(entry.accepted_at * 1e9)
    ended = max(at.values(), default=now)
    held = execution.below("node", entry.execution_id)
    failed = facts.get(ExecutionFailed)
    attributes = {
        "tarpon.job.id": entry.assignment.job_id,
        "tarpon.execution.id": entry.execution_id,
        "tarpon.node.id": node,
        "tarpon.engine": entry.assignment.task.engine.type,
        "tarpon.phase": entry.phase.value,
    }
    reason = failed.reason if isinstance(failed, ExecutionFailed) else ""
    yield Span(
        name="node", place=held, parent=execution, begin=accepted, end=now, attributes=attributes, failure=reason
    )
    started, finished, published = at.get(ExecutionStarted), at.get(TaskEnded), at.get(OutputPublished)
    yield _part("queue", held, accepted, started or ended)
    if started:
        yield _part("run", held, started, finished or ended)
    if finished and isinstance(fact := facts.get(OutputPublished), OutputPublished):
        yield from _publishing(fact, held, finished, published or ended)
    yield _part("report", held, ended, now)


def _publishing(fact: OutputPublished, held: Place, begin: int, end: int) -> Iterator[Span]:
    packed = min(end, begin + int(fact.archive_seconds * 1e9))
    yield _part("archive", held, begin, packed, entries=fact.entries, raw_bytes=fact.raw_bytes)
    sizes = {"size_bytes": fact.size_bytes, "parts": fact.parts, "retries": fact.retries, "renewals": fact.renewals}
    yield _part("upload", held, begin, end, **sizes)


def _part(name: str, held: Place, begin: int, end: int, **sizes: int) -> Span:
    attributes = {f"tarpon.result.{key}": value for key, value in sizes.items()}
    return Span(
        name=name, place=held.below(name, held.span_id), parent=held, begin=begin, end=end, attributes=attributes
    )
