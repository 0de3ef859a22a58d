"""The orchestrator's part of a job's trace: the submit, each execution from its placing on, and the end.

All of it follows from records, when a job has ended; only the submit and an assignment are told at once, by who knows
how long they took. Texts of users and of S3 stay out: attributes are ids, states, codes and sizes.
"""

from collections.abc import Callable, Iterator
from functools import partial

from orchestrator.rules.records import ExecutionRecord, JobRecord
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from orchestrator.storage.wall_clock import now_ns
from shared.jobs.states import ExecutionState, JobState
from shared.runtime.tracing import Place, Span, Tracing, place_of, root


class Traces:
    """Where tracing is off, every method returns at once. `leads` tells who of several orchestrators tells an end."""

    def __init__(self, tracing: Tracing, model: Model, *, leads: Callable[[], bool]) -> None:
        self._tracing = tracing
        self._model = model
        self._leads = leads
        if tracing.is_on:
            model.news.on_end = self._on_end

    def __repr__(self) -> str:
        return f"<Traces to {self._tracing!r}>"

    def kept(self, traceparent: str) -> str:
        """What a job's record keeps of the submitter's `traceparent`."""
        return traceparent if self._tracing.is_on and place_of(traceparent) else ""

    def on_submit(self, record: JobRecord) -> None:
        """The record that makes the job, or another version of it, is stored."""
        if self._tracing.is_on:
            job = self._job(record)
            span = partial(Span, name="submit", begin=record.submit_time, end=now_ns(), attributes=_about_job(record))
            self._tracing.tell([span(place=job.below("submit"), parent=job)])

    def traceparent(self, record: ExecutionRecord) -> str:
        """What goes with an assignment, so that the node's spans are below the execution's."""
        place = self._execution(record)
        return place.traceparent if place is not None else ""

    def on_accepted(self, record: ExecutionRecord) -> None:
        """Its node has just taken it on."""
        place = self._execution(record)
        if place is not None:
            span = partial(Span, name="assign", begin=record.create_time, end=now_ns())
            about = {"tarpon.execution.id": record.id, "tarpon.node.id": record.node_id}
            self._tracing.tell([span(place=place.below("assign", record.id), parent=place, attributes=about)])

    def _execution(self, record: ExecutionRecord) -> Place | None:
        entry = self._model.jobs.get(record.job_id) if self._tracing.is_on else None
        return self._job(entry.job).below(record.id) if entry is not None else None

    def _on_end(self, entry: JobEntry) -> None:
        if self._leads():
            before = place_of(entry.job.traceparent)
            executions = [each for each in entry.executions.values() if each.job_version == entry.job.version]
            self._tracing.tell(spans(entry, executions, self._job(entry.job), before, now=now_ns()))

    def _job(self, record: JobRecord) -> Place:
        name = f"{record.id}.{record.version}"
        before = place_of(record.traceparent)
        place = root(name) if before is None else before.below("job", name)
        return self._tracing.sampled(place, before)


def spans(
    entry: JobEntry, executions: list[ExecutionRecord], job: Place, before: Place | None, *, now: int
) -> Iterator[Span]:
    """Of a job that has just ended. `before` is the span of who submitted it."""
    record, state = entry.job, entry.progress.state
    yield Span(
        name="job",
        place=job,
        parent=before,
        begin=record.submit_time,
        end=now,
        attributes={**_about_job(record), "tarpon.job.state": str(state), "tarpon.job.executions": len(executions)},
        failure="" if state is JobState.COMPLETED else str(state),
    )
    ready: dict[int, int] = {}
    for each in sorted(executions, key=lambda each: each.attempt):
        yield from _execution(each, job, since=ready.get(each.partition, record.submit_time), now=now)
        ready[each.partition] = each.modify_time
    last = max((each.modify_time for each in executions), default=record.modify_time)
    yield Span(name="complete", place=job.below("complete"), parent=job, begin=last, end=now)


def _execution(record: ExecutionRecord, job: Place, *, since: int, now: int) -> Iterator[Span]:
    """`since` is when it could have been placed at the earliest."""
    place = job.below(record.id)
    end = record.modify_time if record.state.is_terminal else now
    yield Span(
        name="place",
        place=place.below("place", record.id),
        parent=job,
        begin=since,
        end=record.create_time,
        attributes={"tarpon.execution.id": record.id, "tarpon.node.id": record.node_id},
    )
    yield Span(
        name="execution",
        place=place,
        parent=job,
        begin=record.create_time,
        end=end,
        attributes={
            "tarpon.execution.id": record.id,
            "tarpon.node.id": record.node_id,
            "tarpon.execution.state": str(record.state),
            "tarpon.execution.partition": record.partition,
            "tarpon.execution.attempt": record.attempt,
        },
        failure=record.failure.reason if record.failure and record.state is not ExecutionState.COMPLETED else "",
    )
    if record.result is not None:
        yield Span(
            name="verify",
            place=place.below("verify", record.id),
            parent=place,
            begin=end - int(record.result.verify_seconds * 1e9),
            end=end,
            attributes={"tarpon.result.size_bytes": record.result.size_bytes},
        )


def _about_job(record: JobRecord) -> dict[str, str | int]:
    return {"tarpon.job.id": record.id, "tarpon.job.version": record.version, "tarpon.job.namespace": record.namespace}
