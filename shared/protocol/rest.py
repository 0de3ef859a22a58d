"""Shapes of the HTTP API: its requests and answers, with the names of the reference on the wire.

A reader takes what it knows and ignores the rest, so a new field is no break; a field that an older server does not
send has a default. Jobs themselves are in shared/jobs/spec.py.
"""

from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType, field

from shared.jobs.capacity import Capacity
from shared.jobs.publisher_params import GZIP, PLAIN
from shared.jobs.spec import Job, JobView
from shared.jobs.states import DesiredState, ExecutionState
from shared.protocol.published_facts import PublishedParams

BASE_PATH = "/api/v1"

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True, rename="pascal"):
    """Some items of a list. `next_token` asks for those that follow, and is empty when there are none."""

    next_token: str = ""
    items: tuple[T, ...] = ()

    def _repr_html_(self) -> str | None:
        """How a notebook shows one of jobs; others are shown as they are."""
        from shared.jobs.markup import jobs_table  # most never need it

        jobs = [item for item in self.items if isinstance(item, JobView)]
        return jobs_table(jobs) if jobs else None


# ---- jobs -------------------------------------------------------------------------------------------------------


class SubmitRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Run this job. The same idempotency token always names the same job, so a submit can be repeated safely.

    With another job, or another version of it, the token is refused.
    """

    job: Job
    force: bool = False
    idempotency_token: str = ""


class SubmitResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    job_id: str = field(name="JobID")
    evaluation_id: str = field(name="EvaluationID", default="")
    job_version: int = 0
    """The version that came of it; 0 where a server of an earlier version did not say."""
    warnings: tuple[str, ...] = ()


class SubmitAllRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Run these jobs, all of them or, where one cannot be taken, none. What they need may be others of them, by name.

    The same idempotency token always names the same jobs.
    """

    jobs: tuple[Job, ...]
    force: bool = False
    idempotency_token: str = ""


class SubmitAllResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What came of each job, in their order; the warnings are about the request itself."""

    jobs: tuple[SubmitResponse, ...]
    warnings: tuple[str, ...] = ()


class StopRequest(msgspec.Struct, frozen=True, kw_only=True):
    reason: str = ""


class StopResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The id is empty where the job was stopped already."""

    evaluation_id: str = field(name="EvaluationID", default="")


class DeleteResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`deleted` is false where something of the job is still stored; it is removed without a further request."""

    job_id: str = field(name="JobID")
    deleted: bool = True


class DiffRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Tell what would change if this job were submitted."""

    job: Job


class DiffResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One line for each value that would change; empty where nothing would."""

    diff: str = ""
    warnings: tuple[str, ...] = ()


class ValidateRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Tell everything that is wrong with this job, and run nothing."""

    job: Job


