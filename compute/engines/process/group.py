"""The process group of a task: started and surely ended, without blocking the event loop or forking its memory.

The loop's own subprocess support copies the page tables of this process first, which blocks for milliseconds. The end
is seen through a pidfd.
"""

import asyncio
import contextlib
import os
import resource
import select
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import ParamSpec, TypeVar

from compute.processes import child
from compute.processes.child import Child
from compute.processes.mark import ProcessMark, mark_process
from compute.processes.strays import Strays
from compute.processes.table import Process
from shared.ids import ExecutionId
from shared.runtime.aio import process_ended

POLL_SECONDS = 0.01
GONE_POLLS = 20
_OWN_MISTAKES = {
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS),
    *(signal.SIGPIPE, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGXCPU, signal.SIGXFSZ),
}
P = ParamSpec("P")
T = TypeVar("T")


async def in_thread_if_any(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In a thread, or in the loop where no thread can be started: a fork bomb leads to that, and has to be ended."""
    try:
        return await asyncio.to_thread(act, *args, **kwargs)
    except RuntimeError:
        return act(*args, **kwargs)


@cache
def _nothing() -> int:
    """What a task reads: opened once, not for each."""
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


class ProcessGroup:
    """A command in a session of its own, with whatever it starts; `strays` finds what moves to yet another session."""

    def __init__(self, execution_id: ExecutionId, strays: Strays) -> None:
        self._execution_id = execution_id
        self._strays = strays
        self._leader: Child | None = None
        self._mark: ProcessMark | None = None
        self._unwanted = False
        self._gone = False
        self.peak_bytes = 0
        """The most that one of its processes had, where the kernel tells: 0 where it does not."""
        self.left_nobody = False
        """It is gone, and nothing that it started has ever left it."""

    def __repr__(self) -> str:
        return f"<ProcessGroup {self._leader.pid if self._leader else 'not started'}>"

    @property
    def pid(self) -> int:
        assert self._leader is not None
        return self._leader.pid

    @property
    def mark(self) -> ProcessMark:
        assert self._mark is not None
        return self._mark

    @property
    def is_gone(self) -> bool:
        """It was started, and nothing of it is left."""
        return self._gone

    @property
    def exit_code(self) -> int:
        """As a shell tells it: 128 and the number of the signal for a leader that died by one."""
        code = self._returncode
        return code if code >= 0 else 128 - code

    @property
    def killed_by(self) -> str:
        """The name of the signal that somebody sent its leader to end it; empty for one that ended by itself.

        Who that was the system does not tell. What a process brings on itself by a mistake is an end of its own.
        """
        number = -self._returncode
        if number <= 0 or number in _OWN_MISTAKES:
            return ""
        return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"

    @property
    def _returncode(self) -> int:
        assert self._leader is not None
        assert self._leader.returncode is not None
        return self._leader.returncode

    @property
    def start_problem(self) -> Exception | None:
        """Why the command has never run, of one whose leader has ended."""
        return None

    def start(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdout: int, stderr: int) -> None:
        """Blocks for as long as the file system needs to find the program. Raises OSError, ValueError."""
        self._leader = self._spawn(command, cwd=cwd, env=env, stdout=stdout, stderr=stderr)
        try:
            self._mark = mark_process(self._leader.pid)
        except BaseException:  # such as for want of descriptors: nobody would ever find it again
            self._end_at_once(self._leader)
            raise
        if self._unwanted:
            self._end_at_once(self._leader)
        else:
            self._strays.begins(self._mark, self._execution_id)

    def _end_at_once(self, leader: Child) -> None:
        self._signal(signal.SIGKILL)
        leader.wait()
        self._gone = True

    def _spawn(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdout: int, stderr: int) -> Child:
        return child.start(command, cwd=cwd, env=env, descriptors=(_nothing(), stdout, stderr))

    def ends_within(self, seconds: float) -> bool:
        """Whether its leader has ended by then. Blocks."""
        descriptor = os.pidfd_open(self.pid)
        try:
            end = select.poll()
            end.register(descriptor, select.POLLIN)
            return bool(end.poll(seconds * 1000))
        finally:
            os.close(descriptor)

    def end_rest(self) -> bool:
        """When its leader has ended. Whether nothing is left of it; else that is on its way. Blocks for moments."""
        assert self._leader is not None
        # Before the leader is waited for: until then its number, which names the group, belongs to nobody else.
        self._signal(signal.SIGKILL)
        self._take_end(self._leader)
        has_others = self._mark is None or self._strays.ends(self._mark)
        if has_others:
            self._strays.end_ownerless()
        self._gone = not self._signal(0)
        if not self._gone:
            self._reap_orphans()
            self._gone = not self._signal(0)
        self.left_nobody = self._gone and self._strays.adopts and not has_others
        return self._gone

    def _take_end(self, leader: Child) -> None:
        """Its exit code, and the most memory that it, or what it has waited for, ever had.

        A process begins with the peak of this one, of which it was made. What is not above that tells nothing.
        """
        used = leader.wait()
        if used is not None and used.ru_maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
            self.peak_bytes = used.ru_maxrss * 1024

    def kill(self) -> None:
        """At once, and from any thread: no process of the group can be started any more. `end` has to follow."""
        self._signal(signal.SIGKILL)

    def family(self) -> Iterator[Process]:
        """All of its processes that are alive, wherever they have gone. Blocks."""
        return self._strays.family(self.mark)

    async def end(self, grace_seconds: float) -> None:
        """Nothing of it is left afterwards. A leader that still runs is asked first and has the grace period."""
        self._unwanted = True
        if self._leader is None:
            return
        if self._leader.returncode is None and not self._leader.has_ended():
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds):
                    await process_ended(self.pid)
        if self._leader.returncode is None:
            self._signal(signal.SIGKILL)
            await process_ended(self.pid)
            await in_thread_if_any(self.end_rest)
        await self._rest_gone()

    async def _rest_gone(self) -> None:
        """The rest was sent SIGKILL, which takes a moment; what nobody reaps is not waited for any longer."""
        for _ in range(GONE_POLLS):
            if self._gone:
                return
            await asyncio.sleep(POLL_SECONDS)
            self._reap_orphans()
            self._gone = not self._signal(0)

    def _reap_orphans(self) -> None:
        """What lost its parent is a child of this process, if it is a subreaper or the first one of a container."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-self.pid, os.WNOHANG)[0]:
                pass

    def _signal(self, number: int) -> bool:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True
