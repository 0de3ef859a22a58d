"""The table of processes in /proc: who descends from whom, and how whole families are surely ended.

See proc(5). Every function blocks, for microseconds a process.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

NAMED = "TARPON_EXECUTION_ID"
"""The variable by which a process says to which execution it belongs."""
PAUSE_SECONDS = 0.002
"""For what was sent SIGKILL to be gone."""
_PROC = Path("/proc")
_SHORT_BYTES = 4096
_ENDED = {"Z", "X"}
_GONE = (FileNotFoundError, ProcessLookupError)


class Process(NamedTuple):
    """A process as it was when it was looked at; its number and its start together are nobody else's."""

    pid: int
    state: str
    group: int
    session: int
    threads: int
    start_ticks: int
    resident_pages: int

    @property
    def identity(self) -> tuple[int, int]:
        return self.pid, self.start_ticks

    @property
    def has_ended(self) -> bool:
        """It waits for its parent to take its exit status, and does no harm any more."""
        return self.state in _ENDED


def look(pid: int) -> Process | None:
    try:
        text = _read(f"/proc/{pid}/stat")
    except _GONE:
        return None
    # The name is in parentheses and may hold spaces and parentheses itself.
    fields = text[text.rindex(b")") + 2 :].split()
    return Process(
        pid=pid,
        state=fields[0].decode(),
        group=int(fields[2]),
        session=int(fields[3]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
        resident_pages=int(fields[21]),
    )


def _read(path: str) -> bytes:
    """A short file that the kernel makes up in one piece."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _SHORT_BYTES)
    finally:
        os.close(descriptor)


def everybody() -> Iterator[Process]:
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and (process := look(int(entry.name))) is not None:
            yield process


def children(pid: int, thread: int | None = None) -> Iterator[Process]:
    """Of all threads of a process, or of one."""
    for each in [thread] if thread is not None else _threads(pid):
        try:
            listed = Path(f"/proc/{pid}/task/{each}/children").read_bytes()
        except _GONE:
            continue
        for child in listed.split():
            if (process := look(int(child))) is not None:
                yield process


def _threads(pid: int) -> list[int]:
    try:
        return [int(entry.name) for entry in (_PROC / str(pid) / "task").iterdir()]
    except _GONE:
        return []


def family(tops: Iterable[Process]) -> Iterator[Process]:
    """`tops` and all that descend from them. Each is given before its children are looked for.

    So whoever stops each one as it comes sees all of its children, because it makes no more of them.
    """
    waiting, seen = list(tops), set[tuple[int, int]]()
    while waiting:
        process = waiting.pop()
        if process.has_ended or process.identity in seen:
            continue
        seen.add(process.identity)
        yield process
        waiting += children(process.pid)


def named_execution(pid: int) -> str | None:
    """Which execution its environment names; None if it names none, or may not be read."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (*_GONE, PermissionError):
        return None
    prefix = f"{NAMED}=".encode()
    return next((os.fsdecode(each[len(prefix) :]) for each in variables if each.startswith(prefix)), None)


def proportional_bytes(process: Process) -> int:
    """Its memory, of which what it shares with others counts in shares. Costs milliseconds for a gibibyte."""
    try:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    except _GONE:
        return 0
    except OSError:  # such as another user's
        return resident_bytes(process)
    return 0


def highest_resident_bytes(process: Process) -> int:
    """The most that was ever resident of it, since it became the program that it is; 0 where that cannot be read."""
    try:
        for line in _read(f"/proc/{process.pid}/status").splitlines():
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0


def resident_bytes(process: Process) -> int:
    return process.resident_pages * os.sysconf("SC_PAGE_SIZE")


def send(process: Process, number: int) -> bool:
    """Whether that process, and no other one of its number, was sent the signal."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        # The descriptor is opened before looking, so that what is looked at is what gets the signal.
        found = look(process.pid)
        if found is None or found.identity != process.identity:
            return False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(descriptor, number)
            return True
        return False
    finally:
        os.close(descriptor)


def end_families(find: Callable[[], Iterable[Process]], *, within: float) -> int:
    """Kill what `find` finds with its descendants, until it finds nothing more; tell how many that were.

    All are stopped first, again and again until no new one appears, so that they cannot multiply faster than they are
    killed; what is stopped is killed in any case. What may not be killed, such as another user's, is left alone.
    """
    stopped, killed = set[tuple[int, int]](), set[tuple[int, int]]()
    deadline = time.monotonic() + within
    while True:
        found, is_new, is_late = [], False, time.monotonic() >= deadline
        for process in family(find()):
            if process.identity not in stopped:
                stopped.add(process.identity)
                is_new |= send(process, signal.SIGSTOP)
            found.append(process)
        if is_new and not is_late:
            continue
        reached = {process.identity for process in found if send(process, signal.SIGKILL)}
        killed |= reached
        if not reached or is_late:
            return len(killed)
        time.sleep(PAUSE_SECONDS)
