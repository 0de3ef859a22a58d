"""What a command costs: `python -IS benchmarks/meter.py COMMAND...` runs it and prints one JSON object.

`wall_s` is from exec to end; `cpu_s` (user and system), `rss_mib` (of the largest process) and `disk_mib` (written to
files) are of the command with all that it started and waited for. This program is small and imports little, because the
kernel counts to a process what its parent had in memory when it was started.

SIGTERM, SIGINT or a time limit kill the command with all its processes.
"""

import os
import resource
import signal
import sys
import time
from contextlib import suppress
from types import FrameType

MAX_SECONDS = 900
_DISCARD = [
    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
]


class OwnCost:
    """What this process and its children do from now on costs; of memory, the most that it has had in its life."""

    def __init__(self) -> None:
        self._written = written_bytes()
        self._cpu = _cpu_seconds()
        self._begun = time.monotonic()

    def so_far(self) -> dict[str, float]:
        return {
            "wall_s": time.monotonic() - self._begun,
            "cpu_s": _cpu_seconds() - self._cpu,
            "rss_mib": _peak_rss_mib(),
            "disk_mib": (written_bytes() - self._written) / 2**20,
        }


def written_bytes() -> int:
    """What this process and the children that it has waited for have written to files on disks (proc(5), io)."""
    with open("/proc/self/io", encoding="ascii") as file:  # noqa: PTH123  # pathlib is large
        counts = dict(line.split(": ") for line in file)
    return int(counts["write_bytes"])


def main(*command: str) -> int:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, _end)
    signal.alarm(MAX_SECONDS)
    written = written_bytes()
    begun = time.monotonic()
    child = os.posix_spawnp(command[0], command, os.environ, setsid=True, file_actions=_DISCARD)
    try:
        _, status = os.waitpid(child, 0)
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        raise
    wall = time.monotonic() - begun
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    disk = (written_bytes() - written) / 2**20
    cpu = used.ru_utime + used.ru_stime
    print(f'{{"wall_s": {wall}, "cpu_s": {cpu}, "rss_mib": {used.ru_maxrss / 1024}, "disk_mib": {disk}}}')
    return os.waitstatus_to_exitcode(status)


def _cpu_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _peak_rss_mib() -> float:
    """Not ru_maxrss, which counts the memory of the program that started this one (proc(5), status)."""
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123  # pathlib is large
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM:"))


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
