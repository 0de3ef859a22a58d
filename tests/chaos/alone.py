"""One orchestrator with a NATS server of its own, which is killed again and again (no tests in here).

A server that is alone may bring back what was deleted, when it is killed after all marks of that have gone.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.cluster import Orchestrator
from tests.e2e.stack import START_SECONDS, _flags, _plain_environment, wait_until
from tests.servers import HOST, free_ports

MARK_SECONDS = 3
BETWEEN_SECONDS = 7.0
"""From one kill to the next: longer than marks are there."""


class Alone:
    """What Churn needs of a stack."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kills = 0
        api, nats = free_ports(2)
        self.nats_ports = [nats]
        self.secret_file = root / "alone.secret"
        self.secret_file.touch(mode=0o600)
        self.secret_file.write_text(f"alone-{os.urandom(16).hex()}\n")
        values = {
            "DataDir": str(root / "alone"),
            "API.Port": str(api),
            "Orchestrator.Host": HOST,
            "Orchestrator.Port": str(nats),
            "Orchestrator.Auth.TokenFile": str(self.secret_file),
            "Orchestrator.NodeManager.DisconnectTimeout": "2s",
            "Orchestrator.NATS.RemovalMarks": f"{MARK_SECONDS}s",
        }
        command = [sys.executable, "-m", "tarpon", "serve", "--orchestrator", *_flags(values)]
        self.orchestrators = [Orchestrator("alone", api, command, _plain_environment(), root / "alone.log")]

    @contextmanager
    def running(self) -> Iterator[None]:
        self._start()
        try:
            yield
        finally:
            self.orchestrators[0].stop()

    def _start(self) -> None:
        self.orchestrators[0].start()
        wait_until(self._is_ready, within=START_SECONDS, what="the orchestrator that is alone is ready")

    def kill_both(self) -> None:
        """And start again, with what is on disk alone."""
        self.kill_nats()
        self.orchestrators[0].kill()
        self._start()

    def _is_ready(self) -> bool:
        (orchestrator,) = self.orchestrators
        with contextlib.suppress(OSError):
            orchestrator.api("/orchestrator/nodes")
            return True
        return False

    async def kill_again_and_again(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(BETWEEN_SECONDS)
            self.kill_nats()

    def kill_nats(self) -> None:
        """The orchestrator starts it again."""
        with contextlib.suppress(OSError, ValueError):  # it is being started
            pid_file = self.root / "alone" / "orchestrator" / "nats" / "nats-server.pid"
            os.kill(int(pid_file.read_text()), signal.SIGKILL)
            self.kills += 1
