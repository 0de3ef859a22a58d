"""Warnings to a job's author, whose job is taken: what of it has no effect, or may not be meant so."""

from collections.abc import Iterator

from orchestrator.state.model import Model
from shared.jobs import publisher_params
from shared.jobs.engine_params import ENGINE_NAMES, unknown_told
from shared.jobs.inputs.rules import unknown_in_inputs
from shared.jobs.replicas.verification import replicas_of
from shared.jobs.rules import dropped, unsaid
from shared.jobs.spec import Job, SpecConfig


def warnings_about(job: Job, wanted: Job, model: Model) -> tuple[str, ...]:
    """Of a valid job as it was submitted, which has become the one that is `wanted`."""
    return (
        *dropped(job),
        *(f"Tasks[0].{told}" for told in unknown_told(job.task.engine, "is not known and was ignored")),
        *_about_engine(job.task.engine, model),
        *(f"Tasks[0].{told}" for told in publisher_params.unknown_told(job.task.publisher)),
        *(f"Tasks[0].{told}" for told in unknown_in_inputs(job.task)),
        *unsaid(wanted),
        *_about_owners(wanted, model),
    )


def unended_version(model: Model, job: Job) -> int:
    """Of the job of this name, which another version would stop; 0 where there is none, or it is a schedule."""
    known = model.names.named(job.namespace, job.name) if job.name else None
    entry = model.jobs.get(known) if known else None
    if entry is None or entry.job.schedule is not None or entry.progress.state.is_terminal:
        return 0
    return entry.job.version


def about_replaced(unended: int, version: int) -> tuple[str, ...]:
    """What is told of the version that had not ended when a later one came; nothing where that is 0."""
    return (f"Version {unended} had not ended. It is stopped: version {version} replaces it.",) if unended else ()


def _about_owners(job: Job, model: Model) -> Iterator[str]:
    """A node may join yet, so the job is taken, and waits."""
    replicas = replicas_of(job)
    bound = (model.bindings.get(node) for node in model.nodes if node not in model.rejected)
    owners = len({each.owner for each in bound if each is not None and each.owner and each.serves(job.namespace)})
    if owners < replicas and job.verification:
        yield (
            f"Verification.Replicas is {replicas}, and the nodes that there are have {owners} owner(s): the job waits"
            " until there are nodes of more (`tarpon node set-owner NODE OWNER`)."
        )


def _about_engine(engine: SpecConfig, model: Model) -> Iterator[str]:
    """One that nobody has heard of may come with a node that has it, so the job is taken."""
    kind = engine.type.strip().lower()
    if kind in ENGINE_NAMES or any(kind in each.info.engines for each in model.nodes.values()):
        return
    yield f"Tasks[0].Engine.Type {engine.type[:80]!r} is not an engine that is known; no node offers it."
