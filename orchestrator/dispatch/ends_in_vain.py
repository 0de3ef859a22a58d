"""Ends in vain: a job that needs one which will never end as it has to ends with it, and so does what needs that."""

import logging

from orchestrator.rules.job_progress import job_transition
from orchestrator.rules.life_events import GivenUp, StopAsked
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.ids import JobId
from shared.protocol.subjects import job_record
from shared.runtime.aio import pipelined
from shared.runtime.log_lines import about

_log = logging.getLogger(__name__)

WRITES_AT_ONCE = 64


async def end_in_vain(model: Model, store: Store) -> None:
    """Stop what needs a job that was stopped, and fail what needs one that failed or is gone, link after link."""
    in_vain = model.backlog.chains.in_vain

    async def end(job: JobId) -> None:
        entry, found = model.jobs.get(job), in_vain.get(job)
        if entry is None or found is None or entry.progress.state.is_terminal:
            return
        if any(store.is_unread(job_record(need.job)) for need in entry.needs):
            return  # it is there, and only not understood here
        event = StopAsked(found.why) if found.by_stop else GivenUp(found.why)
        step = job_transition(entry.job, entry.progress.state, event, now=now_ns())
        if await changes.update(store, step.record):
            _log.info("Job %s waits in vain: %s", job, found.why, extra=about(job=job))

    looked_at: set[JobId] = set()
    while new := [job for job in in_vain if job not in looked_at]:
        looked_at.update(new)
        await pipelined(new, end, at_once=WRITES_AT_ONCE)
