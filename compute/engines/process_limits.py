"""Whether the processes of a task are within its limits, without the help of control groups.

What the kernel would do at once is done here by looking again and again, so a task may exceed a limit for a moment.
"""

from collections.abc import Callable, Iterable

from compute.engines.engine import Broken
from compute.engines.limit_ends import out_of_memory, too_many_processes
from compute.process_table import Process, proportional_bytes, resident_bytes


def broken_limit(
    family: Callable[[], Iterable[Process]], *, memory_limit_bytes: int, processes_limit: int
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
    if not memory_limit_bytes or sum(map(resident_bytes, found)) <= memory_limit_bytes:
        return None
    used = sum(map(proportional_bytes, found))
    return out_of_memory(memory_limit_bytes) if used > memory_limit_bytes else None
