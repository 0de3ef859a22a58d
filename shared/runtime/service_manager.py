"""The service manager that has started this process, such as systemd: it is told when all is ready, alive, or stopping.

The protocol is that of sd_notify(3): datagrams of `NAME=value` lines to the Unix socket that NOTIFY_SOCKET names. A
process that nobody watches has none, and then nothing is sent.
"""

import asyncio
import logging
import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

_log = logging.getLogger(__name__)

AGAIN_SECONDS = 0.2
"""After a datagram for which the manager had no room."""
_MICROSECONDS = 1_000_000
_ALIVE = "WATCHDOG=1"


class ServiceManager:
    """What is told to it is sent by `run`, in order; `address` is empty where there is none."""

    def __init__(self, address: str, *, alive_every_seconds: float | None) -> None:
        self._address = address
        self._alive_every = alive_every_seconds
        self._unsent: list[str] = []
        self._told = asyncio.Event()

    def __repr__(self) -> str:
        return f"<ServiceManager {self._address or 'none'}, alive every {self._alive_every} s>"

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> "ServiceManager":
        """The one that the environment names. Its variables are taken out, so that no child speaks for this process."""
        address = environment.pop("NOTIFY_SOCKET", "")
        limit, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        watched = limit.isdecimal() and int(limit) and pid in {"", str(os.getpid())}
        return cls(address, alive_every_seconds=int(limit) / _MICROSECONDS / 2 if watched else None)

    @property
    def watches(self) -> bool:
        return bool(self._address) and self._alive_every is not None

    def ready(self) -> None:
        self._tell("READY=1")

    def stopping(self, *, within_seconds: float) -> None:
        """However short the unit's TimeoutStopSec is, systemd waits for so long before it kills."""
        self._tell(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int(within_seconds * _MICROSECONDS)}")

    async def run(self) -> None:
        """Send what is told, and a sign of life from the event loop: one that hangs sends none and is started again."""
        if not self._address:
            return
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._alive_every):
                    await self._told.wait()
            if self._sent("\n".join([*self._unsent, *([_ALIVE] if self.watches else [])])):
                self._unsent.clear()
                self._told.clear()
            else:
                self._told.set()
                await asyncio.sleep(AGAIN_SECONDS)

    def _tell(self, line: str) -> None:
        self._unsent.append(line)
        self._told.set()

    def _sent(self, text: str) -> bool:
        """Whether there was room for it. A manager that is gone hears no more, and what it started goes on."""
        name = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
                sending.setblocking(False)
                sending.connect(name)
                sending.send(text.encode())
        except BlockingIOError:
            return False
        except OSError as error:
            _log.warning("The service manager at %s does not hear this process: %s", self._address, error)
        return True
