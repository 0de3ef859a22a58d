"""How earlier versions of a job look to users."""

from msgspec.structs import replace

from orchestrator import views
from orchestrator.job_entry import JobEntry
from orchestrator.model import Model
from shared.errors import NotFound
from shared.jobspec import JobView, StateView
from shared.states import ExecutionState, JobState


def version_of(entry: JobEntry, version: int) -> int:
    """The version that is meant: 0 is the newest. Raises NotFound for one that the job does not have."""
    if version == 0:
        return entry.job.version
    if version not in entry.specs or version > entry.job.version:
        raise NotFound(
            f"Job {entry.job.id} has no version {version}.",
            hint=f"Its versions are {', '.join(str(each) for each in known_versions(entry)[-20:])}.",
        )
    return version


def known_versions(entry: JobEntry) -> list[int]:
    """A specification beyond the record's version belongs to a submit that has not ended, or was interrupted."""
    return sorted(each for each in entry.specs if each <= entry.job.version)


def version_views(model: Model, entry: JobEntry) -> tuple[JobView, ...]:
    """All versions, the oldest first."""
    return tuple(version_view(model, entry, version) for version in known_versions(entry))


def version_view(model: Model, entry: JobEntry, version: int) -> JobView:
    view = views.job_view(model, entry)
    if version == entry.job.version:
        return view
    spec = entry.specs[version]
    own = {name: getattr(spec, name) for name in spec.__struct_fields__}
    return replace(view, **own | {"name": view.name}, version=version, state=_state(entry, version))


def _state(entry: JobEntry, version: int) -> StateView:
    """An earlier version has ended: by itself, or because a later one took its place."""
    executions = [each for each in entry.executions.values() if each.job_version == version]
    completed = {each.partition for each in executions if each.state is ExecutionState.COMPLETED}
    if len(completed) == (entry.specs[version].count or 1):
        return StateView(state_type=JobState.COMPLETED)
    states = {each.state for each in executions}
    if ExecutionState.FAILED in states and states <= {ExecutionState.FAILED, ExecutionState.COMPLETED}:
        failure = next((each.failure for each in executions if each.failure is not None), None)
        return StateView(state_type=JobState.FAILED, message=(failure.detail or failure.reason) if failure else "")
    return StateView(state_type=JobState.STOPPED, message="A later version took its place.")
