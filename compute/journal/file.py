"""The file of the journal: lines are added, read back whatever happened to it, and kept few.

A line is an execution's id, a space and JSON, which is null where the execution is forgotten. The last line about an
execution counts. A last line without its end was being written when the process died, so nobody relied on it.
"""

import contextlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from compute.disk import private_file
from shared.runtime import durable

_log = logging.getLogger(__name__)

LEAST_REWRITTEN_BYTES = 4 << 20
"""A smaller file is left as it is, whatever of it is of use still."""
GROWTH = 4
"""Beyond the least, the file may become so many times as large as what is of use in it."""
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


FORGOTTEN = b"null"


class JournalLine(NamedTuple):
    """As it was read: `name` may be no id, and `content` anything."""

    name: str
    content: bytes


def line(name: str, content: bytes) -> bytes:
    return b"%b %b\n" % (name.encode("ascii"), content)


def forgetting_line(name: str) -> bytes:
    return line(name, FORGOTTEN)


class JournalFile:
    """Made when it is first written to. All methods block; one thread at a time may call them."""

    def __init__(self, path: Path, *, least_rewritten_bytes: int = LEAST_REWRITTEN_BYTES) -> None:
        self._path = path
        self._least = least_rewritten_bytes
        self._limit_bytes = least_rewritten_bytes
        self._size_bytes = 0
        self._descriptor = -1

    def __repr__(self) -> str:
        return f"<JournalFile {self._path}, {self._size_bytes} bytes>"

    @property
    def is_large(self) -> bool:
        """It is time to `rewrite`."""
        return self._size_bytes > self._limit_bytes

    def read(self) -> list[JournalLine]:
        """All whole lines, damaged ones too, in their order."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        *whole, torn = content.split(b"\n")
        if torn:
            _log.warning("The last %d bytes of %s were not written whole and do not count.", len(torn), self._path)
        return [_parsed(each) for each in whole if each]

    def append(self, lines: bytes) -> None:
        """Whole or not at all. Raises OSError."""
        if self._descriptor < 0:
            self._open()
        written = 0
        try:
            while written < len(lines):
                written += os.write(self._descriptor, lines[written:])
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size_bytes)
            raise
        self._size_bytes += written

    def rewrite(self, lines: Iterable[bytes]) -> None:
        """Hold nothing but these. Raises OSError, and is then what it was and not large for a while."""
        self._limit_bytes = max(self._least, GROWTH * self._size_bytes)
        private_file.make_folder(self._path.parent)
        private_file.replace(self._path, b"".join(lines))
        self.close()
        self._open()
        self._limit_bytes = max(self._least, GROWTH * self._size_bytes)

    def sync(self) -> None:
        """A power cut does not undo what was appended until now. Raises OSError."""
        os.fsync(self._descriptor)
        durable.sync_folder(self._path.parent)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        private_file.make_folder(self._path.parent)
        self._descriptor = os.open(self._path, _FLAGS, 0o600)
        self._size_bytes = os.fstat(self._descriptor).st_size


def _parsed(text: bytes) -> JournalLine:
    name, _, content = text.partition(b" ")
    return JournalLine(name.decode("ascii", "replace"), content)
