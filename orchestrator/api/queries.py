"""Queries: what can be asked for behind the `?` of a URL, one type for each list of parameters.

The types are both how a query is read and how it is documented.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from shared.protocol.messages import MAX_OUTPUT_PLACE

Namespace = Annotated[
    str,
    Meta(
        description="The namespace in which the job is looked for by name; by default the only one of a key that is"
        " for one alone, and else `default`."
    ),
]
Reverse = Annotated[bool, Meta(description="The other way round.")]
Limit = Annotated[
    int, Meta(ge=0, description="How many items the answer holds at most: up to 1,000, as with 0, or 100 of a history.")
]
Token = Annotated[
    str, Meta(description="The NextToken of the last answer; it brings limit, order_by and reverse with it.")
]
Labels = Annotated[
    tuple[str, ...],
    Meta(description="A label selector such as `team=a,env in (x,y)`; all that are given have to hold."),
]
JobVersion = Annotated[int, Meta(ge=0, description="One version of the job; 0 is the newest.")]
OutputPlace = Annotated[int, Meta(ge=0, le=MAX_OUTPUT_PLACE)]
AllVersions = Annotated[bool, Meta(description="All versions of the job instead of one.")]

JobOrder = Literal["", "created_at", "create_time", "modified_at", "modify_time", "id"]
ExecutionOrder = Literal["", "created_at", "create_time", "modified_at", "modify_time", "id", "state"]
NodeOrder = Literal[
    "", "id", "type", "available_cpu", "available_memory", "available_disk", "available_gpu", "approval", "status"
]


class NoQuery(Struct, frozen=True, kw_only=True):
    """Nothing can be asked for."""


class InNamespace(Struct, frozen=True, kw_only=True):
    namespace: Namespace = ""


class SecretsQuery(Struct, frozen=True, kw_only=True):
    namespace: Annotated[str, Meta(description="The namespace whose tasks are given the secret.")] = ""


class DataQuery(Struct, frozen=True, kw_only=True):
    namespace: Annotated[str, Meta(description="The namespace to whose jobs the data is sent.")] = ""


class DataFilesQuery(DataQuery, frozen=True, kw_only=True):
    first: Annotated[int, Meta(ge=0, description="The Next of the last answer; 0 is where the files begin.")] = 0
    limit: Annotated[int, Meta(ge=0, description="How many files the answer holds at most: up to 500, as with 0.")] = 0


class JobQuery(InNamespace, frozen=True, kw_only=True):
    include: Annotated[
        tuple[str, ...], Meta(description="What to add to the answer: history, executions, or both with a comma.")
    ] = ()
    job_version: JobVersion = 0


class LogsQuery(InNamespace, frozen=True, kw_only=True):
    execution_id: Annotated[str, Meta(description="An execution, or the beginning of its id; else the last one.")] = ""
    job_version: JobVersion = 0
    follow: Annotated[bool, Meta(description="Whether to go on until the task has ended.")] = False
    tail: Annotated[
        int | bool,
        Meta(description="How many of the last lines to begin with; -1 or false means all of them, true means none."),
    ] = -1
    stdout_from: Annotated[OutputPlace, Meta(description="With which byte of stdout to begin, as a Place told.")] = 0
    stderr_from: Annotated[OutputPlace, Meta(description="With which byte of stderr to begin, as a Place told.")] = 0


class StopQuery(InNamespace, frozen=True, kw_only=True):
    reason: Annotated[str, Meta(description="Why, for the job's history, where the body does not say.")] = ""


class DeleteQuery(InNamespace, frozen=True, kw_only=True):
    results: Annotated[bool, Meta(description="Whether what the job published is deleted from the bucket too.")] = False
    force: Annotated[bool, Meta(description="Whether a job that runs still is stopped first.")] = False


class ListJobsQuery(Struct, frozen=True, kw_only=True):
    namespace: Annotated[
        str,
        Meta(
            description="The namespace to list; * is all that may be seen, and the default as where a job is looked for"
            " by name."
        ),
    ] = ""
    labels: Labels = ()
    state: Annotated[
        tuple[str, ...], Meta(description="Jobs in this state, or in one of several with commas, alone.")
    ] = ()
    exit_code: Annotated[
        tuple[str, ...],
        Meta(description="Jobs of which a part ended with this exit code, or one of several; nonzero is all but 0."),
    ] = ()
    since: Annotated[
        str, Meta(description="Jobs created since then: for how long, such as 12h or 7d, or a time as in history.")
    ] = ""
    name: Annotated[str, Meta(description="Jobs of this name alone, in which * and ? stand for anything.")] = ""
    schedules: Annotated[bool, Meta(description="Jobs that have a Schedule alone.")] = False
    order_by: Annotated[JobOrder, Meta(description="The oldest come first; by default in order of creation.")] = ""
    reverse: Reverse = False
    limit: Limit = 0
    next_token: Token = ""


class HistoryQuery(InNamespace, frozen=True, kw_only=True):
    since: Annotated[str, Meta(description="The first moment: seconds since 1970, or a time such as in Time.")] = ""
    event_type: Annotated[
        Literal["", "all", "job", "execution"], Meta(description="Events of the job, of its executions, or all.")
    ] = ""
    execution_id: Annotated[str, Meta(description="Events of this execution alone; or the beginning of its id.")] = ""
    job_version: JobVersion = 0
    all_job_versions: AllVersions = False
    limit: Limit = 0
    next_token: Token = ""


class PartsQuery(InNamespace, frozen=True, kw_only=True):
    job_version: JobVersion = 0


class ExecutionsQuery(InNamespace, frozen=True, kw_only=True):
    job_version: JobVersion = 0
    all_job_versions: AllVersions = False
    partitions: Annotated[str, Meta(description="Attempts at these parts alone, such as `7` or `0-49,60`.")] = ""
    order_by: Annotated[ExecutionOrder, Meta(description="The oldest come first.")] = ""
    reverse: Reverse = False
    limit: Limit = 0
    next_token: Token = ""


class ResultsQuery(InNamespace, frozen=True, kw_only=True):
    job_version: JobVersion = 0
    execution_id: Annotated[
        str, Meta(description="The result of this execution alone, of whichever version; or the beginning of its id.")
    ] = ""
    refused: Annotated[
        bool, Meta(description="Whether S3 has refused the URLs that were given last: S3 keys are then read again.")
    ] = False
    records: Annotated[
        bool, Meta(description="Whether to give URLs of the records beside results, and the key that signs these.")
    ] = False


class WaitsQuery(InNamespace, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=0, description="How many nodes the answer names at most; 1000 are the most.")] = 100


class ListNodesQuery(Struct, frozen=True, kw_only=True):
    labels: Labels = ()
    filter_approval: Annotated[
        Literal["", "approved", "pending", "rejected"], Meta(description="Nodes with this approval alone.")
    ] = field(name="filter-approval", default="")
    filter_status: Annotated[
        Literal["", "connected", "disconnected"], Meta(description="Nodes with this status alone.")
    ] = field(name="filter-status", default="")
    order_by: Annotated[NodeOrder, Meta(description="By id if nothing is said; of what is available, most first.")] = ""
    reverse: Reverse = False
    limit: Limit = 0
    next_token: Token = ""


class NodeExecutionsQuery(Struct, frozen=True, kw_only=True):
    limit: Limit = 0
    next_token: Token = ""
