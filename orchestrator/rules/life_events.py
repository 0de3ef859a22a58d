"""Events and commands in the lives of executions and jobs: what can happen, and what is to be done then.

Out of the one, orchestrator/rules/lifecycle.py and orchestrator/rules/job_progress.py make the other. Facts and
answers of nodes come in any order, repeatedly and late; for each event in each state there is one named outcome, and
none is an error.
"""

import enum

import msgspec

from orchestrator.rules.records import ExecutionRecord, Failure, JobRecord, VerifiedResult
from shared.ids import ExecutionId, NodeId
from shared.jobs.states import FailureReason
from shared.protocol.messages import AnyFact

# ---- events -----------------------------------------------------------------------------------------------------


class FactTold(msgspec.Struct, frozen=True, kw_only=True):
    """Its node told a fact. `result` is the verified object, where that is what the fact is about.

    `publishes` tells whether its job has a publisher, `excused` that a failure counts for nothing until another node
    says so too. `failure` is what the exit code of a task that has ended means to its job. `answer` is of a replica,
    with its result: the digest by which it is compared with the others.
    """

    fact: AnyFact
    publishes: bool
    excused: bool = False
    failure: Failure | None = None
    result: VerifiedResult | None = None
    answer: str = ""


class NotVerified(msgspec.Struct, frozen=True):
    """The object that its node says it published is absent or another one.

    That one is `in_the_way` where it was there before, and S3 did not take the node's.
    """

    in_the_way: bool = False


class NotComparable(msgspec.Struct, frozen=True):
    """What it published is too large to be compared with the results of other replicas: why, in a sentence."""

    detail: str


class OfferTaken(msgspec.Struct, frozen=True):
    """Its node answered an offer: it takes it on."""


class OfferRefused(msgspec.Struct, frozen=True, kw_only=True):
    """Its node answered an offer: it does not run this, now or (unless `retryable`) ever.

    It is `excused` where it says that it stops, and nobody knows of that yet.
    """

    reason: str
    detail: str = ""
    retryable: bool = False
    excused: bool = False


class ExecutionLost(msgspec.Struct, frozen=True):
    """Its node is gone, or is back and does not know it any more; `excused` as in FactTold.

    With `disowned` nothing counts either that the node has published and that nobody has agreed with yet.
    """

    reason: FailureReason
    detail: str
    excused: bool = False
    disowned: bool = False


class NotOffered(msgspec.Struct, frozen=True):
    """Its node is not offered it, because it lacks what only the orchestrator could give."""

    reason: FailureReason
    detail: str


class TimedOut(msgspec.Struct, frozen=True):
    """Its node should have ended it by itself and has not."""

    reason: FailureReason
    detail: str


class NotBegun(msgspec.Struct, frozen=True):
    """Its node takes nothing on any more and had not begun it."""

    detail: str


class Unattended(msgspec.Struct, frozen=True):
    """Its node is connected, and neither begins it nor says anything of it."""

    detail: str


class Withdrawn(msgspec.Struct, frozen=True):
    """Its job does not want it any more: stopped, replaced by a newer version, or failed."""

    why: str


class Agreed(msgspec.Struct, frozen=True):
    """As many replicas as have to have given the same result as this one."""

    why: str


class Outvoted(msgspec.Struct, frozen=True):
    """As many replicas as have to agree about another result than this one's."""

    detail: str


class NotAgreed(msgspec.Struct, frozen=True):
    """So many replicas cannot agree any more, this one among them."""

    detail: str


ExecutionEvent = (
    FactTold
    | NotVerified
    | NotComparable
    | OfferTaken
    | OfferRefused
    | NotOffered
    | ExecutionLost
    | TimedOut
    | NotBegun
    | Unattended
    | Withdrawn
    | Agreed
    | Outvoted
    | NotAgreed
)

# ---- what comes of them -----------------------------------------------------------------------------------------


class Outcome(enum.Enum):
    MOVED = "a step of its life"
    NOTED = "a line more in its history"
    KNOWN = "nothing new: it is past this, or was told so before"
    EARLY = "what comes before this has not come yet"
    UNVERIFIED = "to be believed once the object itself has been looked at"
    LATE = "it has ended, and stays as it ended"
    CONTESTED = "others move it each time that this is decided"


class OfferExecution(msgspec.Struct, frozen=True):
    """Offer it to its node until there is an answer."""

    record: ExecutionRecord


class Cancel(msgspec.Struct, frozen=True):
    """Have its node stop it."""

    record: ExecutionRecord
    reason: str


class ForgetExecution(msgspec.Struct, frozen=True):
    """Its node may forget it."""

    node_id: NodeId
    execution_id: ExecutionId


Command = OfferExecution | Cancel | ForgetExecution


class ExecutionStep(msgspec.Struct, frozen=True):
    """The record afterwards, the very same where nothing has changed, and what to do once that is stored."""

    record: ExecutionRecord
    outcome: Outcome
    commands: tuple[Command, ...] = ()


# ---- jobs -------------------------------------------------------------------------------------------------------


class StopAsked(msgspec.Struct, frozen=True):
    """A user wants it no more."""

    reason: str = ""


class GivenUp(msgspec.Struct, frozen=True):
    """Time is over for it, or no node can run it."""

    why: str


class TargetsChosen(msgspec.Struct, frozen=True):
    """It runs once on each of these nodes, which matched just now."""

    nodes: tuple[NodeId, ...]


JobEvent = StopAsked | GivenUp | TargetsChosen


class JobStep(msgspec.Struct, frozen=True):
    """KNOWN where it was stopped before or has its nodes, LATE where it has ended otherwise; it is then as it was."""

    record: JobRecord
    outcome: Outcome
