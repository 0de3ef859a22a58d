"""How the process of a task is recognised after the node was killed, so that a recycled process id is never touched."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec

from shared.ids import ExecutionId

MAX_ROUNDS = 5
_PROC = Path("/proc")
_PROCESS_GROUP, _START_TIME = 2, 19  # fields of /proc/<pid>/stat counted after the name: see proc(5)


class ProcessMark(msgspec.Struct, frozen=True, kw_only=True):
    """The leader of a task's process group. `start_ticks` counts from the boot that `boot_id` names."""

    pid: int
    start_ticks: int
    boot_id: str


def boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def mark_process(pid: int) -> ProcessMark:
    """The mark of a child that has not been waited for."""
    return ProcessMark(pid=pid, start_ticks=int(_stat(pid)[_START_TIME]), boot_id=boot_id())


def kill_left_over(mark: ProcessMark, execution_id: ExecutionId) -> int:
    """Kill what is left of the task's process group, and tell how many processes that were. Blocks.

    A process is killed if it is the marked leader, or is in the leader's group and has the execution's id in its
    environment, for its leader may have ended.
    """
    if mark.boot_id != boot_id():
        return 0
    killed: set[int] = set()
    for _ in range(MAX_ROUNDS):  # a member may fork between being listed and being killed
        members = set(_members(mark, f"TARPON_EXECUTION_ID={execution_id}".encode()))
        if members <= killed:
            break
        killed |= members
    return len(killed)


def _members(mark: ProcessMark, named: bytes) -> Iterator[int]:
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and _kill_if(int(entry.name), mark, named):
            yield int(entry.name)


def _kill_if(pid: int, mark: ProcessMark, named: bytes) -> bool:
    """The descriptor is opened before looking, so that the process looked at is the one that is killed."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError, PermissionError):
        descriptor = os.pidfd_open(pid)
        try:
            if not _belongs(pid, mark, named):
                return False
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            return True
        finally:
            os.close(descriptor)
    return False


def _belongs(pid: int, mark: ProcessMark, named: bytes) -> bool:
    fields = _stat(pid)
    if int(fields[_PROCESS_GROUP]) != mark.pid:
        return False
    if pid == mark.pid and int(fields[_START_TIME]) == mark.start_ticks:
        return True
    return named in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")


def _stat(pid: int) -> list[str]:
    # The name is in parentheses and may hold spaces and parentheses itself.
    return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
