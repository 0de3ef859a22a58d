"""The audit log on standard output, for whoever collects what processes print.

What is printed cannot be read back, so a file in DataDir has the number of the last line. It is written first: after a
kill a number may be missing that nobody was told of, and none stands twice.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from orchestrator.audit.events import AuditEvent
from orchestrator.audit.lines import Chain, Position
from shared.runtime import durable

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_ONLY_OWNER = 0o600
_POSITION = "%020d %32s\n"


class StandardOutput:
    """`position_file` is where the number is kept; `output` is the descriptor that is written to."""

    def __init__(self, position_file: Path, *, orchestrator: str, output: int = 1) -> None:
        self._position_file = position_file
        self._orchestrator = orchestrator
        self._output = output
        self._descriptor = -1
        self._unwritten = b""
        self._chain = Chain(orchestrator)

    def __repr__(self) -> str:
        return f"<StandardOutput, {self._chain!r}>"

    @property
    def position(self) -> Position:
        return self._chain.position

    def open(self) -> None:
        """Raises OSError."""
        if self._descriptor < 0:
            self._begin()

    def write(self, events: Iterable[tuple[bytes, AuditEvent]]) -> None:
        """Raises OSError; the lines keep their numbers then, and are written by the next call that succeeds."""
        self._unwritten += b"".join(self._chain.line(at, event) for at, event in events)
        if not self._unwritten:
            return
        seq, digest = self._chain.position
        os.pwrite(self._descriptor, (_POSITION % (seq, digest)).encode(), 0)
        while self._unwritten:
            written = os.write(self._output, self._unwritten)
            self._unwritten = self._unwritten[written:]

    def sync(self) -> None:
        """Nothing: it is not our disk."""

    def close(self) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):
                os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _begin(self) -> None:
        durable.make_folder(self._position_file.parent)
        self._descriptor = os.open(self._position_file, _FLAGS, _ONLY_OWNER)
        seq, _, digest = os.pread(self._descriptor, 100, 0).decode("ascii", "replace").strip().partition(" ")
        self._chain = Chain(self._orchestrator, Position(int(seq), digest.strip()) if seq.isdecimal() else Position())
