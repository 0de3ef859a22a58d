"""Shapes of the HTTP API that tell what a job waits for."""

import enum

import msgspec
from msgspec import field

from shared.jobs.capacity import Capacity
from shared.jobs.spec import StateView
from shared.protocol.rest import UploadView


class Standing(enum.StrEnum):
    """How a node stands to a job that waits: those come first on which it may run soonest."""

    READY = "ready"
    BUSY = "busy"
    RESTING = "resting"
    ON_TRIAL = "on-trial"
    """It fails task after task, and has the one that it is tried with."""
    JOINING = "joining"
    """It is connected, and has not said yet what it holds."""
    STOPPING = "stopping"
    ENGINE_AWAY = "engine-away"
    DISCONNECTED = "disconnected"
    DRAINED = "drained"
    UNFIT_LABELS = "unfit-labels"
    TOO_SMALL = "too-small"
    NO_ENGINE = "no-engine"
    NO_PUBLISHER = "no-publisher"
    TOO_OLD = "too-old"
    NO_INPUT = "no-input"
    STORE_UNREACHABLE = "store-unreachable"
    UNAPPROVED = "unapproved"
    """An operator has to approve it first."""
    NO_OWNER = "no-owner"
    """It is nobody's, and each replica of a part runs at another owner."""
    REFUSED = "refused"
    REJECTED = "rejected"
    OTHER_PROTOCOL = "other-protocol"
    OTHER_NAMESPACE = "other-namespace"
    """Told to nobody: for the jobs of a namespace that it does not serve the node is not there."""


class NodeWait(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What one node lacks for the job, in sentences; `standing` is of the first of them, a member of `Standing`."""

    node_id: str = field(name="NodeID")
    standing: str
    lacks: tuple[str, ...] = ()
    free: Capacity = Capacity()
    total: Capacity = Capacity()


class StandingCount(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    standing: str
    nodes: int


class PartCounts(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Where the parts of the newest version are; `delayed` ones wait after a failed attempt, the first until then."""

    total: int = 0
    to_place: int = 0
    held_back: int = 0
    """They wait for others of the job, of which no more may run at once."""
    delayed: int = 0
    delayed_until: int = 0
    """In nanoseconds since 1970; 0 where none is delayed."""
    placed: int = 0
    """They are on nodes, and their tasks have not begun."""
    running: int = 0
    publishing: int = 0
    completed: int = 0
    failed: int = 0
    """This and the next two are told of a job that has ended: how its other parts stood at their last attempts."""
    stopped: int = 0
    never_begun: int = 0


class WaitsResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What a job waits for; without nodes where none of its parts is to be placed.

    `summary` is it all in one line. `nodes` are the first of `nodes_total`, those on which it may run soonest;
    `standings` counts all of them. `notes` are further facts, such as what placed parts wait for, or why parts of a
    job that has ended have failed.
    """

    job_id: str = field(name="JobID")
    job_version: int
    state: StateView
    summary: str
    parts: PartCounts = PartCounts()
    asks: str = ""
    notes: tuple[str, ...] = ()
    standings: tuple[StandingCount, ...] = ()
    upload: UploadView | None = None
    """Of all parts together whose results have been on their way for a while."""
    nodes_total: int = 0
    nodes: tuple[NodeWait, ...] = ()
