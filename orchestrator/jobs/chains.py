"""Chains of jobs, as they are submitted: which jobs are meant by what each needs, and what makes them impossible."""

from collections.abc import Collection, Iterator, Mapping

from orchestrator.rules.near_names import near_names
from orchestrator.rules.pinned_needs import InVain, PinnedNeed, verdict
from orchestrator.state.chains import standing_of
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from shared.errors import Conflict, InvalidJob, JobAmbiguous, JobNotFound, did_you_mean
from shared.ids import JobId
from shared.jobs.needs import COMPLETED, needs_of
from shared.jobs.spec import Job, Need

Together = Mapping[str, tuple[JobId, int]]
"""The jobs of one submission and namespace, by their names: their ids and the versions that come of it."""
_ALONE: Together = {}


class NeedNeverMet(Conflict):
    """A needed job has ended otherwise than it has to, so that the job would never begin."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"The job could never begin. {why}",
            hint="Run the needed job again with `tarpon job rerun`, or name one that has not ended so. Nothing was"
            " started.",
        )


class JobNeeded(Conflict):
    """A job is not to go that another one waits for, or reads the results of."""

    def __init__(self, job: str, by: str) -> None:
        super().__init__(
            f"Job {job} cannot be deleted: job {by}, which has not ended, needs it.",
            hint=f"Wait until that has ended, or stop it with `tarpon job stop {by}`.",
        )


def pinned(model: Model, job: Job, together: Together = _ALONE) -> tuple[PinnedNeed, ...]:
    """The needs of a valid job. Raises InvalidJob, NeedNeverMet."""
    if not needs_of(job):
        return ()
    if problems := tuple(wrong_needs(model, job, together)):
        raise InvalidJob(problems)
    return tuple(_pinned(model, each, job.namespace, together) for each in needs_of(job))


def _pinned(model: Model, need: Need, namespace: str, together: Together) -> PinnedNeed:
    any_code = need.on == COMPLETED
    if need.job in together:
        job, version = together[need.job]
        return PinnedNeed(job=job, version=version, called=need.job, any_code=any_code)
    entry = found(model, need.job, namespace)
    known = PinnedNeed(job=entry.id, version=entry.job.version, called=entry.job.name, any_code=any_code)
    standing = None if entry.job.removal is not None else standing_of(entry, known.version)
    outcome = verdict(known, standing)
    if isinstance(outcome, InVain):
        why = outcome.why if not outcome.by_stop else f"{outcome.why[0].upper()}{outcome.why[1:]}."
        raise NeedNeverMet(why)
    return known


def found(model: Model, called: str, namespace: str) -> JobEntry:
    """A job that there is, in this namespace and in no other. Raises JobNotFound, JobAmbiguous."""
    return model.names.find(called, namespace, sees=lambda each: each == namespace)


def wrong_needs(model: Model, job: Job, together: Collection[str]) -> Iterator[str]:
    """A sentence for each need that names no job, of the same submission or of the namespace, or the job itself."""
    own = model.names.named(job.namespace, job.name) if job.name else None
    said = len(job.needs or ())
    for number, need in enumerate(needs_of(job)):
        if need.job in together:
            continue
        where = f"Needs[{number}]" if number < said else "Tasks[0].InputSources"
        try:
            entry = found(model, need.job, job.namespace)
        except JobNotFound as error:
            near = list(dict.fromkeys((*near_names(need.job, together.__contains__, sorted(together)), *error.near)))
            told = f"{where}: there is no job {need.job[:80]!r}, in this submission or in its namespace."
            yield f"{told} {did_you_mean(near)}".rstrip()
        except JobAmbiguous as error:
            yield f"{where}: {error.message}"
        else:
            if entry.id == own:
                yield f"{where}: the job cannot need itself."
            elif entry.job.schedule is not None:
                yield f"{where}: {need.job[:80]} is a schedule, which never ends by itself; name one of its runs."
