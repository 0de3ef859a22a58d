"""How the processes of a devstack are started, watched and stopped."""

import asyncio
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from shared.aio import process_ended
from tarpon.tied import tied_command

LOG_TAIL_BYTES = 2048
STOP_SECONDS = 25.0


class ChildProcess:
    """One process with its log in a file. It is told to stop when this process ends, however that ends."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = tuple(command)
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<ChildProcess {self.name} {self._process.pid if self._process else 'not started'}>"

    def start(self) -> None:
        """In a session of its own, so that Ctrl-C reaches this process alone, which then stops all in order."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                tied_command(self._command, signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    async def ended(self) -> int:
        """Its exit code, as soon as there is one."""
        assert self._process is not None, f"{self.name} was not started"
        if self._process.poll() is None:
            await process_ended(self._process.pid)
        return self._process.wait()

    async def stop(self) -> None:
        """Ask it to stop, and kill it where it takes too long."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.ended()
        except TimeoutError:
            self._process.kill()
            await self.ended()

    def log_tail(self) -> str:
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
