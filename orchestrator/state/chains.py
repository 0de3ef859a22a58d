"""Chains: which jobs need which, and what follows for those that wait.

It follows from the jobs, as the backlog does, so that whoever leads finds the same.
"""

from collections.abc import Iterator

from orchestrator.rules.pinned_needs import InVain, Met, NeededVersion, PinnedNeed, verdict, waits_for
from orchestrator.state.filing.known_jobs import KnownJobs
from orchestrator.state.job_entry import JobEntry
from shared.ids import JobId
from shared.jobs.states import ExecutionState, JobState


class Chains:
    """`jobs` are those that there are, by their ids, which the model keeps."""

    def __init__(self, jobs: KnownJobs) -> None:
        self._jobs = jobs
        #: What the newest versions of jobs need, of those that need anything.
        self._needs: dict[JobId, tuple[PinnedNeed, ...]] = {}
        #: The jobs that need a job, also those that have ended; of which some may not be there any more.
        self._followers: dict[JobId, dict[JobId, None]] = {}
        #: Jobs that wait for what can never be, and why that is.
        self.in_vain: dict[JobId, InVain] = {}

    def note(self, entry: JobEntry) -> None:
        """Take in what the newest version of a job needs, which may be nothing."""
        before, now = self._needs.get(entry.id, ()), entry.needs
        if before != now:
            self._forget(entry.id)
            if now:
                self._needs[entry.id] = now
            for need in now:
                self._followers.setdefault(need.job, {})[entry.id] = None
        if not now:
            entry.ready_at = 0
        if entry.progress.state.is_terminal:
            self.in_vain.pop(entry.id, None)

    def drop(self, job: JobId) -> None:
        """Take in that this is no job any more."""
        self._forget(job)

    def _forget(self, job: JobId) -> None:
        self.in_vain.pop(job, None)
        for need in self._needs.pop(job, ()):
            followers = self._followers[need.job]
            followers.pop(job, None)
            if not followers:
                del self._followers[need.job]

    def has(self, job: JobId) -> bool:
        """Whether it needs others, or others need it."""
        return job in self._needs or job in self._followers

    def followers(self, job: JobId) -> Iterator[JobEntry]:
        """The jobs whose newest versions need this one, also ended ones. Each is read when it is its turn."""
        known = (self._jobs.get(each) for each in tuple(self._followers.get(job, ())))
        return (each for each in known if each is not None)

    def follower_count(self, job: JobId) -> int:
        return len(self._followers.get(job, ()))

    def live_followers(self, job: JobId) -> Iterator[JobEntry]:
        """Those of them that have not ended, for which no filed job has to be read."""
        known = (self._jobs.live.get(each) for each in tuple(self._followers.get(job, ())))
        return (each for each in known if each is not None and not each.progress.state.is_terminal)

    def live_follower(self, job: JobId) -> JobEntry | None:
        """One that needs this job and has not ended, so that nothing of this one may go."""
        return next(self.live_followers(job), None)

    def look(self, entry: JobEntry) -> str:
        """Why the job has to wait for others, empty if it has not. What it needs is looked at anew.

        One that has begun does not wait any more, whatever becomes of what it needed.
        """
        found = {need: verdict(need, self._standing(need)) for need in entry.needs}
        self.in_vain.pop(entry.id, None)
        vain = [each for each in found.values() if isinstance(each, InVain)]
        met = [each.since for each in found.values() if isinstance(each, Met)]
        if len(met) == len(found) or any(entry.of_version()):
            entry.ready_at = max(met, default=0)
            return ""
        entry.ready_at = None
        if vain:
            self.in_vain[entry.id] = vain[0]
            return vain[0].why
        return waits_for([need for need, each in found.items() if each is None])

    def _standing(self, need: PinnedNeed) -> NeededVersion | None:
        entry = self._jobs.get(need.job)
        if entry is None or entry.job.removal is not None:
            return None
        return standing_of(entry, need.version)

    def __repr__(self) -> str:
        return f"<Chains of {len(self._needs)} jobs, {len(self.in_vain)} of them in vain>"


def standing_of(entry: JobEntry, version: int) -> NeededVersion | None:
    """How a version of a job stands; None where that is not known any more."""
    if version == entry.job.version:
        state, message, replaced_by = entry.progress.state, entry.progress.message, 0
    else:
        told = next((each for each in entry.earlier() if each.version == version), None)
        if told is None:
            return None
        state, message, replaced_by = told.state, told.message, entry.job.version
    if state is not JobState.COMPLETED:
        return NeededVersion(state=state, message=message, replaced_by=replaced_by)
    done = [each for each in entry.with_kept(version) if each.state is ExecutionState.COMPLETED]
    return NeededVersion(
        state=state,
        codes=[each.output.exit_code for each in done if each.output is not None],
        ended_at=max((each.modify_time for each in done), default=0),
    )
