"""States of jobs and executions, which changes are possible, and why executions fail.

The names are those of the field, so that who comes from Bacalhau reads what they know.
"""

import enum

from shared.errors import IllegalTransition


class JobState(enum.StrEnum):
    """Computed from a job's executions, never stored."""

    PENDING = "Pending"
    QUEUED = "Queued"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPED = "Stopped"

    is_terminal: bool


class ExecutionState(enum.StrEnum):
    NEW = "New"
    ACCEPTED = "BidAccepted"
    REJECTED = "AskForBidRejected"
    RUNNING = "Running"
    PUBLISHING = "Publishing"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    is_terminal: bool
    holds_capacity: bool
    """Whether the node's CPU and memory are reserved: until the task has ended, not while it is published."""


_ENDS = frozenset({ExecutionState.COMPLETED, ExecutionState.FAILED, ExecutionState.CANCELLED})

TRANSITIONS: dict[ExecutionState, frozenset[ExecutionState]] = {
    ExecutionState.NEW: _ENDS
    | {ExecutionState.ACCEPTED, ExecutionState.REJECTED, ExecutionState.RUNNING, ExecutionState.PUBLISHING},
    ExecutionState.ACCEPTED: _ENDS | {ExecutionState.RUNNING, ExecutionState.PUBLISHING},
    ExecutionState.RUNNING: _ENDS | {ExecutionState.PUBLISHING},
    ExecutionState.PUBLISHING: _ENDS,
    ExecutionState.REJECTED: frozenset(),
    ExecutionState.COMPLETED: frozenset(),
    ExecutionState.FAILED: frozenset(),
    ExecutionState.CANCELLED: frozenset(),
}

# Found out once and not by properties, because each change of each job asks many times.
for _job_state in JobState:
    _job_state.is_terminal = _job_state in {JobState.COMPLETED, JobState.FAILED, JobState.STOPPED}
for _state in ExecutionState:
    _state.is_terminal = not TRANSITIONS[_state]
    _state.holds_capacity = _state in {ExecutionState.NEW, ExecutionState.ACCEPTED, ExecutionState.RUNNING}


def check_transition(old: ExecutionState, new: ExecutionState, story: str) -> None:
    """Raise IllegalTransition, with the record's story, unless the life cycle knows the step."""
    if new not in TRANSITIONS[old]:
        raise IllegalTransition(f"An execution cannot go from {old} to {new}. Its story: {story}")


class DesiredState(enum.StrEnum):
    RUNNING = "Running"
    STOPPED = "Stopped"


class Cause(enum.Enum):
    """Where a failure comes from, which decides whether another attempt may go better, and after how long."""

    TASK = "the task itself, so that no attempt goes better"
    EXIT_CODE = "the task itself, by an exit code that its job takes for a failure, and may have it retried for"
    ENGINE = "the node's container engine is away, or was restarted"
    REGISTRY = "the image registry is away"
    NODE = "something else about the node"
    SOURCE = "what an input comes from is away"
    INTERRUPTED = "what happened once, and is not expected to happen again"
    NOT_TRIED = "the node had not begun it"
    GONE = "its node is not there any more, and no other may run it"


