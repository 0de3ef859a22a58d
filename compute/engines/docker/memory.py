"""The peak memory of a container, seen in its control group.

The engine is asked once, for who the container is: its own statistics cost it milliseconds each time. What is counted
is what the kernel could not take back at once, as Docker and Kubernetes show it: without files that nobody has used
lately. The kernel remembers the peak with these files, so that what came and went between two looks is known by how
much of them there was before and after.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

from compute.engines.docker.api import ContainerState, EngineAway, EngineRefusal
from compute.engines.task_usage import TaskUsage

FIRST_SECONDS = 0.2
"""A task that is quicker costs no look at all."""
PAUSE_SHARE = 0.25
"""Between two looks passes so much of the time since the first, up to MOST_SECONDS."""
LEAST_SECONDS = 0.1
MOST_SECONDS = 5.0

CGROUPS = Path("/sys/fs/cgroup")
_MEMORY = "memory"


class MemoryFiles(NamedTuple):
    usage: Path
    peak: Path
    """Absent where the kernel is older than 5.19 and has control groups of version 2."""
    statistics: Path
    unused_files: bytes


class ContainerMemory:
    """The looks at one container."""

    def __init__(self, files: MemoryFiles, usage: TaskUsage) -> None:
        self._files = files
        self._usage = usage
        self._peak = 0
        self._unused = 0

    def look(self) -> bool:
        """Whether there was anything to see: not where it has ended. Blocks for some microseconds."""
        unused = _unused_bytes(self._files)
        used, peak = _number(self._files.usage), _number(self._files.peak)
        if not used or unused is None:
            return False
        self._usage.saw(used - unused)
        if peak > self._peak:
            self._usage.saw(peak - max(unused, self._unused))
        self._peak, self._unused = peak, unused
        return True


async def watch_memory(
    runs: asyncio.Event, inspect: Callable[[], Awaitable[ContainerState]], usage: TaskUsage
) -> NoReturn:
    """When it `runs`, note the most that was seen of it, until cancelled."""
    await runs.wait()
    await asyncio.sleep(FIRST_SECONDS)
    files: MemoryFiles | None = None
    with contextlib.suppress(EngineAway, EngineRefusal):
        state = await inspect()
        files = await asyncio.to_thread(memory_files, state.pid, state.id)
    if files is not None:
        await _watch(ContainerMemory(files, usage))
    while True:  # others tell how it ends
        await asyncio.Event().wait()


async def _watch(memory: ContainerMemory) -> None:
    """Until there is nothing to be seen any more."""
    loop = asyncio.get_running_loop()
    begun = loop.time() - FIRST_SECONDS
    while True:
        if not await asyncio.to_thread(memory.look):
            return
        pause = max(LEAST_SECONDS, PAUSE_SHARE * (loop.time() - begun))
        await asyncio.sleep(min(MOST_SECONDS, pause))


def memory_files(pid: int, container: str) -> MemoryFiles | None:
    """Those of the container whose first process this is; None where it has no control group of its own here. Blocks.

    The number is the engine's: seen from another machine or container it is somebody else's, or nobody's.
    """
    if not pid or not container:
        return None
    try:
        files = files_in(Path(f"/proc/{pid}/cgroup").read_text(), container)
    except (OSError, UnicodeDecodeError):
        return None
    return files if files is not None and files.usage.exists() else None


def files_in(groups: str, container: str) -> MemoryFiles | None:
    """By what the kernel says of a process: a line for each hierarchy, `number:controllers:path`."""
    lines = [line.split(":", 2) for line in groups.splitlines()]
    paths = {each[1]: each[2].lstrip("/") for each in lines if len(each) == 3 and container in each[2]}
    for controllers, path in paths.items():
        if _MEMORY in controllers.split(","):  # of version 1, whose files have other names
            folder = CGROUPS / _MEMORY / path
            return MemoryFiles(
                folder / "memory.usage_in_bytes",
                folder / "memory.max_usage_in_bytes",
                folder / "memory.stat",
                b"total_inactive_file",
            )
    if "" not in paths:
        return None
    folder = CGROUPS / paths[""]
    return MemoryFiles(folder / "memory.current", folder / "memory.peak", folder / "memory.stat", b"inactive_file")


def _unused_bytes(files: MemoryFiles) -> int | None:
    try:
        lines = files.statistics.read_bytes().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith(files.unused_files + b" ")), 0)
    except (OSError, ValueError):
        return None


def _number(path: Path) -> int:
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):
        return 0