class JobProblem(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Why a submit of the job would be refused now. `path` is where in the job, such as `Tasks[0].Engine`, or empty."""

    code: str
    message: str
    hint: str = ""
    path: str = ""


class ValidateResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A job is `valid` that has no problems. `warnings` are those that a submit would give."""

    valid: bool
    problems: tuple[JobProblem, ...] = ()
    warnings: tuple[str, ...] = ()


class RerunRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Run a version of the job again, the newest one if it is 0. With a token a repeated request does it once.

    With `failed` only those of its parts are run that have not completed; the results of the others are also those of
    the new version.
    """

    job_version: int = 0
    failed: bool = False
    reason: str = ""
    idempotency_token: str = ""


class RerunResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    evaluation_id: str = field(name="EvaluationID", default="")
    job_id: str = field(name="JobID")
    job_version: int
    warnings: tuple[str, ...] = ()


KEPT_PARTS = "KeptParts"
"""The detail of a submission that tells how many parts had completed in earlier versions and are not run again."""


class EventView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Something that happened, in words.

    Known details: IsError, Hint, Retryable, NewState, ErrorCode, NodeID, ExitCode, KeptParts.
    """

    message: str
    topic: str
    timestamp: datetime
    details: dict[str, str] = {}

    @property
    def is_error(self) -> bool:
        return self.details.get("IsError", "").lower() == "true"

    @property
    def hint(self) -> str:
        return self.details.get("Hint", "")


JOB_LEVEL = "JobLevel"
EXECUTION_LEVEL = "ExecutionLevel"


class HistoryItem(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    seq_num: int
    type: str
    job_id: str = field(name="JobID")
    job_version: int = 1
    execution_id: str = field(name="ExecutionID", default="")
    partition_index: int | UnsetType = UNSET
    """Of the execution; absent where it is about the job, and from a server of an earlier version."""
    event: EventView
    time: datetime


class JobResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """A job, and its history and executions where they were asked for."""

    job: JobView
    history: Page[HistoryItem] | None = None
    executions: "Page[ExecutionView] | None" = None


ListJobsResponse = Page[JobView]

# ---- executions -------------------------------------------------------------------------------------------------

_STATE_NAMES = (
    "Undefined",
    "New",
    "AskForBid",
    "AskForBidAccepted",
    "AskForBidRejected",
    "BidAccepted",
    "Running",
    "Publishing",
    "BidRejected",
    "Completed",
    "Failed",
    "Cancelled",
)
_DESIRED_NAMES = ("Pending", "Running", "Stopped")


def execution_state_number(state: ExecutionState) -> int:
    return _STATE_NAMES.index(state.value)


def execution_state_name(number: int) -> str:
    return _STATE_NAMES[number] if 0 <= number < len(_STATE_NAMES) else f"Unknown({number})"


def desired_state_number(state: DesiredState) -> int:
    return _DESIRED_NAMES.index(state.value)


def desired_state_name(number: int) -> str:
    return _DESIRED_NAMES[number] if 0 <= number < len(_DESIRED_NAMES) else f"Unknown({number})"


class NumberedState(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The state of an execution, which the reference writes as a number (that of a job is text)."""

    state_type: int = 0
    message: str = ""
    details: dict[str, str] = {}


class RunOutputView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The beginning of what the task wrote, and its exit code."""

    stdout: str = ""
    stdout_truncated: bool = False
    stderr: str = field(name="stderr", default="")
    stderr_truncated: bool = False
    exit_code: int = 0
    error_msg: str = ""


class PublishedResult(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Type is empty where nothing was published."""

    type: str = ""
    params: PublishedParams | None = None


class AllocatedResources(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What an execution holds, by the name of its task."""

    tasks: dict[str, Capacity] = {}


class UploadView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """How far a result is on its way, in bytes of what the task left; a `total_bytes` of 0 is not known."""

    done_bytes: int = 0
    total_bytes: int = 0
    bytes_per_second: int = 0


class InputsView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What an execution reads of what was looked up when its job was submitted, and the first names of that."""

    files: int = 0
    size: int = 0
    names: tuple[str, ...] = ()


class ExecutionView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One attempt at one part of a job: times in nanoseconds since 1970."""

    id: str = field(name="ID")
    namespace: str = ""
    eval_id: str = field(name="EvalID", default="")
    name: str = ""
    node_id: str = field(name="NodeID", default="")
    job_id: str = field(name="JobID")
    job: JobView | msgspec.UnsetType = msgspec.UNSET
    """In the version of the execution, as it is now. Absent over NATS, and where an answer would grow too large."""
    job_version: int = 1
    allocated_resources: AllocatedResources = AllocatedResources()
    desired_state: NumberedState = NumberedState()
    compute_state: NumberedState = NumberedState()
    upload: UploadView | None = None
    """While its result is on its way, and has been for a while."""
    inputs: InputsView | None = None
    """Its share of the inputs; absent where it reads none, over NATS, and while the list of them cannot be read."""
    published_result: PublishedResult | None = None
    run_output: RunOutputView | None = None
    previous_execution: str = ""
    next_execution: str = ""
    followup_eval_id: str = field(name="FollowupEvalID", default="")
    partition_index: int = 0
    fetch_seconds: float = 0.0
    """How long its inputs took, before its task ran; 0 where it reads none, and until it runs."""
    pull_seconds: float = 0.0
    """The same of its image; 0 where that was on the node."""
    gpus: tuple[str, ...] = field(name="GPUs", default=())
    """The ids of the GPUs of its node that its task had for itself."""
    run_seconds: float = 0.0
    """For how long its task ran; 0 while it does, and of one that never did."""
    peak_memory: int = 0
    """The most memory in bytes that its node has seen of its task; 0 where it has seen none."""
    revision: int = 0
    create_time: int = 0
    modify_time: int = 0

    @property
    def state_name(self) -> str:
        return execution_state_name(self.compute_state.state_type)

    @property
    def state(self) -> ExecutionState | str:
        """Plain text where it is one that only Bacalhau, or a later version, knows. On the wire it is a number."""
        name = self.state_name
        return ExecutionState(name) if name in ExecutionState.__members__.values() else name

    @property
    def desired(self) -> DesiredState | str:
        """What the orchestrator wants of it; plain text as of `state`."""
        name = desired_state_name(self.desired_state.state_type)
        return DesiredState(name) if name in DesiredState.__members__.values() else name


class ExecutionResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    execution: ExecutionView


# ---- results ----------------------------------------------------------------------------------------------------

RESULT_TYPE = "s3PreSigned"


class SourceSpec(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Where an object is, for those who have keys of their own."""

    bucket: str = ""
    key: str = ""
    region: str = ""
    endpoint: str = ""


class ResultParams(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """How to fetch one result, and how to tell that it is whole. The URL is a credential and never shown.

    `exit_code` is that with which the task ended; whether its job takes that for a failure says `FailOnExitCode`.
    """

    pre_signed_url: str = field(name="PreSignedURL")
    expires_at: datetime | None = None
    """Until when the URLs are good; None where a server of an earlier version did not say."""
    source_spec: SourceSpec = SourceSpec()
    managed: bool = True
    execution_id: str = field(name="ExecutionID", default="")
    partition_index: int = 0
    job_version: int = 0
    """0 where a server of an earlier version did not say."""
    etag: str = field(name="ETag", default="")
    sha256: str = field(name="SHA256", default="")
    size: int = 0
    entries: int = 0
    raw_size: int = 0
    index_url: str = field(name="IndexURL", default="")
    """A signed GET of the archive's index (see shared/protocol/archive_index.py); empty where there is none."""
    index_size: int = 0
    index_sha256: str = field(name="IndexSHA256", default="")
    left_out_count: int = 0
    """Entries whose content is not in the result as the task wrote it: the result is not whole."""
    content_digest: str = ""
    """Of what is in the result alone, without times: two runs that made the same have the same one."""
    manifest_url: str = field(name="ManifestURL", default="")
    """A signed GET of the manifest beside an archive (shared/protocol/results/content_manifest.py); empty without."""
    manifest_size: int = 0
    manifest_sha256: str = field(name="ManifestSHA256", default="")
    provenance_url: str = field(name="ProvenanceURL", default="")
    """A signed GET of what its node has signed of the result (docs/provenance.md); empty where nothing counts."""
    provenance_size: int = 0
    provenance_sha256: str = field(name="ProvenanceSHA256", default="")
    provenance_key: str = ""
    """The public key that was its node's when the result was reported."""
    record_url: str = field(name="RecordURL", default="")
    """A signed GET of the record beside the result, where it was asked for; nobody says whether one is there."""
    records_key: str = ""
    """The public key by which the orchestrator signs such records, where they were asked for."""
    node_id: str = field(name="NodeID", default="")
    spec_digest: str = ""
    """Of the specification of this version of the job (docs/provenance.md)."""
    stand_ins: tuple[str, ...] = ()
    """Executions on nodes of other owners that gave the same, where replicas had to agree."""
    exit_code: int = 0
    encoding: str = GZIP
    """`plain` of a result that is an object for each file. Then URL, size and digest are those of their manifest."""

    @property
    def is_plain(self) -> bool:
        return self.encoding == PLAIN

    def __repr__(self) -> str:
        return f"<ResultParams {self.source_spec.bucket}/{self.source_spec.key}, {self.size} bytes>"

    __str__ = __repr__

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What the library rich shows instead of the fields, also in its tracebacks."""
        return [("key", f"{self.source_spec.bucket}/{self.source_spec.key}")]


class ResultItem(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    type: str = RESULT_TYPE
    params: ResultParams


class LogLine(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Some text of one stream, of one line or several; `type` is 1 for stdout, 2 for stderr."""

    type: int
    line: str


class LogPlace(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Up to which bytes of an execution's output all has been told: who lost the connection goes on from there."""

    execution_id: str = field(name="ExecutionID")
    stdout: int = 0
    stderr: int = 0


class LogEnd(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """That nothing follows. What is missing of an output that is not `whole` is in the execution's result, if it is."""

    whole: bool


class LogFrame(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the websocket of logs carries. A stream without a frame that has an `error` or an `end` was cut off."""

    value: LogLine | None = None
    place: LogPlace | None = None
    end: LogEnd | None = None
    error: str = ""


# ---- errors and live progress -----------------------------------------------------------------------------------


TARPON_CODE = "TarponCode"
"""Among the details of an error: its own code, where the code is the one that the reference has for several."""


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The body of every answer that is not a success."""

    status: int = 0
    message: str
    request_id: str = field(name="RequestID", default="")
    code: str = ""
    component: str = ""
    hint: str = ""
    details: dict[str, str] = {}


EVENT_HISTORY = "history"
"""A server-sent event whose data is a HistoryItem."""

EVENT_JOB = "job"
"""A server-sent event whose data is a JobView; the stream ends after one whose state is terminal."""
