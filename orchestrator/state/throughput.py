"""Throughput: what has happened to jobs since this process knows of them, whoever did it. Numbers alone."""

from collections import Counter

import msgspec

from orchestrator.rules.records import ExecutionRecord, JobRecord
from shared.jobs.states import JobState


class Throughput(msgspec.Struct):
    """Counted since the start, at which all that is stored is new: only differences mean something."""

    submitted: int = 0
    """Versions of jobs."""
    results: int = 0
    result_bytes: int = 0
    ended: Counter[JobState] = msgspec.field(default_factory=Counter)

    def note_job(self, before: JobRecord | None, now: JobRecord) -> None:
        if before is None or before.version != now.version:
            self.submitted += 1

    def note_execution(self, before: ExecutionRecord | None, now: ExecutionRecord) -> None:
        if now.result is not None and (before is None or before.result is None):
            self.results += 1
            self.result_bytes += now.result.size_bytes
