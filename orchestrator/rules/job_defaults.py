"""Defaults of jobs: a submitted job in its normal form, completed with the settings of `JobDefaults.Batch`."""

from math import ceil

from msgspec.structs import replace

from shared.jobs.engine_params import kind_of
from shared.jobs.publisher_params import with_hard_links
from shared.jobs.rules import MAX_SECONDS, UNSAID_NETWORKS, check, plain_amount
from shared.jobs.spec import Job, Network, Resources, SpecConfig, Task, Timeouts
from shared.settings.config import BatchDefaults, DefaultTimeouts


def completed(job: Job, defaults: BatchDefaults) -> Job:
    """A job in its normal form as it is stored. Raises InvalidJob, PayloadTooLarge."""
    wanted = with_defaults(job, defaults)
    check(wanted)
    return wanted


def with_defaults(job: Job, defaults: BatchDefaults) -> Job:
    return replace(
        job,
        priority=job.priority or defaults.priority,
        tasks=tuple(_task_with_defaults(task, defaults) for task in job.tasks),
    )


def _task_with_defaults(task: Task, defaults: BatchDefaults) -> Task:
    given, resources = defaults.task, task.resources
    publisher = task.publisher if task.publisher.type else SpecConfig(type=given.publisher.type.strip())
    return replace(
        task,
        publisher=with_hard_links(publisher, given.publisher.params.hard_links),
        resources=Resources(
            cpu=resources.cpu or plain_amount(given.resources.cpu),
            memory=resources.memory or plain_amount(given.resources.memory),
            disk=resources.disk or plain_amount(given.resources.disk),
            gpu=resources.gpu or plain_amount(given.resources.gpu),
        ),
        network=_network_with_default(task, given.network.type.strip()),
        timeouts=_timeouts_with_defaults(task.timeouts, given.timeouts),
    )


def _timeouts_with_defaults(said: Timeouts, given: DefaultTimeouts) -> Timeouts:
    """What the author says holds: a default beside which it would be impossible gives way."""
    execution, queue, total = said.execution_timeout, said.queue_timeout, said.total_timeout
    execution = execution or ceil(given.execution_timeout)
    if 0 < said.total_timeout < execution + queue and not said.execution_timeout:
        execution = max(0, said.total_timeout - queue)
    if not total and given.total_timeout:
        total = max(ceil(given.total_timeout), execution + queue)
        total = total if total <= MAX_SECONDS else 0
    return Timeouts(execution_timeout=execution, queue_timeout=queue, total_timeout=total)


def _network_with_default(task: Task, kind: str) -> Network:
    """Only what runs in a container has a network of its own; so may what an unknown engine runs."""
    engine = kind_of(task.engine)
    is_open = task.network.type.lower() in UNSAID_NETWORKS and (engine is None or engine.in_containers)
    return replace(task.network, type=kind) if kind and is_open else task.network
