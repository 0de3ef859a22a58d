"""Versions of a job, as users see them: as each was submitted, when that was, and how it ended."""

from msgspec import UNSET
from msgspec.structs import replace

from orchestrator.jobs import views
from orchestrator.rules.attempts import Budget
from orchestrator.rules.job_progress import Progress, replaced_progress
from orchestrator.rules.records import Replaced, versioned
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.job_records import exit_codes
from orchestrator.state.model import Model
from shared.errors import NotFound
from shared.jobs.spec import JobView, StateView
from shared.jobs.states import JobState


def version_of(entry: JobEntry, version: int) -> int:
    """The version that is meant: 0 is the newest. Raises NotFound for one that the job does not have."""
    if version == 0:
        return entry.job.version
    known = known_versions(entry)
    if version not in known:
        raise NotFound(
            f"Job {entry.job.id} has no version {version}.",
            hint=f"Its versions are {', '.join(str(each) for each in known[-20:])}.",
        )
    return version


def known_versions(entry: JobEntry) -> list[int]:
    """Those that were submitted, the oldest first.

    A specification beyond the record's version, or one that no later version took the place of, belongs to a submit
    that has not ended, or was interrupted.
    """
    known = [entry.job.version, *(each.version for each in entry.earlier())]
    return sorted(each for each in entry.specs if each in known or each < known[-1])


def version_views(model: Model, entry: JobEntry) -> tuple[JobView, ...]:
    """All versions, the oldest first."""
    return tuple(version_view(model, entry, version) for version in known_versions(entry))


def version_view(model: Model, entry: JobEntry, version: int) -> JobView:
    """With times of its own: it was created when it was submitted."""
    view = views.job_view(model, entry)
    if version == entry.job.version:
        told = entry.replaced()
        return replace(view, create_time=told.submit_time, modify_time=told.modify_time)
    spec = entry.specs[version]
    own = {name: getattr(spec, name) for name in spec.__struct_fields__}
    told = next((each for each in entry.earlier() if each.version == version), None) or _guessed(entry, version)
    progress = version_progress(model, entry, version)
    ended = _replaced_at(entry, version) if progress.state is JobState.STOPPED and not told.state.is_terminal else 0
    return replace(
        view,
        **own | {"name": view.name},
        version=version,
        state=StateView(state_type=progress.state, message=progress.message),
        schedule_status=UNSET,
        targets=entry.targets(version) or UNSET,
        exit_codes=dict(exit_codes(entry.with_kept(version))),
        create_time=told.submit_time,
        submit_time=told.submit_time,
        modify_time=max((told.modify_time, ended, *(each.modify_time for each in entry.of_version(version)))),
    )


def version_progress(model: Model, entry: JobEntry, version: int) -> Progress:
    """How this version stands. An earlier one has ended: by itself, or because a later one took its place."""
    if version == entry.job.version:
        return entry.progress
    told = next((each for each in entry.earlier() if each.version == version), None)
    if told is not None and told.state.is_terminal:
        return Progress(state=told.state, message=told.message)
    spec, executions = entry.specs[version], tuple(entry.with_kept(version))
    count = entry.part_count(version)
    budget = Budget(max_attempts=model.max_attempts, retries=spec.task.retries)
    return replaced_progress(count, executions, budget=budget)


def _replaced_at(entry: JobEntry, version: int) -> int:
    """When the next version took its place, which ended it; 0 where that is not known."""
    submitted = {entry.job.version: entry.job.submit_time}
    submitted |= {each.version: each.submit_time for each in entry.earlier()}
    return next((at for number, at in sorted(submitted.items()) if number > version), 0)


def _guessed(entry: JobEntry, version: int) -> Replaced:
    """When a version was submitted of which nothing was recorded when it was replaced, by an earlier Tarpon."""
    job = entry.job
    told = [event.time for number, event in versioned(job) if number == version]
    begun = [each.create_time for each in entry.of_version(version)]
    at = min((*told, *begun), default=job.create_time)
    return Replaced(version=version, submit_time=at, modify_time=max((at, *told)), state=entry.progress.state)
