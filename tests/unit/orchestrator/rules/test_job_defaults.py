"""What a job becomes by the settings of its orchestrator, and what of it is told to its author."""

from typing import Any

import pytest
from msgspec.structs import replace

from orchestrator.rules.job_defaults import completed
from shared.jobs.durations import Duration
from shared.jobs.rules import normalised, unsaid
from shared.jobs.spec import Job, Network, SpecConfig, Task, Timeouts
from shared.settings.config import (
    BatchDefaults,
    DefaultNetwork,
    DefaultPublisher,
    DefaultResources,
    DefaultTimeouts,
    TaskDefaults,
)

DOCKER = SpecConfig(type="Docker", params={"Image": "busybox"})
PROCESS = SpecConfig(type="process", params={"Entrypoint": ["true"]})
NO_NETWORK = (
    "The container has no network, because the job names none (Tasks[0].Network.Type): Bridge gives it one,"
    " and None says that it needs none."
)


def made(defaults: TaskDefaults, **fields: Any) -> Job:
    task = replace(Task(name="main", engine=DOCKER), **fields)
    return completed(normalised(Job(type="batch", tasks=(task,))), BatchDefaults(task=defaults))


def with_network(kind: str) -> TaskDefaults:
    return TaskDefaults(network=DefaultNetwork(type=kind))


@pytest.mark.parametrize("said", ["", "Default", "default"])
class TestANetworkThatIsLeftOpen:
    def test_is_none_and_told_where_nothing_is_set(self, said: str) -> None:
        job = made(TaskDefaults(), network=Network(type=said))
        assert job.task.network.type == said
        assert list(unsaid(job)) == [NO_NETWORK]

    @pytest.mark.parametrize("kind", ["Bridge", "None", "host"])
    def test_is_what_the_setting_says_and_nothing_is_told(self, said: str, kind: str) -> None:
        job = made(with_network(kind), network=Network(type=said))
        assert job.task.network.type == kind
        assert list(unsaid(job)) == []

    def test_is_the_nodes_own_for_what_runs_without_a_container(self, said: str) -> None:
        job = made(with_network("None"), engine=PROCESS, network=Network(type=said))
        assert job.task.network.type == said, "the process engine refuses None"
        assert list(unsaid(job)) == []


@pytest.mark.parametrize("said", ["None", "none", "Bridge", "Host", "Full"])
def test_a_network_that_is_said_stays_and_nothing_is_told(said: str) -> None:
    for defaults in (TaskDefaults(), with_network("Bridge")):
        job = made(defaults, network=Network(type=said))
        assert job.task.network.type == said
        assert list(unsaid(job)) == []


@pytest.mark.parametrize(
    ("said", "execution", "total"),
    [
        (Timeouts(), 60, 100),
        (Timeouts(total_timeout=30), 30, 30),
        (Timeouts(total_timeout=50, queue_timeout=50), 0, 50),
        (Timeouts(execution_timeout=500), 500, 500),
        (Timeouts(execution_timeout=90, queue_timeout=20), 90, 110),
        (Timeouts(queue_timeout=20), 60, 100),
        (Timeouts(execution_timeout=500, total_timeout=900), 500, 900),
        (Timeouts(execution_timeout=31536000, queue_timeout=10), 31536000, 0),
    ],
)
def test_a_default_time_out_makes_no_job_impossible(said: Timeouts, execution: int, total: int) -> None:
    defaults = TaskDefaults(timeouts=DefaultTimeouts(execution_timeout=Duration(60), total_timeout=Duration(100)))
    found = made(defaults, timeouts=said).task.timeouts
    assert (found.execution_timeout, found.total_timeout) == (execution, total)


def test_what_is_completed_is_in_its_normal_form() -> None:
    """Else a job that is submitted again would be another one each time."""
    odd = TaskDefaults(
        resources=DefaultResources(cpu=" 500 M", memory="512 MB", disk="1 Gi", gpu=" 1"),
        publisher=DefaultPublisher(type=" S3Managed "),
        network=DefaultNetwork(type=" Bridge "),
    )
    job = made(odd)
    assert job == normalised(job)
    assert (job.task.resources.memory, job.task.publisher.type, job.task.network.type) == (
        "512mb",
        "S3Managed",
        "Bridge",
    )


def test_a_default_time_out_below_a_second_is_not_none() -> None:
    short = TaskDefaults(timeouts=DefaultTimeouts(execution_timeout=Duration(0.2), total_timeout=Duration(1.5)))
    assert made(short).task.timeouts == Timeouts(execution_timeout=1, total_timeout=2)
    assert made(TaskDefaults()).task.timeouts == Timeouts()
