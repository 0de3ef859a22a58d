"""What the server makes of a submitted job: its normal form, completed with the settings of `JobDefaults.Batch`."""

from math import ceil

from msgspec.structs import replace

from shared.config import BatchDefaults
from shared.job_rules import UNSAID_NETWORKS, check
from shared.jobspec import Job, Network, Resources, SpecConfig, Task, Timeouts
from shared.publisher_params import with_hard_links

_WITHOUT_OWN_NETWORK = frozenset({"process", "noop"})


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
    given, resources, timeouts = defaults.task, task.resources, task.timeouts
    publisher = task.publisher if task.publisher.type else SpecConfig(type=given.publisher.type)
    return replace(
        task,
        publisher=with_hard_links(publisher, given.publisher.params.hard_links),
        resources=Resources(
            cpu=resources.cpu or given.resources.cpu.lower(),
            memory=resources.memory or given.resources.memory.lower(),
            disk=resources.disk or given.resources.disk.lower(),
            gpu=resources.gpu or given.resources.gpu.lower(),
        ),
        network=_network_with_default(task, given.network.type.strip()),
        timeouts=Timeouts(
            execution_timeout=timeouts.execution_timeout or ceil(given.timeouts.execution_timeout),
            queue_timeout=timeouts.queue_timeout,
            total_timeout=timeouts.total_timeout or ceil(given.timeouts.total_timeout),
        ),
    )


def _network_with_default(task: Task, kind: str) -> Network:
    """What runs on the node itself has its network."""
    is_open = task.network.type.lower() in UNSAID_NETWORKS and task.engine.type.lower() not in _WITHOUT_OWN_NETWORK
    return replace(task.network, type=kind) if kind and is_open else task.network
