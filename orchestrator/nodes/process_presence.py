"""The presence of a node's process, by what the orchestrator hears from it."""

import msgspec

from orchestrator.rules.time_outs import LastHeard
from shared.ids import ExecutionId
from shared.protocol.messages import Heartbeat

QUICK_TASK_SECONDS = 0.5
"""A node whose tasks take less than this on average gets work in advance."""


class Presence(msgspec.Struct, kw_only=True):
    """What is known of a node's process while this orchestrator runs; times are monotonic seconds."""

    session: str = ""
    last_seen: float
    connected: bool = False
    leaving: bool = False
    changed_at: float
    heartbeat: Heartbeat | None = None
    clock_skew_seconds: float = 0.0
    """How far its clock was ahead of ours when its last heartbeat came."""
    accepted: dict[ExecutionId, int] = {}
    told: dict[ExecutionId, LastHeard] = {}
    """Of what it has accepted; also over its sessions."""
    silent_since: float | None = None
    """Since when it has left every offer unanswered."""
    average_run_seconds: float = 1.0
    kept: frozenset[ExecutionId] | None = None
    """What it held when its registration told that it leaves."""

    @property
    def is_quick(self) -> bool:
        return self.average_run_seconds < QUICK_TASK_SECONDS
