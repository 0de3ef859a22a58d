"""Child processes of a devstack: started, watched and stopped."""

import asyncio
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from shared.runtime.aio import process_ended
from tarpon.devstack.keeper import KILL_SECONDS, STOP_SECONDS, keeper_command, told

LOG_TAIL_BYTES = 2048
ENDED_SECONDS = STOP_SECONDS + KILL_SECONDS + 5
"""After so long something is wrong with its keeper."""


class ChildProcess:
    """One process with its log in a file, and a keeper of its own, which stops it when this process ends, however."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = tuple(command)
        self._environment = dict(environment)
        self._keeper: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<ChildProcess {self.name} {f'kept by {self._keeper.pid}' if self._keeper else 'not started'}>"

    def start(self) -> None:
        """In a session of its own, so that Ctrl-C reaches this process alone, which then stops all in order."""
        with self.log.open("ab") as log:
            self._keeper = subprocess.Popen(
                keeper_command(),
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        assert self._keeper.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, which `ended` tells
            self._keeper.stdin.write(told(self._command))

    async def ended(self) -> int:
        """Its exit code, as soon as there is one and nothing is left of it."""
        assert self._keeper is not None, f"{self.name} was not started"
        if self._keeper.poll() is None:
            await process_ended(self._keeper.pid)
        return self._keeper.wait()

    async def stop(self) -> None:
        """Ask it to stop; where it takes too long it is killed."""
        if self._keeper is None:
            return
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        try:
            async with asyncio.timeout(ENDED_SECONDS):
                await self.ended()
        except TimeoutError:
            self._keeper.kill()
            await self.ended()

    def kill(self) -> None:
        """At once, with all that it has started; `stop` waits until that is gone."""
        if self._keeper is not None:
            self._keeper.terminate()

    def log_tail(self) -> str:
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
