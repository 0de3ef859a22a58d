"""Backlog: what there is to do about jobs. What waits to be placed and why, what is to stop, and whose time is limited.

It follows from the jobs, and is kept as they change, so that a look at it costs nothing that grows with them.
"""

import sys
from collections import Counter
from collections.abc import Hashable

from orchestrator.rules.attempts import AttemptBackoff, waits_until
from orchestrator.rules.fleet import shape_of
from orchestrator.state.by_instant import ByInstant
from orchestrator.state.chains import Chains
from orchestrator.state.filing.known_jobs import KnownJobs
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.news import News
from orchestrator.state.throughput import Throughput
from orchestrator.state.waiting_jobs import WaitingJobs
from shared.ids import JobId
from shared.jobs.spec import OPS
from shared.jobs.states import JobState


class Backlog:
    """`jobs` are those that there are, by their ids, which the model keeps."""

    def __init__(self, jobs: KnownJobs, news: News, throughput: Throughput, *, backoff: AttemptBackoff) -> None:
        #: Jobs with parts that can be placed now. Changed here alone, as all that follows; others read it.
        self.pending = WaitingJobs()
        #: Those of the pending jobs that run on each node: these are to be chosen, or may be gone.
        self.each_node: dict[JobId, None] = {}
        #: Jobs by the nanosecond at which a part that failed may be tried again.
        self.waiting: ByInstant[JobId] = ByInstant()
        #: The nanosecond up to which what was due has been let go; 0 while nobody leads.
        self.released = 0
        #: Jobs with executions that should stop.
        self.surplus: dict[JobId, None] = {}
        #: Jobs with replicas that have answered, about which is to be decided.
        self.judged: dict[JobId, None] = {}
        #: Why a job that waits has to wait.
        self.reasons: dict[JobId, str] = {}
        #: Jobs of which nothing has been placed, by when they were submitted.
        self.oldest: ByInstant[JobId] = ByInstant()
        #: Jobs by the nanosecond at which the first of their time-outs is over.
        self.deadlines: ByInstant[JobId] = ByInstant()
        #: How many jobs are in each state; one that is pending for a reason counts as queued.
        self.job_states: Counter[JobState] = Counter()
        #: Which jobs need which.
        self.chains = Chains(jobs)
        self._jobs = jobs
        self._news = news
        self._throughput = throughput
        self._backoff = backoff

    def note(self, entry: JobEntry) -> None:
        """Take in that what follows from a job's records was found out anew."""
        job = entry.id
        in_chain = entry.needs or self.chains.has(job)
        if in_chain:
            self.chains.note(entry)
        self._place(entry)
        if entry.progress.surplus:
            self.surplus[job] = None
        else:
            self.surplus.pop(job, None)
        if entry.progress.verdicts:
            self.judged[job] = None
        else:
            self.judged.pop(job, None)
        self._count(entry)
        self._limit(entry)
        if in_chain:
            self._look_at_followers(entry.id)
            if entry.progress.state.is_terminal:
                for need in entry.needs:  # whoever waits until nothing needs it any more
                    self._news.tell(need.job)

    def _look_at_followers(self, job: JobId) -> None:
        """What waits for this job may have to wait no more, or in vain."""
        for entry in self.chains.live_followers(job):
            self._place(entry)
            self._count(entry)
            self._limit(entry)
            self._news.tell(entry.id)

    def _place(self, entry: JobEntry) -> None:
        """Have it placed, as far as there is anything of it to be placed."""
        job = entry.id
        if entry.needs and not entry.progress.state.is_terminal and self._waits_for_jobs(entry):
            return
        if entry.progress.missing:
            self._queue(entry)
        else:
            self._unqueue(job)
            self.waiting.drop(job)
            self.reasons.pop(job, None)

    def _unqueue(self, job: JobId) -> None:
        self.pending.drop(job)
        self.each_node.pop(job, None)

    def renew(self, job: JobId) -> None:
        """Take in that a job has another version: why the earlier one had to wait is not why this one does."""
        self.reasons.pop(job, None)
        self.pending.renew(job)

    def drop(self, entry: JobEntry) -> None:
        """Take in that this is no job any more that anybody sees."""
        job = entry.id
        if entry.counted is not None:
            self.job_states[entry.counted] -= 1
        self._unqueue(job)
        self.waiting.drop(job)
        self.surplus.pop(job, None)
        self.judged.pop(job, None)
        self.reasons.pop(job, None)
        self.oldest.drop(job)
        self.deadlines.drop(job)
        if self.chains.has(job):
            self.chains.drop(job)
            self._look_at_followers(job)

    def _queue(self, entry: JobEntry) -> None:
        """Have it placed as far as its parts wait neither after a failed attempt nor for others to end."""
        job, progress = entry.id, entry.progress
        if not progress.missing:  # found out just now, and done what follows from it
            return
        later = [at for at in progress.waits.values() if not self.is_due(entry, at)] if progress.waits else ()
        has_due = len(later) < len(progress.missing)
        if has_due and progress.room:
            shape = shape_of(entry.spec, entry.refusals)
            self.pending.put(job, priority=entry.job.priority, shape=shape, namespace=entry.namespace)
            if entry.spec.type == OPS:
                self.each_node[job] = None
            else:  # an earlier version may have been
                self.each_node.pop(job, None)
        else:
            self._unqueue(job)
            self.reasons[job] = _waits_for_others(entry) if has_due else waits_until(min(later))
        if later:
            self.waiting.put(job, min(later))
        else:
            self.waiting.drop(job)

    def _waits_for_jobs(self, entry: JobEntry) -> bool:
        """Whether it has to wait for jobs that it needs; why is then said."""
        job, had_to = entry.id, entry.ready_at is None
        reason = self.chains.look(entry)
        if reason:
            self._unqueue(job)
            self.waiting.drop(job)
            self.reasons[job] = reason
        elif had_to:
            self.reasons.pop(job, None)
        return bool(reason)

    def release(self, now: int) -> None:
        """Have those parts placed that have waited for long enough after a failed attempt."""
        was_set_back, self.released = now < self.released or not self.released, now
        if was_set_back:  # what would wait for too long is not the first in the order of time
            for job in self.waiting.take(len(self.waiting), before=sys.maxsize):
                self._queue(self._jobs[job])
        for job in self.waiting.take(len(self.waiting), before=now):
            self._queue(self._jobs[job])

    def is_due(self, entry: JobEntry, at: int) -> bool:
        """Whether what of this job waits until then is placed now.

        Who led before may have had a clock that was ahead: nothing waits for longer than the longest wait.
        """
        if at <= self.released:
            return True
        longest = self._backoff.longest_seconds(entry.spec.task.retries)
        return 0 < self.released < at - longest * 1e9

    def _count(self, entry: JobEntry) -> None:
        job, state = entry.id, entry.progress.state
        since = entry.waits_since if state is JobState.PENDING and entry.progress.missing else None
        if since is not None:
            self.oldest.put(job, since)
        else:
            self.oldest.drop(job)
        if state is JobState.PENDING and self.reasons.get(job):
            state = JobState.QUEUED
        if state is not entry.counted:
            before, entry.counted = entry.counted, state
            self.job_states[state] += 1
            if before is not None:
                self.job_states[before] -= 1
                if state.is_terminal and not before.is_terminal:
                    self._throughput.ended[state] += 1
                    self._news.on_end(entry)

    def _limit(self, entry: JobEntry) -> None:
        deadline = None if entry.progress.state.is_terminal else entry.deadline
        if deadline is None:
            self.deadlines.drop(entry.id)
        else:
            self.deadlines.put(entry.id, deadline)

    def explain(self, job: JobId, reason: str) -> None:
        """Remember why this pending job has to wait."""
        if self.reasons.get(job) != reason and job in self._jobs:
            self.reasons[job] = reason
            self._count(self._jobs[job])
            self._news.tell(job)

    def explain_next(self, shape: Hashable, reason: str, most: int) -> None:
        """`explain` some jobs of this shape that nobody was told about why they wait."""
        for job in self.pending.take_unexplained(shape, most):
            self.explain(job, reason)

    def unexplain(self, job: JobId) -> None:
        """Forget why this job had to wait."""
        if self.reasons.pop(job, None) is not None:
            self._count(self._jobs[job])

    def __repr__(self) -> str:
        return f"<Backlog, {self.pending!r}>"


def _waits_for_others(entry: JobEntry) -> str:
    return f"Waiting for another of its parts to end: {entry.spec.max_parallel} may run at once (MaxParallel)."
