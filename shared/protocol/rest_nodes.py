"""Shapes of the HTTP API that tell of nodes, and of the orchestrator that answers."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import field

from shared.jobs.capacity import Capacity

UNKNOWN_DATE = "0001-01-01T00:00:00Z"
"""What Go programs write for a time that is not known."""


class VersionView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    major: str = ""
    minor: str = ""
    git_version: str = ""
    git_commit: str = ""
    build_date: str = UNKNOWN_DATE
    """As RFC 3339 has it, in every version view: Go programs read no other."""
    goos: str = field(name="GOOS", default="")
    goarch: str = field(name="GOARCH", default="")


class ContainerEngineView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What runs a node's containers, in its own words."""

    name: str = ""
    version: str = ""
    store: str = ""
    """How it keeps images."""
    rootless: bool = False
    isolation: tuple[str, ...] = ()
    """What keeps containers apart: the runtime, and what the kernel does."""


class GPUView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One that the node has found; `memory` is in MiB."""

    index: int
    name: str = ""
    vendor: str = ""
    memory: int = 0
    pci_address: str = field(name="PCIAddress", default="")


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
    problems: tuple[str, ...] = ()
    """What its operator should see to, in sentences: the first of them."""
    container_engine: ContainerEngineView | None = None
    """While it answers."""
    isolation: dict[str, str] = {}
    """What keeps the tasks of an engine in their place, such as bubblewrap, container or none; by the engine's name."""
    runtimes: dict[str, str] = {}
    """What runs the tasks of an engine, with its version, by the engine's name."""
    gpus: tuple[GPUView, ...] = field(name="GPUs", default=())
    """Those that the node has found and gives to tasks."""
    address: str = field(name="address", default="")


REQUESTER = "Requester"
COMPUTE = "Compute"


class NodeInfoView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    node_id: str = field(name="NodeID")
    node_type: str = COMPUTE
    host: str = ""
    """What its machine is called."""
    labels: dict[str, str] = {}
    supported_protocols: tuple[str, ...] = ()
    compute_node_info: ComputeNodeInfo | None = None
    version: VersionView = field(name="BacalhauVersion", default_factory=VersionView)


CONNECTED = "CONNECTED"
DISCONNECTED = "DISCONNECTED"
APPROVED = "APPROVED"
PENDING = "PENDING"
REJECTED = "REJECTED"


