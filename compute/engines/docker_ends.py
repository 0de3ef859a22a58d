"""How the ends that are no exit of the task are told, and how they are recognised."""

import time
from datetime import datetime
from pathlib import Path

from compute.engines.docker_api import ContainerState, EngineRefusal
from compute.engines.engine import Broken
from shared.states import FailureReason

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


def refused(error: EngineRefusal) -> Broken:
    for words, reason, sentence in _REFUSALS:
        if words in error.message.lower():
            return Broken(reason, sentence)
    told = error.message.removesuffix(": unknown")[:300]
    if error.status < 500 or "OCI runtime" in error.message:
        return Broken(FailureReason.TASK_NOT_STARTED, f"The container could not be started: {told}")
    return Broken(FailureReason.NODE_ERROR, f"The node's container engine failed: {told}")


def over_limit(name: str, limit_bytes: int) -> Broken:
    return Broken(FailureReason.OUTPUT_LIMIT_EXCEEDED, f"The task wrote more than {limit_bytes:,} bytes to {name}.")


def out_of_memory(limit_bytes: int) -> Broken:
    """`limit_bytes` 0: there was no limit."""
    limit = f"its limit of {limit_bytes:,} bytes" if limit_bytes else "the machine has"
    detail = f"The task needed more memory than {limit} (Resources.Memory) and was killed."
    return Broken(FailureReason.OUT_OF_MEMORY, detail)


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
