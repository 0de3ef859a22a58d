"""The job that a program gives to be submitted: one that it has made, or a mapping as in a job file."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from shared.data import plain_data
from shared.data.decoding import decode, invalid_document
from shared.jobs.engine_params import unknown_told
from shared.jobs.rules import BATCH, normalised, problems
from shared.jobs.spec import Job
from shared.protocol.job_problems import independent


def as_job(job: Job | Mapping[str, Any]) -> Job:
    """With its type, which an orchestrator of an earlier version wants to be told."""
    read = job if isinstance(job, Job) else _read(job)
    return read if read.type.strip() else replace(read, type=BATCH)


def _read(job: Mapping[str, Any]) -> Job:
    """What the orchestrator would find besides is told at once where there is a problem that it would not find."""
    plain_data.check(job, what="The job")
    read = decode(job, Job, what="The job", unknown="refuse", beside=_problems)[0]
    if any(_unknown(read)):
        raise invalid_document("The job", list(_problems(read)))
    return read


def _problems(job: Job, wrong: Collection[str] = ()) -> Iterator[str]:
    return independent((*_unknown(job), *problems(normalised(job))), wrong)


def _unknown(job: Job) -> Iterator[str]:
    return (f"Tasks[0].{told}" for task in job.tasks[:1] for told in unknown_told(task.engine, "is not known"))
