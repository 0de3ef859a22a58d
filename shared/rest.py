"""What the HTTP API says: the shapes of its requests and answers, with the names of the reference on the wire.

A reader takes what it knows and ignores the rest, so a new field is no break; a field that an older server does not
send has a default. Jobs themselves are in shared/jobspec.py.
"""

from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import field

from shared.capacity import Capacity
from shared.jobspec import Job, JobView
from shared.states import DesiredState, ExecutionState

BASE_PATH = "/api/v1"

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True, rename="pascal"):
    """Some items of a list. `next_token` asks for those that follow, and is empty when there are none."""

    next_token: str = ""
    items: tuple[T, ...] = ()


# ---- jobs -------------------------------------------------------------------------------------------------------


class SubmitRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Run this job. The same idempotency token always names the same job, so a submit can be repeated safely."""

    job: Job
    force: bool = False
    idempotency_token: str = ""


class SubmitResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    job_id: str = field(name="JobID")
    evaluation_id: str = field(name="EvaluationID", default="")
    warnings: tuple[str, ...] = ()


class StopRequest(msgspec.Struct, frozen=True, kw_only=True):
    reason: str = ""


class StopResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The id is empty where the job was stopped already."""

    evaluation_id: str = field(name="EvaluationID", default="")


class DeleteResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`deleted` is false where all that is stored of the job is not gone yet; it goes by itself."""

    job_id: str = field(name="JobID")
    deleted: bool = True


class DiffRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Tell what would change if this job were submitted."""

    job: Job


class DiffResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One line for each value that would change; empty where nothing would."""

    diff: str = ""
    warnings: tuple[str, ...] = ()


class RerunRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Run a version of the job again, the newest one if it is 0. With a token a repeated request does it once."""

    job_version: int = 0
    reason: str = ""
    idempotency_token: str = ""


class RerunResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    evaluation_id: str = field(name="EvaluationID", default="")
    job_id: str = field(name="JobID")
    job_version: int
    warnings: tuple[str, ...] = ()


class EventView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Something that happened, in words. Known details: IsError, Hint, Retryable, NewState, ErrorCode."""

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


class PublishedParams(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Which object a result is: enough to find it, and never a URL."""

    job_id: str = field(name="JobID", default="")
    execution_id: str = field(name="ExecutionID", default="")
    bucket: str = ""
    key: str = ""
    region: str = ""
    endpoint: str = ""
    etag: str = field(name="ETag", default="")
    sha256: str = field(name="SHA256", default="")
    size: int = 0
    entries: int = 0
    raw_size: int = 0
    warnings: tuple[str, ...] = ()
    """What could not be archived as it was: the first of them."""
    warnings_count: int = 0
    archive_seconds: float = 0.0
    publish_seconds: float = 0.0
    """From the task's end to the object's being there; `archive_seconds` is the part of it that packing took."""
    parts: int = 1
    retries: int = 0
    renewals: int = 0


