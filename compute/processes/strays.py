"""Strays: processes that have left their task's group, and how they are ended with their task.

A process that starts a session of its own and loses its parent, as daemons do, would be init's child and out of
reach. This process is a child subreaper instead (PR_SET_CHILD_SUBREAPER in prctl(2)): such a process becomes its
child. To which task it belongs its session says, or its environment, which names the execution. What names none has
hidden itself: it is ended as soon as every task has ended that ran when it was started.

Nothing else this process starts is touched: tasks are started in sessions of their own, and whatever else is started
stays in the session of this process, into which no task can come. What was there before the first task is spared.
"""

import ctypes
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from compute.processes.mark import ProcessMark
from compute.processes.table import Process, children, end_families, family, look, named_execution
from shared.ids import ExecutionId

_log = logging.getLogger(__name__)

KILL_SECONDS = 30.0
"""What multiplies so fast that some of it is still there then is tried again when the next task ends."""
_PR_SET_CHILD_SUBREAPER = 36
_LISTED_BYTES = 4096


class Strays:
    """Of all tasks of this process. Until `adopt` nothing is ever found. Methods block for as long as /proc does."""

    def __init__(self) -> None:
        self._adopts = False
        self._spared: frozenset[tuple[int, int]] = frozenset()
        self._living: dict[int, tuple[ExecutionId, int]] = {}
        # One at a time takes exit statuses, so that no number is given to another process between look and wait.
        self._reaping = threading.Lock()

    def __repr__(self) -> str:
        return f"<Strays of {len(self._living)} tasks{'' if self._adopts else ', not adopted'}>"

    @property
    def adopts(self) -> bool:
        """Whether what is found is all there is."""
        return self._adopts

    def adopt(self) -> None:
        """From now on. Where the system does not allow it, what leaves its task's group outlives its task."""
        self._spared |= {child.identity for child in children(os.getpid())}
        listed = Path(f"/proc/self/task/{os.getpid()}/children").exists()
        self._adopts = listed and _set_subreaper(1)
        if not self._adopts:
            _log.warning("This system does not let the node find processes that leave their task's process group.")

    def release(self) -> None:
        """No more, when all tasks have ended."""
        self._adopts = False
        _set_subreaper(0)

    def spare(self, pid: int) -> None:
        """A child that is none of a task, and has just been started in a session of its own."""
        if (process := look(pid)) is not None:
            self._spared |= {process.identity}

    def begins(self, leader: ProcessMark, execution_id: ExecutionId) -> None:
        self._living[leader.pid] = (execution_id, leader.start_ticks)

    def ends(self, leader: ProcessMark) -> bool:
        """Its leader has ended and has been waited for. Whether `end_ownerless` may find anything to do.

        This alone does not block: the kernel has the answer in memory, and a short task has to cost no more than that.
        """
        self._living.pop(leader.pid, None)
        if not self._adopts:
            return False
        descriptor = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            listed = os.read(descriptor, _LISTED_BYTES)
        finally:
            os.close(descriptor)
        spared = {pid for pid, _ in self._spared}
        return any(pid not in self._living and pid not in spared for pid in map(int, listed.split()))

    def end_ownerless(self) -> None:
        """End what no living task owns."""
        ended = end_families(self._ownerless, within=KILL_SECONDS)
        if ended:
            _log.debug("Ended %d processes that had left their task's process group.", ended)

    def family(self, leader: ProcessMark) -> Iterator[Process]:
        """All processes of a task that runs, and those that have ended as orphans since this was asked last.

        These count, because what forks quickly and ends quickly is mostly of this kind.
        """
        tops = [child for child in self._adopted() if self._owners(child) == [leader.pid]]
        yield from (child for child in tops if child.has_ended)
        if (process := look(leader.pid)) is not None:
            tops.append(process)
        yield from family(tops)

    def _ownerless(self) -> list[Process]:
        return [child for child in self._adopted() if not child.has_ended and not self._owners(child)]

    def _owners(self, child: Process) -> list[int]:
        """The leaders of living tasks of which one has started it."""
        for leader in (child.session, child.group):
            if leader in self._living:
                return [leader]
        living = list(self._living.items())
        named = named_execution(child.pid)
        if named is not None:
            return [leader for leader, (execution_id, _) in living if execution_id == named]
        return [leader for leader, (_, start_ticks) in living if start_ticks <= child.start_ticks]

    def _adopted(self) -> list[Process]:
        """The exit status of what has ended is taken, so it is given once.

        The kernel gives orphans to the first thread. A task that is just being started is a child of another one.
        """
        if not self._adopts:
            return []
        with self._reaping:
            ours = os.getsid(0)
            found = [
                child
                for child in children(os.getpid(), os.getpid())
                if child.session != ours and child.pid not in self._living and child.identity not in self._spared
            ]
            for child in found:
                if child.has_ended:
                    _reap(child.pid)
            return found


def _set_subreaper(value: int) -> bool:
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, value, 0, 0, 0) == 0)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        _log.debug("Process %d has been waited for by somebody else.", pid)
