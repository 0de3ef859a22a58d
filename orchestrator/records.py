"""What is stored: the records that are the one source of truth, in the state bucket of JetStream.

| key                                              | record            | written                                  |
|--------------------------------------------------|-------------------|------------------------------------------|
| `name.<namespace>.<name>`                        | NameRecord        | once: the name belongs to this job       |
| `spec.<job>.<version>`                           | SpecRecord        | once for each version after the first    |
| `job.<job>`                                      | JobRecord         | at submit, update, stop, early failure   |
| `execution.<job>.<version>.<partition>.<attempt>`| ExecutionRecord   | created once; then by revision           |
| `node.<node>`                                    | NodeRecord        | when what a node says of itself changes  |
| `binding.<node>`                                 | BindingRecord     | once: the id belongs to this public key  |

A job's state is never stored: it is computed from its executions (orchestrator/lifecycle.py). No record holds a URL.
Times are nanoseconds since 1970, by the orchestrator's clock.
"""

import msgspec

from shared.capacity import Capacity
from shared.ids import ExecutionId, JobId, NodeId
from shared.jobspec import Job
from shared.logs import about
from shared.messages import NodeInfo, RunOutput
from shared.states import DesiredState, ExecutionState

SCHEMA = 1
"""Of all records. A program that finds a larger one must not decide anything: it would drop what it does not know."""

MAX_EVENTS = 64
"""How many events one record keeps; then the oldest but the first go."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the history: what happened at `time`, and was `recorded` then or, where that is given, later.

    The history is in the order of recording, so that what a reader has seen of it never changes.
    """

    time: int
    recorded: int = 0
    topic: str
    message: str
    details: dict[str, str] = {}


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    schema: int = SCHEMA


class NameRecord(Record, frozen=True, kw_only=True):
    job_id: JobId


class SpecRecord(Record, frozen=True, kw_only=True):
    """One version of a job, normalised and validated, with the server's defaults filled in."""

    job: Job


class JobRecord(Record, frozen=True, kw_only=True):
    """`failure` is why the job failed without a (further) execution; `token` the idempotency token of its version.

    `first` is the specification of version 1, so that most jobs are one record.
    """

    id: JobId
    namespace: str
    name: str
    version: int
    priority: int = 0
    token: str = ""
    desired: DesiredState = DesiredState.RUNNING
    failure: str = ""
    events: tuple[Event, ...] = ()
    create_time: int
    submit_time: int
    modify_time: int
    first: Job | None = None


class Location(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a result goes. Stored with its execution, so that a later change of the settings orphans nothing."""

    bucket: str
    key: str
    region: str
    endpoint: str = ""
    public_endpoint: str = ""


class PublishedResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A verified archive. `etag` is what S3 showed; `sha256` is the node's claim, which every reader checks."""

    etag: str
    size_bytes: int
    sha256: str
    entries: int = 0
    raw_bytes: int = 0
    warnings: tuple[str, ...] = ()
    warnings_count: int = 0
    publish_seconds: float = 0.0
    retries: int = 0
    renewals: int = 0
    archive_seconds: float = 0.0
    parts: int = 1
    index_bytes: int = 0
    index_sha256: str = ""


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`reason` is a states.FailureReason."""

    reason: str
    detail: str = ""
    retryable: bool = False


class ExecutionRecord(Record, frozen=True, kw_only=True):
    id: ExecutionId
    job_id: JobId
    job_version: int
    partition: int
    attempt: int
    node_id: NodeId
    resources: Capacity
    state: ExecutionState = ExecutionState.NEW
    location: Location | None = None
    upload_id: str = ""
    """Of the upload in parts that was begun for the result, if one was."""
    output: RunOutput | None = None
    run_seconds: float = 0.0
    result: PublishedResult | None = None
    failure: Failure | None = None
    events: tuple[Event, ...] = ()
    create_time: int
    modify_time: int


class NodeRecord(Record, frozen=True, kw_only=True):
    info: NodeInfo


class BindingRecord(Record, frozen=True, kw_only=True):
    public_key: str


def about_execution(record: ExecutionRecord) -> dict[str, str]:
    """For a log line about it."""
    return about(execution=record.id, job=record.job_id, node=record.node_id)


def with_event(events: tuple[Event, ...], event: Event) -> tuple[Event, ...]:
    """Append; beyond MAX_EVENTS the second oldest goes, because the first tells how it began."""
    if len(events) >= MAX_EVENTS:
        return (events[0], *events[2:], event)
    return (*events, event)
