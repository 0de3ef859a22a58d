"""Shapes of the HTTP API that tell how the parts of a job stand, all of them in one short answer."""

import enum

import msgspec
from msgspec import field


class PartState(enum.StrEnum):
    """How a part stands by its last attempt, as one letter."""

    WAITING = "w"
    """No attempt was made yet; none ever will be, where its job has ended."""
    RETRYING = "a"
    """Its last attempt has failed, and another one will be made."""
    PLACED = "n"
    """On a node, where its task has not begun."""
    RUNNING = "r"
    PUBLISHING = "p"
    COMPLETED = "c"
    FAILED = "f"
    STOPPED = "s"


class PartsResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """How the parts of one version of a job stand: `states` has a letter for each of them, in their order."""

    job_id: str = field(name="JobID")
    job_version: int
    total: int
    states: str
