"""Limits of a task's processes, watched without the help of control groups.

What the kernel would do at once is done here by looking again and again, so a task may exceed a limit for a moment.
"""

from collections.abc import Callable, Iterable, Sequence

from compute.engines.engine import Broken
from compute.engines.limit_ends import out_of_memory, too_many_processes
from compute.engines.task_usage import TaskUsage
from compute.processes.table import Process, highest_resident_bytes, proportional_bytes, resident_bytes

MOST_ASKED = 64
"""As many processes of a task are asked for the most that they ever had; one with more has it measured as it is."""
GROWTH = 1.02
"""By so much a task has to grow before its processes are asked for their shares once more."""


def broken_limit(
    family: Callable[[], Iterable[Process]], usage: "MemoryUsage", *, memory_limit_bytes: int, processes_limit: int
) -> Broken | None:
    """Which limit the task is over; a memory limit of 0 is none. Blocks, for microseconds a process.

    Memory is what is resident. Processes that share much of it, as forks do, seem to have it several times over, so
    before a task is condemned each is asked for its share, which takes longer.
    """
    found, threads = [], 0
    for process in family():
        found.append(process)
        threads += process.threads
        if threads > processes_limit:
            return too_many_processes(processes_limit)
    resident = sum(map(resident_bytes, found))
    usage.look(found, resident)
    if not memory_limit_bytes or resident <= memory_limit_bytes:
        return None
    used = sum(map(proportional_bytes, found))
    return out_of_memory(memory_limit_bytes) if used > memory_limit_bytes else None


class MemoryUsage:
    """The most that the processes of a task have had, as far as looks tell; of a single process the kernel knows it."""

    def __init__(self, usage: TaskUsage) -> None:
        self._usage = usage
        self._asked_at = 0.0

    def look(self, found: Sequence[Process], resident: int) -> None:
        """Blocks. What processes share is counted once, which is asked only where the task has grown."""
        self._usage.saw(max(map(highest_resident_bytes, found[:MOST_ASKED]), default=0))
        if len(found) > 1 and resident > max(self._asked_at * GROWTH, self._usage.peak_memory_bytes):
            self._asked_at = float(resident)
            self._usage.saw(sum(map(proportional_bytes, found)))
