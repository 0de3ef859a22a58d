"""How the ends that are no exit of the task are told, and how they are recognised."""

import time
from datetime import datetime
from pathlib import Path

from compute.engines.docker_api import ContainerState, EngineRefusal
from compute.engines.engine import Broken
from shared.states import FailureReason

MAX_WORDS = 300
"""How many characters of the engine's words are told."""
_INIT_FAILED = (b"[FATAL tini", b"catatonit: failed to exec")
"""What the engine's init process writes when there is no such command in the image."""

# What the engine says, and nothing else, tells these apart.
_REFUSALS = (
    ("no such container", FailureReason.CONTAINER_LOST, "The container was removed from outside."),
    ("no such image", FailureReason.IMAGE_NOT_PULLED, "The image was pulled, and is not there all the same."),
    ("is already in use by container", FailureReason.NODE_ERROR, "There is a container of this execution already."),
    ("no space left on device", FailureReason.DISK_FULL, "The disk of the node's container engine is full."),
    (
        "bind source path does not exist",
        FailureReason.NODE_ERROR,
        "The node's container engine does not see the node's data directory; both must see it under the same path.",
    ),
)

LOST = Broken(
    FailureReason.CONTAINER_LOST,
    "The container was ended from outside: it was stopped or removed, or the node's container engine was restarted.",
)
MACHINE_RESTARTED = Broken(FailureReason.CONTAINER_LOST, "The machine was restarted, which ended the container.")
LOG_INCOMPLETE = Broken(
    FailureReason.CONTAINER_LOST,
    "The node was away, and the task wrote more output meanwhile than the container engine keeps.",
)


def _shortened(message: str) -> str:
    """What was tried is at the beginning and why it did not work at the end."""
    if len(message) <= MAX_WORDS:
        return message
    return f"{message[: MAX_WORDS // 3]} ... {message[-(2 * MAX_WORDS // 3) :]}"


def refused(error: EngineRefusal) -> Broken:
    for words, reason, sentence in _REFUSALS:
        if words in error.message.lower():
            return Broken(reason, sentence)
    told = _shortened(error.message.removesuffix(": unknown"))
    if error.status < 500 or "OCI runtime" in error.message:
        return Broken(FailureReason.TASK_NOT_STARTED, f"The container could not be started: {told}")
    return Broken(FailureReason.NODE_ERROR, f"The node's container engine failed: {told}")


def not_started(stderr: Path, image: str) -> Broken | None:
    """Whether the engine's init process found nothing to start; None if the task itself has ended. Blocks."""
    with stderr.open("rb") as file:
        line = file.readline(500)
    if not line.startswith(_INIT_FAILED):
        return None
    message = line.decode(errors="replace").rpartition("] ")[2].strip()
    return Broken(
        FailureReason.TASK_NOT_STARTED, f"The command could not be started in the image {image[:100]}: {message}"
    )


def started_before_boot(state: ContainerState) -> bool:
    """The engine writes nanoseconds, which Python does not read; whole seconds do."""
    try:
        started = datetime.fromisoformat(f"{state.started_at.partition('.')[0].rstrip('Z')}+00:00").timestamp()
    except ValueError:
        return False
    return started < time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) - 1.0
