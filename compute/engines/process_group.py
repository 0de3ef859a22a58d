"""How a group of processes is started and surely ended, without blocking the event loop or forking its memory.

subprocess.Popen uses vfork; the loop's own subprocess support copies the page tables of this process first, which
blocks for milliseconds. The end is seen through a pidfd.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from compute.process_mark import ProcessMark, mark_process
from shared.aio import process_ended

POLL_SECONDS = 0.01
GONE_POLLS = 20


class ProcessGroup:
    """A command in a session of its own, with whatever it starts and does not move to yet another session."""

    def __init__(self) -> None:
        self._leader: subprocess.Popen[bytes] | None = None
        self._mark: ProcessMark | None = None
        self._unwanted = False

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
    def exit_code(self) -> int:
        """As a shell tells it: 128 and the number of the signal for a leader that died by one."""
        assert self._leader is not None
        code = self._leader.returncode
        return code if code >= 0 else 128 - code

    def start(
        self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes]
    ) -> None:
        """Blocks for as long as the file system needs to find the program. Raises OSError, ValueError."""
        self._leader = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        self._mark = mark_process(self._leader.pid)
        if self._unwanted:
            self._signal(signal.SIGKILL)
            self._leader.wait()

    async def end(self, grace_seconds: float) -> None:
        """Nothing of the group is left afterwards. A leader that still runs is asked first and has the grace period."""
        self._unwanted = True
        if self._leader is None:
            return
        if not self._leader_has_ended():
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds):
                    await process_ended(self.pid)
        # Before the leader is waited for: until then its number, which names the group, belongs to nobody else.
        self._signal(signal.SIGKILL)
        await process_ended(self.pid)
        self._leader.wait()
        await self._gone()

    def _leader_has_ended(self) -> bool:
        """Without taking its exit status, so that its number stays reserved."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    async def _gone(self) -> None:
        """The rest was sent SIGKILL, which takes a moment; what nobody reaps is not waited for any longer."""
        for _ in range(GONE_POLLS):
            self._reap_orphans()
            if not self._signal(0):
                return
            await asyncio.sleep(POLL_SECONDS)

    def _reap_orphans(self) -> None:
        """Where this process is the first one of a container, what lost its parent is its child."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-self.pid, os.WNOHANG)[0]:
                pass

    def _signal(self, number: int) -> bool:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True
