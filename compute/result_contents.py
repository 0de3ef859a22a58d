"""What of a folder is in the archive of a result, and what is there without ever having been a file.

A file costs more than all else that a short task needs of its node, so what is known without one has none.
"""

import os
import stat
from functools import cache
from pathlib import Path
from typing import NamedTuple

STDOUT, STDERR, EXIT_CODE = "stdout", "stderr", "exitCode"
FILE_MODE = 0o666
"""Less the process's umask."""
MAX_NAME_IN_WARNING = 160
_KEPT_MODE_BITS = 0o1777  # neither setuid nor setgid


class Written(NamedTuple):
    """A file of the archive alone; `mtime` is in whole seconds since 1970."""

    name: bytes
    content: bytes
    mode: int
    mtime: int


class Contents(NamedTuple):
    """`names` are those of the folder's entries that count, None for all. What is `written` is instead of a file."""

    names: frozenset[bytes] | None = None
    written: tuple[Written, ...] = ()

    def has(self, name: bytes) -> bool:
        return self.names is None or name in self.names

    def read(self, files: tuple[Written, ...]) -> "Contents":
        """The same, where all files that count have been read already."""
        return Contents(frozenset(), (*self.written, *files))


ALL = Contents()


@cache
def file_mode() -> int:
    """Of a file that this process makes as any other. Only here can a umask be read without setting it."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    umask = next((line.split()[1] for line in status.splitlines() if line.startswith("Umask:")), "022")
    return FILE_MODE & ~int(umask, 8)


def kept_mode(status: os.stat_result) -> int:
    return status.st_mode & _KEPT_MODE_BITS


def whole_mtime(status: os.stat_result) -> int:
    """Whole seconds, rounded down."""
    return int(status[stat.ST_MTIME])


def shown(path: bytes) -> str:
    """A path as it may stand in a message: printable, valid Unicode, not too long."""
    text = repr(os.fsdecode(path))
    return text if len(text) <= MAX_NAME_IN_WARNING else f"...{text[-MAX_NAME_IN_WARNING:]}"
