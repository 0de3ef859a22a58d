"""Rows of the index of filed jobs: how a job is put into its tables, and taken out of all of them."""

import hashlib
import sqlite3
from collections.abc import Sequence

import msgspec

from orchestrator.state.filing.folded_job import FoldedJob
from orchestrator.state.filing.job_index_tables import (
    INSERT_EXECUTION,
    INSERT_JOB,
    INSERT_LABEL,
    INSERT_NAME,
    INSERT_RECORDS,
    INSERT_TOKEN,
)
from orchestrator.state.job_records import unpacked
from shared.ids import ExecutionId, JobId, new_execution_id

_labels = msgspec.msgpack.Decoder(dict[str, str])
_revisions = msgspec.msgpack.Decoder(dict[str, int])
_encoder = msgspec.msgpack.Encoder()


def insert(file: sqlite3.Connection, jobs: Sequence[FoldedJob]) -> None:
    """One statement for each table costs half of one for each row."""
    first = file.execute("SELECT coalesce(max(number), 0) + 1 FROM jobs").fetchone()[0]
    file.executemany(INSERT_JOB, [_row(number, job) for number, job in enumerate(jobs, first)])
    file.executemany(INSERT_RECORDS, [(number, job.more, job.packed) for number, job in enumerate(jobs, first)])
    executions = [
        (hash_of(execution), number, place if place != job.id else None)
        for number, job in enumerate(jobs, first)
        for execution, place in job.executions
    ]
    file.executemany(INSERT_EXECUTION, executions)
    labels = [(key, value, job.created, job.id) for job in jobs for key, value in job.labels.items()]
    file.executemany(INSERT_LABEL, labels)
    named = (job for job in jobs if job.tie.is_named or job.tie.revision)
    names = [(job.namespace, job.name, job.id, job.tie.revision, job.tie.is_named) for job in named]
    file.executemany(INSERT_NAME, names)
    file.executemany(INSERT_TOKEN, [(job.namespace, token, job.id) for job in jobs for token in job.tokens])


def hash_of(execution: ExecutionId) -> int:
    """A column of numbers takes a sixth of one of ids, which come in no order."""
    return int.from_bytes(hashlib.sha256(execution.encode()).digest()[:8], signed=True)


def _row(number: int, job: FoldedJob) -> tuple[object, ...]:
    return (
        number,
        job.id,
        job.namespace,
        job.name,
        job.created,
        job.modified,
        job.published,
        job.ended_by,
        job.state.value,
        job.is_schedule,
        job.code,
        job.exit_codes,
        _encoder.encode(job.labels) if job.labels else None,
        job.revision,
        job.revisions,
        job.is_noted,
    )


def delete(file: sqlite3.Connection, job: JobId) -> None:
    query = "SELECT number, namespace, name, created, labels, revisions FROM jobs WHERE id = ?"
    found = file.execute(query, (job,)).fetchone()
    if found is None:
        return
    number, namespace, name, created, labels, revisions = found
    for key, value in _labels.decode(labels).items() if labels else ():
        file.execute(
            "DELETE FROM labels WHERE key = ? AND value = ? AND created = ? AND id = ?", (key, value, created, job)
        )
    executions = [new_execution_id(f"{job}.{part}") for part in _revisions.decode(revisions) if "." in part]
    if _delete_executions(file, executions) < len(executions):  # ids of replicas do not follow from their keys
        (packed,) = file.execute("SELECT packed FROM records WHERE number = ?", (number,)).fetchone()
        _delete_executions(file, [each.id for each in unpacked(packed).executions.values()])
    file.execute("DELETE FROM names WHERE namespace = ? AND name = ? AND id = ?", (namespace, name, job))
    file.execute("DELETE FROM tokens WHERE id = ?", (job,))
    file.execute("DELETE FROM records WHERE number = ?", (number,))
    file.execute("DELETE FROM jobs WHERE number = ?", (number,))


def _delete_executions(file: sqlite3.Connection, executions: Sequence[ExecutionId]) -> int:
    """How many of them there were."""
    return file.executemany("DELETE FROM executions WHERE hash = ?", [(hash_of(each),) for each in executions]).rowcount