class PublishedResult(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Type is empty where nothing was published."""

    type: str = ""
    params: PublishedParams | None = None


class AllocatedResources(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What an execution holds, by the name of its task."""

    tasks: dict[str, Capacity] = {}


class ExecutionView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One attempt at one part of a job: times in nanoseconds since 1970."""

    id: str = field(name="ID")
    namespace: str = ""
    eval_id: str = field(name="EvalID", default="")
    name: str = ""
    node_id: str = field(name="NodeID", default="")
    job_id: str = field(name="JobID")
    job_version: int = 1
    allocated_resources: AllocatedResources = AllocatedResources()
    desired_state: NumberedState = NumberedState()
    compute_state: NumberedState = NumberedState()
    published_result: PublishedResult | None = None
    run_output: RunOutputView | None = None
    previous_execution: str = ""
    next_execution: str = ""
    followup_eval_id: str = field(name="FollowupEvalID", default="")
    partition_index: int = 0
    revision: int = 0
    create_time: int = 0
    modify_time: int = 0

    @property
    def state_name(self) -> str:
        return execution_state_name(self.compute_state.state_type)


# ---- results ----------------------------------------------------------------------------------------------------

RESULT_TYPE = "s3PreSigned"


class SourceSpec(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Where an object is, for those who have keys of their own."""

    bucket: str = ""
    key: str = ""
    region: str = ""
    endpoint: str = ""


class ResultParams(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """How to fetch one result, and how to tell that it is whole. The URL is a credential and never shown."""

    pre_signed_url: str = field(name="PreSignedURL")
    source_spec: SourceSpec = SourceSpec()
    managed: bool = True
    execution_id: str = field(name="ExecutionID", default="")
    partition_index: int = 0
    etag: str = field(name="ETag", default="")
    sha256: str = field(name="SHA256", default="")
    size: int = 0
    entries: int = 0
    raw_size: int = 0
    index_url: str = field(name="IndexURL", default="")
    """A signed GET of the archive's index (see shared/archive_index.py); empty where there is none."""
    index_size: int = 0
    index_sha256: str = field(name="IndexSHA256", default="")

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


class LogFrame(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the websocket of logs carries."""

    value: LogLine | None = None
    error: str = ""


# ---- nodes and agents -------------------------------------------------------------------------------------------


class VersionView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    major: str = ""
    minor: str = ""
    git_version: str = ""
    git_commit: str = ""
    build_date: str = ""
    goos: str = field(name="GOOS", default="")
    goarch: str = field(name="GOARCH", default="")


class ComputeNodeInfo(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    execution_engines: tuple[str, ...] = ()
    publishers: tuple[str, ...] = ()
    storage_sources: tuple[str, ...] = ()
    max_capacity: Capacity = Capacity()
    queue_capacity: Capacity = Capacity()
    available_capacity: Capacity = Capacity()
    max_job_requirements: Capacity = Capacity()
    running_executions: int = 0
    enqueued_executions: int = 0
    publishing_executions: int = 0
    waiting_executions: int = 0
    """Of those that are publishing: S3 does not take their results at present."""
    address: str = field(name="address", default="")


REQUESTER = "Requester"
COMPUTE = "Compute"


class NodeInfoView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    node_id: str = field(name="NodeID")
    node_type: str = COMPUTE
    labels: dict[str, str] = {}
    supported_protocols: tuple[str, ...] = ()
    compute_node_info: ComputeNodeInfo | None = None
    version: VersionView = field(name="BacalhauVersion", default_factory=VersionView)


CONNECTED = "CONNECTED"
DISCONNECTED = "DISCONNECTED"
APPROVED = "APPROVED"


class ConnectionState(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    status: str = DISCONNECTED
    last_heartbeat: datetime | None = None
    connected_since: datetime | None = None
    disconnected_since: datetime | None = None
    last_error: str = ""


class NodeState(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    info: NodeInfoView
    membership: str = APPROVED
    connection: str = DISCONNECTED
    connection_state: ConnectionState = ConnectionState()
    draining: bool = False
    """Nothing new is placed on it."""
    live_executions: int = 0
    """How many that are placed on it have not ended yet."""


class ListNodesResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    next_token: str = ""
    nodes: tuple[NodeState, ...] = ()


class NodeResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    node: NodeState


class UpdateNodeRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Actions are approve, reject and delete, as in the reference, and drain and undrain."""

    action: str = ""
    message: str = ""
    node_id: str = field(name="NodeID", default="")


class UpdateNodeResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    success: bool
    error: str = ""


class AliveResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    status: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    code: str
    message: str
    hint: str = ""


class PublisherHealth(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Whether results can be published now, and if not, why. `create_only` is None until it has been found out."""

    ready: bool
    create_only: bool | None = None
    problem: Problem | None = None
    unfinished_uploads: int = 0
    """Executions that have left an upload in parts which could not be aborted yet."""
    deletion_problem: Problem | None = None
    """Why old results are not deleted, where the setting Retention says that they should be."""


class UnfinishedUpload(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """An upload in parts that no result came of: what it takes to abort it by hand."""

    job_id: str = field(name="JobID")
    execution_id: str = field(name="ExecutionID")
    upload_id: str = field(name="UploadID")
    bucket: str
    key: str
    region: str = ""
    endpoint: str = ""


class PublishersHealth(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A publisher that is not configured is absent."""

    s3managed: PublisherHealth | None = field(name="S3Managed", default=None)


class AgentNodeResponse(NodeInfoView, frozen=True, kw_only=True, rename="pascal"):
    """`leader` is the id of the orchestrator that decides at present; empty if none is known."""

    publishers: PublishersHealth = field(default_factory=PublishersHealth)
    leader: str = ""


class AgentConfigResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting under its key, one mapping for each part of the key; secrets hidden."""

    config: dict[str, Any]


class Oauth2View(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """How a person would log in at an identity provider. Without a ProviderID there is none."""

    provider_id: str = field(name="ProviderID", default="")
    provider_name: str = ""
    device_authorization_endpoint: str = ""
    token_endpoint: str = ""
    issuer: str = ""
    jwks_uri: str = field(name="JWKSUri", default="")
    device_client_id: str = field(name="DeviceClientID", default="")
    polling_interval: int = 0
    audience: str = ""
    scopes: tuple[str, ...] = ()


class AuthConfigResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`version` is of this shape."""

    version: str = "1.0.0"
    config: Oauth2View = Oauth2View()


class AuthMethod(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What a client has to show to be let in by a method."""

    type: str
    params: dict[str, Any] = {}


class AuthMethodsResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The ways to authenticate, by their names. None: nothing has to be shown."""

    next_token: str = ""
    methods: dict[str, AuthMethod] = {}


class DebugResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """How many there are in each state. `executions` are those that have not ended, `nodes` those of compute."""

    jobs: dict[str, int]
    executions: dict[str, int]
    nodes: dict[str, int]


# ---- errors and live progress -----------------------------------------------------------------------------------


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
