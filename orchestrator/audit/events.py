"""Events of the audit log: what is told of one action. None has a URL, a query, a key or another secret in it."""

from typing import Literal

import msgspec

ActorKind = Literal["operator", "key", "person", "integration", "anonymous", "node", "stranger", "orchestrator"]
"""Who somebody is: by the local socket, by an API key, by a sign-in, by the integration secret, by nothing as nothing
is asked for, by a node's key, not known at all, or the orchestrator itself."""
Outcome = Literal["done", "refused", "failed"]
"""`failed` is what was begun and came to no good end, of which something may have been done."""

SIGN, SIGN_IN, JOIN, AUDIT = "sign", "sign-in", "join", "audit"
"""Actions that are no capabilities: a URL was signed, somebody was let in, a node came for the first time, and what
the audit log tells of itself."""
START, STOP, MEND, LOST, SUM = "start", "stop", "mend", "lost", "sum"
"""What it tells: that the orchestrator began and ended, that a torn line was ended, how many events could not be
written, and how many refusals had no line of their own."""
MOST_CHARACTERS = 256
"""Of any text that somebody else chooses."""
MOST_NAMED = 64
"""How many executions one line names."""


class Actor(msgspec.Struct, frozen=True):
    kind: ActorKind
    name: str = ""


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """`action` is a capability such as `write:job`, or one of this module; `operation` is what was done by it."""

    kind: ActorKind
    who: str = ""
    source: str = msgspec.field(default="", name="From")
    """The address of who asks, `socket` for the local one, or `nats`."""
    action: str
    operation: str = ""
    object: str = ""
    namespace: str = ""
    outcome: Outcome = "done"
    code: str = ""
    """Of the error, where it was refused or failed."""
    job: str = ""
    execution: str = ""
    executions: tuple[str, ...] = ()
    method: str = ""
    """That the signed URL is good for; the `object` is then one of the bucket."""
    first: int = 0
    """Of the parts, inputs or files that a line is about, the number of the first one, and how many there are."""
    count: int = 0
    lifetime_seconds: int = 0
    times: int = 1
    """How many actions this line sums up."""
    seconds: int = 0
    """In how many seconds these were."""
    detail: str = ""


def bounded(text: str) -> str:
    """As much of a text as a line has, without what no UTF-8 can hold."""
    return text[:MOST_CHARACTERS].encode(errors="replace").decode()
