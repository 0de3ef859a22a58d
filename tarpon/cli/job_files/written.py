"""A job, written as a job file."""

from collections.abc import Iterable
from typing import Any

import msgspec

from shared.jobs.spec import Job
from tarpon.cli.console.yaml_writing import written


def job_yaml(job: Job) -> str:
    """YAML that reads back as the same job."""
    return written(job_document(job), blocks=True, width=100)


def jobs_yaml(jobs: Iterable[Job]) -> str:
    """As `job_yaml`, of one or several jobs, each in a document of its own."""
    return "---\n".join(map(job_yaml, jobs))


def job_document(job: Job) -> dict[str, Any]:
    """What a job file holds that reads back as the same job, without what is left out anyway."""
    document = _given(msgspec.to_builtins(job))
    document["Tasks"] = [_given(task) for task in document.get("Tasks", ())]
    return document


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    """Without the fields at their defaults. What is inside of a field stays: an empty argument counts."""
    return {name: value for name, value in fields.items() if value or value is False}
