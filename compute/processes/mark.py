"""Marks of processes, by which a task's is recognised later, and a recycled process id never touched."""

import os
from collections.abc import Iterator

import msgspec

from compute.processes.table import Process, end_families, everybody, look, named_execution
from shared.ids import ExecutionId
from shared.runtime.durable import boot_id

KILL_SECONDS = 30.0
"""What multiplies so fast that some of it is still there then is left alone."""


class ProcessMark(msgspec.Struct, frozen=True, kw_only=True):
    """The leader of a task's process group. `start_ticks` counts from the boot that `boot_id` names."""

    pid: int
    start_ticks: int
    boot_id: str


def mark_process(pid: int) -> ProcessMark:
    """The mark of a child that has not been waited for."""
    found = look(pid)
    assert found is not None
    return ProcessMark(pid=pid, start_ticks=found.start_ticks, boot_id=boot_id())


def kill_left_over(mark: ProcessMark | None, execution_id: ExecutionId) -> int:
    """Kill what is left of a task, and tell how many processes that were. Blocks.

    A process is killed if it is the marked leader, is in the session of a leader that still runs, or has the
    execution's id in its environment, wherever it has gone; its descendants are killed with it. Without a mark the
    task may have been started, and the environment alone tells.
    """
    if mark is not None and mark.boot_id != boot_id():
        return 0
    return end_families(lambda: _left_over(mark, execution_id), within=KILL_SECONDS)


def _left_over(mark: ProcessMark | None, execution_id: ExecutionId) -> Iterator[Process]:
    leader = look(mark.pid) if mark is not None else None
    if leader is not None and mark is not None and leader.start_ticks != mark.start_ticks:
        leader = None  # somebody else has got its number
    for process in everybody():
        if process.has_ended or process.pid == os.getpid():
            continue
        of_leader = leader is not None and process.session == leader.pid
        if of_leader or named_execution(process.pid) == execution_id:
            yield process
