"""What the server makes of a submitted job: its normal form, completed with the settings of `JobDefaults.Batch`."""

from msgspec.structs import replace

from shared.config import BatchDefaults
from shared.errors import InvalidJob
from shared.job_rules import MANAGED, NO_PUBLISHERS, check
from shared.jobspec import Job, Resources, SpecConfig, Task, Timeouts
from shared.publisher_params import with_hard_links


def completed(job: Job, defaults: BatchDefaults) -> Job:
    """A job in its normal form as it is stored. Raises InvalidJob, PayloadTooLarge."""
    wanted = with_defaults(job, defaults)
    check(wanted)
    publisher = wanted.task.publisher
    if publisher.type.lower() not in {MANAGED, *NO_PUBLISHERS}:
        raise InvalidJob(
            [f"Tasks[0].Publisher.Type {publisher.type[:80]!r} is not a publisher."],
            hint="Publishers are s3managed and noop.",
        )
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
        timeouts=Timeouts(
            execution_timeout=timeouts.execution_timeout or int(given.timeouts.execution_timeout),
            queue_timeout=timeouts.queue_timeout,
            total_timeout=timeouts.total_timeout or int(given.timeouts.total_timeout),
        ),
    )
