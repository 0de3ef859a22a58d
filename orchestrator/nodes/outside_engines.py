"""Engines from outside: whether a job's parameters are what the nodes that have its engine tell of it."""

from collections.abc import Iterator

from orchestrator.state.model import Model
from shared.errors import InvalidJob
from shared.jobs.engine_params import kind_of
from shared.jobs.spec import Job
from shared.protocol.nodes.engine_parameters import ToldParameter, told_problems


def check_outside_engine(model: Model, job: Job) -> None:
    """Raise InvalidJob where no node that may run it would take the parameters. What no node tells is not looked at."""
    if kind_of(job.task.engine) is not None:
        return
    if problems := told_problems(job.task.engine, _told(model, job)):
        raise InvalidJob(f"Tasks[0].{problem}" for problem in problems)


def _told(model: Model, job: Job) -> Iterator[tuple[ToldParameter, ...]]:
    """By those nodes alone that the job may go to: of others its author is not to hear."""
    engine = job.task.engine.type.lower()
    for node, record in model.nodes.items():
        binding = model.bindings.get(node)
        may_run = model.serves(node, job.namespace) and not (binding and binding.unapproved)
        if may_run and engine in record.info.engine_parameters:
            yield record.info.engine_parameters[engine]