class ConnectionState(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    status: str = DISCONNECTED
    last_heartbeat: datetime | None = None
    connected_since: datetime | None = None
    disconnected_since: datetime | None = None
    last_error: str = ""


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    code: str
    message: str
    hint: str = ""


class DifferenceView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A result of the node that differed from what others of its part agreed about: which, when, and how."""

    execution_id: str = field(name="ExecutionID")
    job_id: str = field(name="JobID")
    time: datetime
    detail: str = ""


CURRENT, REPLACED, KEY_REJECTED, DELETED = "Current", "Replaced", "Rejected", "Deleted"


class NodeKeyView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """That a public nkey was a node's, by which what it signed then is known (docs/provenance.md).

    `state` is Current, Replaced by a later key or owner, Rejected by an operator, or Deleted with the node. Times are
    empty where they are not known. A key that came back is there once for each time.
    """

    key: str
    state: str = CURRENT
    since: datetime | None = None
    until: datetime | None = None
    owner: str = ""
    """Whose the node was then; for who sees all namespaces."""


class NodeKeysResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The keys that a node has had, the newest first, also of one that was deleted.

    `forgotten_until` is when the last of those ended that are not kept any more; None where all are here.
    """

    node_id: str = field(name="NodeID", default="")
    keys: tuple[NodeKeyView, ...] = ()
    forgotten_until: datetime | None = None


class NodeState(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    info: NodeInfoView
    membership: str = APPROVED
    connection: str = DISCONNECTED
    connection_state: ConnectionState = ConnectionState()
    draining: bool = False
    """Nothing new is placed on it."""
    live_executions: int = 0
    """How many that are placed on it have not ended yet."""
    suspicion: str = ""
    """Why it is given one task at a time: it has failed task after task, until one goes well. Empty if it is not."""
    namespaces: tuple[str, ...] = ()
    """Those whose jobs it may be given, where it is not to be given all."""
    differed: int = 0
    """How often it gave another result than others had agreed about, since it was approved last."""
    differences: tuple[DifferenceView, ...] = ()
    """The last of these, the newest first; for who sees all namespaces."""
    owner: str = ""
    """Whose it is, by the token with which it joined; empty if that names nobody. For who sees all namespaces."""
    join_token: str = ""
    """The id of the token with which it joined, if it was one."""
    keys: tuple[NodeKeyView, ...] = ()
    """The newest first."""
    over_budget: dict[str, int] = {}
    """How much more it sent than a node may, by kind, as this orchestrator counted since it was started."""
    warnings: tuple[Problem, ...] = ()
    """What its operator should see to, as far as this orchestrator can tell; for who sees all namespaces."""

    @property
    def is_compute(self) -> bool:
        """Whether tasks may run there, which they never do on an orchestrator."""
        return self.info.node_type == COMPUTE


class ListNodesResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Over HTTP the orchestrator that answers is among them, as a node of type Requester."""

    next_token: str = ""
    nodes: tuple[NodeState, ...] = ()


class NodeResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    node: NodeState


class UpdateNodeRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Actions are approve, reject and delete, as in the reference, and drain, undrain and set-owner.

    To delete with `force` is to reject the node first, so that it may be connected and hold executions. Whoever rejects
    one may have the join token revoked with which it came. `owner` is whose it is from now on, empty for nobody's.
    """

    action: str = ""
    message: str = ""
    force: bool = False
    revoke_token: bool = False
    owner: str = ""
    node_id: str = field(name="NodeID", default="")


class UpdateNodeResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`warning` is what could not be done beside what was asked for.

    Of a node that is rejected, `join_token` is the id of the one with which it came, and `token_is_usable` whether more
    can come with that.
    """

    success: bool
    error: str = ""
    warning: str = ""
    join_token: str = ""
    token_is_usable: bool = False


class AliveResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    status: str


class PublisherHealth(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Whether results can be published now, and if not, why.

    `create_only` is whether no object is replaced by one PUT, `create_only_parts` by the end of an upload in parts, as
    the service itself sees to it; None until it has been found out.
    """

    ready: bool
    create_only: bool | None = None
    create_only_parts: bool | None = None
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


class AuditState(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Whether the audit log can be written, the number of its last line, and how many events have none."""

    writable: bool = True
    last_line: int = 0
    lost: int = 0
    problem: Problem | None = None


class AgentNodeResponse(NodeInfoView, frozen=True, kw_only=True, rename="pascal"):
    """`leader` is the id of the orchestrator that decides at present; empty if none is known.

    `time` is what the clock of the one that answers shows.
    """

    publishers: PublishersHealth = field(default_factory=PublishersHealth)
    leader: str = ""
    audit: AuditState | None = None
    time: datetime | None = None


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


class AuthMethod(msgspec.Struct, frozen=True, kw_only=True):
    """What a client has to answer to be let in by a method, with the small letters of the reference."""

    type: str
    params: dict[str, Any] = {}


class AuthMethodsResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The ways to authenticate, by their names. None means that something else is asked for, as an API key."""

    next_token: str = ""
    methods: dict[str, AuthMethod] = {}


class AuthenticationRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The answer to a method: `method_data` is a JSON object, in base64."""

    name: str = ""
    method_data: bytes

    def __repr__(self) -> str:
        return f"<AuthenticationRequest {self.name[:80]!r}>"

    __str__ = __repr__


class Authentication(msgspec.Struct, frozen=True, kw_only=True):
    """Whether it was taken, with the small letters of the reference: by others its clients ask for ever."""

    success: bool
    token: str = ""
    reason: str = ""


class AuthenticationResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    authentication: Authentication


class DebugResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """How many there are in each state. `executions` are those that have not ended, `nodes` those of compute."""

    jobs: dict[str, int]
    executions: dict[str, int]
    nodes: dict[str, int]
