"""The file of the audit log: lines are added at its end, and nothing that is in it is ever changed.

When it is as large as it may be it is given another name, with the number of its first line, and a new one is begun;
the oldest ones are removed where only some are kept. A last line that a process was killed at while it wrote is ended
where it stands, and the next line tells that. Where a write ends early, what is left of it is written first the next
time, so that nothing stands twice. All methods block; one thread at a time may call them.
"""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from orchestrator.audit.events import AUDIT, MEND, AuditEvent
from orchestrator.audit.lines import Chain, Position, read_line, written_time
from shared.runtime import durable

_log = logging.getLogger(__name__)

READ_BYTES = 1 << 20
ROTATION_RETRY_SECONDS = 60.0
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_ONLY_OWNER = 0o600


class Rotation(NamedTuple):
    """How large the file may become, and how many of those before it are kept; 0 is all."""

    max_bytes: int
    keep: int


class Tail(NamedTuple):
    """How a file ends: its last whole line, and how many bytes after it are no line."""

    position: Position
    torn_bytes: int
    ended: bool
    """Whether there is the end of a line at its end."""


class AuditFile:
    """`sync_seconds` is how often it is written through to the disk: 0 is with each write, before that returns."""

    def __init__(self, path: Path, rotation: Rotation, *, orchestrator: str, sync_seconds: float) -> None:
        self._path = path
        self._rotation = rotation
        self._orchestrator = orchestrator
        self._sync_seconds = sync_seconds
        self._synced_at = time.monotonic()
        self._is_synced = True
        self._descriptor = -1
        self._size_bytes = 0
        self._unwritten = b""
        self._rotates_at = 0.0
        """Not before this moment on the monotonic clock."""
        self._chain = Chain(orchestrator)

    def __repr__(self) -> str:
        return f"<AuditFile {self._path}, {self._chain!r}>"

    @property
    def position(self) -> Position:
        return self._chain.position

    def open(self) -> None:
        """Raises OSError."""
        if self._descriptor >= 0:
            return
        try:
            self._begin()
        except OSError:  # else it would be open, and not go on after its last line
            self.close()
            raise

    def write(self, events: Iterable[tuple[bytes, AuditEvent]]) -> None:
        """Raises OSError; the lines keep their numbers then, and are written by the next call that succeeds."""
        self._unwritten += b"".join(self._chain.line(at, event) for at, event in events)
        self._write()
        if self._size_bytes >= self._rotation.max_bytes and time.monotonic() >= self._rotates_at:
            self._rotate()

    def sync(self) -> None:
        """Write through what is due. Raises OSError."""
        if not self._is_synced and time.monotonic() - self._synced_at >= self._sync_seconds:
            os.fsync(self._descriptor)
            self._synced_at = time.monotonic()
            self._is_synced = True

    def close(self) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):
                os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _begin(self) -> None:
        """Go on after the last line, whatever has become of what was behind it. Raises OSError."""
        self._open()
        tail = _tail(self._path) or Tail(Position(), 0, ended=True)
        self._unwritten = b"" if tail.ended else b"\n"
        position = tail.position
        earlier = rotated(self._path)
        if not position.seq and earlier:
            before = _tail(earlier[-1])
            position = before.position if before else position
        self._chain = Chain(self._orchestrator, position)
        if tail.torn_bytes:
            told = f"{tail.torn_bytes} bytes after line {position.seq} were not written whole, and are no line"
            _log.warning("The audit log %s: %s.", self._path, told)
            mended = AuditEvent(kind="orchestrator", action=AUDIT, operation=MEND, count=tail.torn_bytes, detail=told)
            self._unwritten += self._chain.line(written_time(), mended)

    def _write(self) -> None:
        if not self._unwritten:
            return
        if not self._is_there():  # somebody has moved it away, as programs that rotate logs do
            self._open()
        while self._unwritten:
            written = os.write(self._descriptor, self._unwritten)
            self._size_bytes += written
            self._unwritten = self._unwritten[written:]
            self._is_synced = False
        self.sync()

    def _open(self) -> None:
        durable.make_folder(self._path.parent)
        descriptor = os.open(self._path, _FLAGS, _ONLY_OWNER)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            durable.sync_folder(self._path.parent)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise OSError(errno.EBUSY, "another orchestrator writes it") from None
            raise
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._size_bytes = descriptor, os.fstat(descriptor).st_size

    def _is_there(self) -> bool:
        try:
            found, ours = self._path.lstat(), os.fstat(self._descriptor)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)

    def _rotate(self) -> None:
        """Where that cannot be done, as on a full disk, the file grows on, and it is tried again later."""
        self._rotates_at = time.monotonic() + ROTATION_RETRY_SECONDS
        try:
            os.fsync(self._descriptor)
            first = _first_line(self._path)
            self._path.rename(self._path.with_name(f"{self._path.stem}-{first:020}{self._path.suffix}"))
            self._open()
            self._rotates_at = 0.0
            kept = rotated(self._path)
            for old in kept[: -self._rotation.keep] if self._rotation.keep else ():
                old.unlink()
        except OSError as error:
            _log.warning("The audit log %s cannot be rotated: %s", self._path, error)


def rotated(path: Path) -> list[Path]:
    """The files before the one at `path`, the oldest first."""
    try:
        found = [each for each in path.parent.iterdir() if _is_rotated(each.name, path)]
    except FileNotFoundError:
        return []
    return sorted(found)


def _is_rotated(name: str, path: Path) -> bool:
    number = name.removeprefix(f"{path.stem}-").removesuffix(path.suffix)
    return name == f"{path.stem}-{number}{path.suffix}" and len(number) == 20 and number.isdecimal()


def _first_line(path: Path) -> int:
    """The number of the first line in the file."""
    with path.open("rb") as file:
        for text in file:
            line = read_line(text)
            if line is not None:
                return line.seq
    return 0


def _tail(path: Path) -> Tail | None:
    """None for a file without any line. More and more is read from its end until there is one."""
    size, wanted = path.stat().st_size, READ_BYTES
    while size:
        wanted = min(wanted, size)
        with path.open("rb") as file:
            file.seek(size - wanted)
            content = file.read(wanted)
        found = _last_line(content)
        if found is not None or wanted == size:
            return found or Tail(Position(), size, content.endswith(b"\n"))
        wanted *= 8
    return None


def _last_line(content: bytes) -> Tail | None:
    end = len(content)
    ended = content.endswith(b"\n")
    while end > 0:
        begin = content.rfind(b"\n", 0, end) + 1
        text = content[begin:end]
        line = read_line(text)
        if line is not None and line.digest:
            torn = len(content) - end - content[end:].startswith(b"\n")
            position = Position(line.seq, line.digest)
            return Tail(position, torn, ended)
        end = begin - 1
    return None
