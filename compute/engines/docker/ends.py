"""Ends of a container that are no exit of the task: how they are recognised and told."""

import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from compute.disk.input_files import MountedInput
from compute.engines.docker.api import ContainerState, EngineRefusal
from compute.engines.engine import Broken
from shared.jobs.engine_params import DockerParams
from shared.jobs.states import FailureReason

MAX_WORDS = 300
"""How many characters of the engine's words are told."""
_INIT_FAILED = re.compile(rb"\[FATAL tini.*\] (.*)|ERROR \(catatonit:\d+\): failed to exec pid1: (.*)")
"""What the init process of Docker, or of Podman, writes when there is no such command in the image."""

_NO_GPUS = "The node's container engine cannot give the task the GPUs that it asks for."
# What the engine says, and nothing else, tells these apart.
_REFUSALS = (
    ("no such container", FailureReason.CONTAINER_LOST, "The container was removed from outside."),
    ("no such image", FailureReason.IMAGE_NOT_PULLED, "The image was pulled, and is not there all the same."),
    ("content digest", FailureReason.IMAGE_NOT_PULLED, "The node's container engine lacks a part of the image."),
    ("is already in use by", FailureReason.NODE_ERROR, "There is a container of this execution already."),
    ("could not select device driver", FailureReason.GPU_NOT_GIVEN, _NO_GPUS),
    ("nvidia-container-cli", FailureReason.GPU_NOT_GIVEN, _NO_GPUS),
    ("cdi device", FailureReason.GPU_NOT_GIVEN, _NO_GPUS),
    (
        "bind source path does not exist",
        FailureReason.DATA_DIR_NOT_SEEN,
        "The node's container engine does not see the node's data directory; both must see it under the same path.",
    ),
    ("no space left on device", FailureReason.DISK_FULL, "The disk of the node's container engine is full."),
)

_NOT_THE_NODE = re.compile("OCI runtime|OCI permission denied|no command or entrypoint")
"""What Podman refuses with 500 although the job is the reason."""
_THE_NODE = re.compile(
    r"error running (\w+ )?hook|unable to retrieve oci runtime error|unable to apply cgroup configuration|"
    "cgroup mountpoint does not exist|cannot allocate memory|resource temporarily unavailable|too many open files|"
    "input/output error|apparmor failed to apply|init seccomp"
)
"""What Docker refuses with 400 although the node is the reason, for each task alike."""
_NO_SUCH_USER = re.compile("unable to find (user|group) ")
"""What follows is the image's word for them, whatever that is."""
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|`.*`', re.DOTALL)
"""Mostly words of the job or its image, which must not decide whose failure this is; crun escapes nothing in them."""
_PATH = re.compile(r"(?<!\w)/")
"""Where a path begins that is not quoted. It may have any words, of a result path of the job or a link in its image."""

LOST = Broken(
    FailureReason.CONTAINER_LOST,
    "The container was ended from outside: it was stopped or removed, or the node's container engine was restarted.",
)
GPUS_NOT_GIVEN = Broken(FailureReason.GPU_NOT_GIVEN, _NO_GPUS)
MACHINE_RESTARTED = Broken(FailureReason.CONTAINER_LOST, "The machine was restarted, which ended the container.")
STARVED = Broken(
    FailureReason.CONTAINER_LOST,
    "The node's machine had no memory left, and its kernel killed the task, which had not used up its own limit.",
)
LOG_UNSURE = Broken(
    FailureReason.CONTAINER_LOST,
    "The node was away, and the container engine does not know whether the task's output ended with a newline.",
)
LOG_INCOMPLETE = Broken(
    FailureReason.CONTAINER_LOST,
    "The node was away, and the task wrote more output meanwhile than the container engine keeps.",
)


def _shortened(message: str) -> str:
    """What was tried is at the beginning and why it did not work at the end."""
    if len(message) <= MAX_WORDS:
        return message
    return f"{message[: MAX_WORDS // 3]} ... {message[-(2 * MAX_WORDS // 3) :]}"


def refused(error: EngineRefusal, mask: Callable[[str], str] = str) -> Broken:
    message = mask(error.message.removesuffix(": unknown"))
    own = _NO_SUCH_USER.split(_QUOTED.sub('""', message))[0]
    before_paths, last = _PATH.split(own.lower())[0], own.lower().rpartition(": ")[2]
    for words, reason, sentence in _REFUSALS:
        if words in before_paths or words == last:
            return Broken(reason, sentence)
    told = _shortened(message)
    is_the_task_s = error.status < 500 or _NOT_THE_NODE.search(own)
    is_the_node_s = _THE_NODE.search(before_paths) or _THE_NODE.fullmatch(last)
    if is_the_task_s and not is_the_node_s:
        return Broken(FailureReason.TASK_NOT_STARTED, f"The container could not be started: {told}")
    return Broken(FailureReason.NODE_ERROR, f"The node's container engine failed: {told}")


def in_the_way(error: EngineRefusal, inputs: Iterable[MountedInput]) -> Broken | None:
    """Whether the image has something that no input can be mounted on, or there is nothing to be mounted."""
    for each in inputs:
        if error.message.strip().endswith(f"bind source path does not exist: {each.path}"):
            detail = f"The node's container engine sees nothing at what the input at {each.target[:200]} is to show."
            return Broken(FailureReason.INPUT_NOT_FOUND, detail)
        if re.search(rf"{re.escape(os.path.normpath(each.target))}(?![\w./-]).*: not a directory", error.message):
            target = each.target[:200]
            return Broken(
                FailureReason.INPUT_NOT_PLACED,
                f"The image is in the way of the input at {target}: it has a file where there has to be a folder, or a"
                " folder where the input is a file.",
            )
    return None


def not_started(stderr: Path, params: DockerParams) -> Broken | None:
    """Whether the engine's init process found nothing to start; None if the task itself has ended. Blocks."""
    with stderr.open("rb") as file:
        found = _INIT_FAILED.match(file.readline(500))
    if found is None:
        return None
    message = (found[1] or found[2]).decode(errors="replace").strip()
    command = f"The command {params.entrypoint[0][:200]!r}" if params.entrypoint else "The command"
    return Broken(
        FailureReason.TASK_NOT_STARTED, f"{command} could not be started in the image {params.image[:100]}: {message}"
    )


def started_before_boot(state: ContainerState) -> bool:
    started = state.started_seconds
    return 0.0 < started < time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) - 1.0
