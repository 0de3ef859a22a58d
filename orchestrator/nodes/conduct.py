"""The conduct of nodes: which failures are held against them, and who fails task after task.

Held against a node is what it says is its own fault, such as a broken engine. What it says is the task's or the image
registry's is held against it once such a task has run elsewhere. What fails on several nodes may be the task's, and is
held against none of them, unless it runs on one in the end. So jobs that fail everywhere make no good node suspect, and
a node that fails everything is known after a few jobs, whatever it says of them.
"""

from collections.abc import Iterator
from typing import NamedTuple

from orchestrator.rules.attempts import cause_of, is_given_back
from orchestrator.rules.records import ExecutionRecord, Suspicion
from shared.ids import JobId, NodeId
from shared.jobs.states import Cause, FailureReason

SUSPECT_AFTER = 3
"""So many failures in a row, of different jobs, each of which was placed after the one before had failed."""
DOUBTFUL_AFTER = 2
"""So many jobs in a row that a node says have failed by themselves, after which it is not believed alone."""
MOST_FAILURES = 8
MOST_PARTS = 64
MOST_PARTS_KNOWN = 4096
MAX_DETAIL = 500

_OWN = frozenset({Cause.NODE, Cause.ENGINE})


class JobPartition(NamedTuple):
    """Of a job."""

    job: JobId
    version: int
    partition: int


class _Row:
    """What has failed on a node since something went well there. `failures` are parts that failed together."""

    def __init__(self) -> None:
        self.failures: list[set[JobPartition]] = []
        self.last_at = 0
        self.blamed: set[JobPartition] = set()
        """Parts of which it said that they failed by themselves."""
        self.contradicted_at = 0
        """Since when one of these has run elsewhere."""
        self.suspicion = Suspicion(since=0)
        self.was_suspect = False
        """By what whoever led before has stored."""

    def fail(self, record: ExecutionRecord) -> None:
        partition, together = _partition(record), record.create_time <= self.last_at
        if not any(partition in partitions for partitions in self.failures):
            if not (together and self.failures):
                self.failures.append({partition})
                del self.failures[:-MOST_FAILURES]
            elif len(self.failures[-1]) < MOST_PARTS:
                self.failures[-1].add(partition)
        self.last_at = max(self.last_at, record.modify_time)
        failure = record.failure
        self.suspicion = Suspicion(
            since=self.suspicion.since or record.modify_time,
            reason=failure.reason if failure else "",
            detail=failure.detail[:MAX_DETAIL] if failure else "",
        )


class Conduct:
    """What is known while this orchestrator leads."""

    def __init__(self) -> None:
        self._rows: dict[NodeId, _Row] = {}
        self._failed_on: dict[JobPartition, set[NodeId]] = {}
        self._ran: dict[JobPartition, None] = {}
        """Of these, the ones that ran on another node in the end."""

    def restore(self, node: NodeId, suspicion: Suspicion, *, now: int) -> None:
        """It was suspect when another one led, whose clock may have been ahead."""
        row = self._rows[node] = _Row()
        row.suspicion, row.last_at, row.was_suspect = suspicion, min(suspicion.since, now), True

    def on_failure(self, record: ExecutionRecord) -> bool:
        """Take note; whether it is held against the node."""
        node, partition = record.node_id, _partition(record)
        if cause_of(record) is Cause.NOT_TRIED and not _is_unasked(record):
            return False
        row = self._rows.setdefault(node, _Row())
        self._note(partition, node)
        if not _is_own(record) and not 0 < row.contradicted_at < record.create_time:
            if len(row.blamed) < MOST_PARTS:
                row.blamed.add(partition)
            return False
        row.fail(record)
        return self._is_held(partition)

    def on_success(self, record: ExecutionRecord) -> None:
        """Something went well on the node: what failed there before it was given this is forgotten."""
        if not self._rows:
            return
        row = self._rows.get(record.node_id)
        if row is not None and record.create_time > row.last_at:
            del self._rows[record.node_id]
        partition = _partition(record)
        for node in self._failed_on.get(partition, set()) - {record.node_id}:
            self._ran[partition] = None
            failing = self._rows.get(node)
            if failing is not None and partition in failing.blamed:
                failing.contradicted_at = record.modify_time

    def forget(self, node: NodeId) -> None:
        self._rows.pop(node, None)

    def holds(self, node: NodeId, *, but_for: JobId | None = None) -> int:
        """How many failures in a row are held against it: of different jobs, or of parts that ran elsewhere."""
        row, count, jobs = self._rows.get(node), 0, {but_for}
        for partitions in row.failures if row is not None else ():
            held = [each for each in partitions if each.job != but_for and self._is_held(each)]
            count += any(each in self._ran or each.job not in jobs for each in held)
            jobs.update(each.job for each in held)
        return count

    def is_suspect(self, node: NodeId) -> bool:
        row = self._rows.get(node)
        return row is not None and (row.was_suspect or self.holds(node) >= SUSPECT_AFTER)

    def is_doubtful(self, node: NodeId) -> bool:
        """Whether it says of everything that it failed by itself."""
        row = self._rows.get(node)
        return row is not None and len({each.job for each in row.blamed}) >= DOUBTFUL_AFTER

    def suspicions(self) -> Iterator[tuple[NodeId, Suspicion]]:
        return ((node, row.suspicion) for node, row in self._rows.items() if self.is_suspect(node))

    def failed_at(self, node: NodeId) -> int:
        """When something failed there last that is held against it, in nanoseconds since 1970; 0 if nothing did."""
        row = self._rows.get(node)
        return row.last_at if row is not None else 0

    def disputed(self, record: ExecutionRecord) -> Iterator[NodeId]:
        """Other nodes against which this was held, and nothing is any more, because it has failed elsewhere too."""
        partition = _partition(record)
        for node in self._failed_on.get(partition, set()) - {record.node_id}:
            row = self._rows.get(node)
            was_held = row is not None and any(partition in partitions for partitions in row.failures)
            if was_held and not self.holds(node) and not self.is_suspect(node):
                yield node

    def _note(self, partition: JobPartition, node: NodeId) -> None:
        self._failed_on.setdefault(partition, set()).add(node)
        if len(self._failed_on) > MOST_PARTS_KNOWN:
            oldest = next(iter(self._failed_on))
            del self._failed_on[oldest]
            self._ran.pop(oldest, None)

    def _is_held(self, partition: JobPartition) -> bool:
        return len(self._failed_on.get(partition, ())) < 2 or partition in self._ran

    def __repr__(self) -> str:
        return f"<Conduct of {len(self._rows)} nodes>"


def _partition(record: ExecutionRecord) -> JobPartition:
    return JobPartition(record.job_id, record.job_version, record.partition)


def _is_own(record: ExecutionRecord) -> bool:
    """Whether it says itself that the fault is its own, and no task can have made it say so."""
    was_restarted = record.failure is not None and record.failure.reason == FailureReason.NODE_RESTARTED
    return was_restarted or _is_unasked(record) or cause_of(record) in _OWN


def _is_unasked(record: ExecutionRecord) -> bool:
    return is_given_back(record) and record.failure is not None and record.failure.excused
