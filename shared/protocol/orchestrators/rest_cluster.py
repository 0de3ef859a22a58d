"""Shapes of the HTTP API that tell of the whole cluster: its orchestrators, NATS, and the last hour."""

from datetime import datetime

import msgspec
from msgspec import field


class OrchestratorView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One that has answered a short time ago; a name twice means that two run under it."""

    id: str = field(name="ID")
    version: str = ""
    leads: bool = False
    answers: bool = False
    """Whether it is the one that gives this answer."""


LEADS, CURRENT, BEHIND, OFFLINE = "Leads", "Current", "Behind", "Offline"
"""What a NATS server is for a stream: its leader, one that has all of it, one that lacks some, one that is away."""


class StreamView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A stream of NATS. `servers` are those that keep it, by their names; none where NATS does not tell.

    `limit_bytes` is 0 where there is none.
    """

    name: str
    bytes: int = 0
    messages: int = 0
    limit_bytes: int = 0
    replicas: int = 1
    servers: dict[str, str] = {}
    """Each as `Leads`, `Current`, `Behind` or `Offline`."""


class NatsView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """NATS as the orchestrator that answers sees it. `streams` is empty while it cannot be asked."""

    connected: bool
    server: str = ""
    """The name of the server that it is connected to."""
    version: str = ""
    """That of this server."""
    embedded: bool = False
    """Whether the orchestrator has started the server itself."""
    streams: tuple[StreamView, ...] = ()


class ClusterResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`leader` is the id of the orchestrator that decides at present; empty if none is known."""

    leader: str = ""
    orchestrators: tuple[OrchestratorView, ...] = ()
    nats: NatsView = field(name="NATS")


class AgentHistoryResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What this orchestrator has measured in the last hour: a list for each measure, each with one value for a time.

    What is counted (jobs, results, bytes) was counted in the interval that ended then; all else was so at that time.
    Before `since` nothing is known: the orchestrator was started.
    """

    since: datetime
    interval_seconds: float
    times: tuple[int, ...] = ()
    """Seconds since 1970."""
    jobs_submitted: tuple[int, ...] = ()
    """With each later version of a job."""
    jobs_completed: tuple[int, ...] = ()
    jobs_failed: tuple[int, ...] = ()
    jobs_stopped: tuple[int, ...] = ()
    published_results: tuple[int, ...] = ()
    published_bytes: tuple[int, ...] = ()
    queued_jobs: tuple[int, ...] = ()
    """Of which nothing is placed yet."""
    oldest_queued_seconds: tuple[float, ...] = ()
    """How long the first of these has waited."""
    running_executions: tuple[int, ...] = ()