class FailureReason(enum.StrEnum):
    """Why an execution did not complete. `retryable`: another attempt may go better, whatever the job is."""

    TASK_NOT_STARTED = "TaskNotStarted"
    NON_ZERO_EXIT_CODE = "NonZeroExitCode"
    EXECUTION_TIMED_OUT = "ExecutionTimedOut"
    OUTPUT_LIMIT_EXCEEDED = "OutputLimitExceeded"
    OUT_OF_MEMORY = "OutOfMemory"
    PROCESS_LIMIT_EXCEEDED = "ProcessLimitExceeded"
    DISK_LIMIT_EXCEEDED = "DiskLimitExceeded"
    IMAGE_NOT_FOUND = "ImageNotFound"
    IMAGE_ACCESS_DENIED = "ImageAccessDenied"
    IMAGE_NOT_PULLED = "ImageNotPulled"
    ENGINE_UNAVAILABLE = "EngineUnavailable"
    CONTAINER_LOST = "ContainerLost"
    DATA_DIR_NOT_SEEN = "DataDirNotSeen"
    GPU_NOT_GIVEN = "GPUNotGiven"
    TASK_KILLED = "TaskKilled"
    MODULE_INVALID = "ModuleInvalid"
    MODULE_TOO_COMPLEX = "ModuleTooComplex"
    MODULE_TRAPPED = "ModuleTrapped"
    RUNTIME_CRASHED = "RuntimeCrashed"
    RESULT_TOO_LARGE = "ResultTooLarge"
    RESULT_UNREADABLE = "ResultUnreadable"
    RESULT_NOT_WHOLE = "ResultNotWhole"
    PUBLISH_REFUSED = "PublishRefused"
    PUBLISH_TIMED_OUT = "PublishTimedOut"
    RESULT_NOT_VERIFIED = "ResultNotVerified"
    OBJECT_IN_THE_WAY = "ObjectInTheWay"
    RESULT_NOT_COMPARABLE = "ResultNotComparable"
    RESULT_DIFFERS = "ResultDiffers"
    NO_AGREEMENT = "NoAgreement"
    SECRET_UNAVAILABLE = "SecretUnavailable"  # noqa: S105  # a reason's name
    INPUT_NOT_FOUND = "InputNotFound"
    INPUT_ACCESS_DENIED = "InputAccessDenied"
    INPUT_NOT_ALLOWED = "InputNotAllowed"
    INPUT_NOT_PLACED = "InputNotPlaced"
    INPUT_TOO_LARGE = "InputTooLarge"
    INPUT_CHANGED = "InputChanged"
    INPUT_DAMAGED = "InputDamaged"
    INPUT_UNAVAILABLE = "InputUnavailable"
    DISK_FULL = "DiskFull"
    NODE_RESTARTED = "NodeRestarted"
    HANDED_BACK = "HandedBack"
    NODE_LOST = "NodeLost"
    NODE_GONE = "NodeGone"
    NODE_ERROR = "NodeError"
    REJECTED_BY_NODE = "RejectedByNode"
    STOPPED = "Stopped"
    UNKNOWN = "Unknown"

    @property
    def cause(self) -> Cause:
        return _CAUSES.get(self, Cause.TASK)

    @property
    def retryable(self) -> bool:
        return self.cause not in {Cause.TASK, Cause.EXIT_CODE, Cause.GONE}

    @classmethod
    def parse(cls, text: str) -> "FailureReason":
        """A reason that a newer node reports and this program does not know is UNKNOWN, never an error."""
        try:
            return cls(text)
        except ValueError:
            return cls.UNKNOWN


_CAUSES = {
    FailureReason.NON_ZERO_EXIT_CODE: Cause.EXIT_CODE,
    FailureReason.ENGINE_UNAVAILABLE: Cause.ENGINE,
    FailureReason.CONTAINER_LOST: Cause.ENGINE,
    FailureReason.IMAGE_NOT_PULLED: Cause.REGISTRY,
    FailureReason.DATA_DIR_NOT_SEEN: Cause.NODE,
    FailureReason.GPU_NOT_GIVEN: Cause.NODE,
    FailureReason.INPUT_UNAVAILABLE: Cause.SOURCE,
    FailureReason.DISK_FULL: Cause.NODE,
    FailureReason.NODE_ERROR: Cause.NODE,
    FailureReason.REJECTED_BY_NODE: Cause.NODE,
    FailureReason.TASK_KILLED: Cause.INTERRUPTED,
    FailureReason.NODE_RESTARTED: Cause.INTERRUPTED,
    FailureReason.NODE_LOST: Cause.INTERRUPTED,
    FailureReason.OBJECT_IN_THE_WAY: Cause.INTERRUPTED,
    FailureReason.HANDED_BACK: Cause.NOT_TRIED,
    FailureReason.NODE_GONE: Cause.GONE,
}
