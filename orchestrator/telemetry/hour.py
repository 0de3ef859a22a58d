"""The last hour of an orchestrator's measures, for whoever has no monitoring that would show how it went."""

import asyncio
from collections import deque
from datetime import UTC, datetime

import msgspec

from orchestrator.state.model import Model
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.jobs.states import ExecutionState, JobState
from shared.protocol.orchestrators.rest_cluster import AgentHistoryResponse

INTERVAL_SECONDS = 10.0
MOST_SAMPLES = 360


class _Sample(msgspec.Struct, frozen=True):
    """What was at one time, and how often something had happened until then."""

    at: int
    submitted: int
    completed: int
    failed: int
    stopped: int
    results: int
    result_bytes: int
    queued: int
    oldest_seconds: float
    running: int


class LastHour:
    """`run` looks every ten seconds, once all is read that was stored before; the oldest sample goes for a new one."""

    def __init__(self, model: Model, store: Store) -> None:
        self._model = model
        self._store = store
        self._samples: deque[_Sample] = deque(maxlen=MOST_SAMPLES + 1)
        self._since = now_ns()

    def __repr__(self) -> str:
        return f"<LastHour of {len(self._samples)} samples>"

    async def run(self) -> None:
        """Until cancelled."""
        await self._store.ready.wait()
        self._since = now_ns()
        while True:
            self.look(now_ns())
            await asyncio.sleep(INTERVAL_SECONDS)

    def look(self, now: int) -> None:
        """Take a sample; `now` is nanoseconds since 1970. It costs the same however many jobs there are."""
        model = self._model
        model.find_out()
        counted, states, oldest = model.throughput, model.backlog.job_states, model.backlog.oldest.instant
        sample = _Sample(
            at=now // 10**9,
            submitted=counted.submitted,
            completed=counted.ended[JobState.COMPLETED],
            failed=counted.ended[JobState.FAILED],
            stopped=counted.ended[JobState.STOPPED],
            results=counted.results,
            result_bytes=counted.result_bytes,
            queued=states[JobState.PENDING] + states[JobState.QUEUED],
            oldest_seconds=round(max(0, now - oldest) / 1e9, 3) if oldest is not None else 0.0,
            running=model.executions.states[ExecutionState.RUNNING],
        )
        self._samples.append(sample)

    def view(self) -> AgentHistoryResponse:
        """The first sample is what the others are counted from."""
        later = list(self._samples)[1:]
        steps = list(zip(self._samples, later, strict=False))
        return AgentHistoryResponse(
            since=datetime.fromtimestamp(self._since / 1e9, UTC),
            interval_seconds=INTERVAL_SECONDS,
            times=tuple(each.at for each in later),
            jobs_submitted=tuple(now.submitted - before.submitted for before, now in steps),
            jobs_completed=tuple(now.completed - before.completed for before, now in steps),
            jobs_failed=tuple(now.failed - before.failed for before, now in steps),
            jobs_stopped=tuple(now.stopped - before.stopped for before, now in steps),
            published_results=tuple(now.results - before.results for before, now in steps),
            published_bytes=tuple(now.result_bytes - before.result_bytes for before, now in steps),
            queued_jobs=tuple(each.queued for each in later),
            oldest_queued_seconds=tuple(each.oldest_seconds for each in later),
            running_executions=tuple(each.running for each in later),
        )
