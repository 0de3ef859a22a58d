"""The service manager's end of sd_notify(3): a socket that hears what a process tells (no tests in here)."""

import socket
import time
from pathlib import Path


class NotifySocket:
    """`heard` are the lines so far, in order."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)

    def wait_for(self, line: str, *, times: int = 1, within: float = 60.0) -> None:
        """Until the line, or one that begins with it, has come so often since the last call."""
        deadline = time.monotonic() + within
        while times:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                lines = self._socket.recv(4096).decode().splitlines()
            except TimeoutError:
                raise AssertionError(f"not within {within:g} s: {line}; heard: {self.heard}") from None
            self.heard += lines
            times -= any(each.startswith(line) for each in lines)

    def close(self) -> None:
        self._socket.close()
