"""What of a folder is in the archive of a result, and what is there without ever having been a file.

A file costs more than all else that a short task needs of its node, so what is known without one has none.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

STDOUT, STDERR, EXIT_CODE = "stdout", "stderr", "exitCode"
FILE_MODE = 0o666
"""Less the process's umask."""


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


ALL = Contents()


@cache
def file_mode() -> int:
    """Of a file that this process makes as any other. Only here can a umask be read without setting it."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    umask = next((line.split()[1] for line in status.splitlines() if line.startswith("Umask:")), "022")
    return FILE_MODE & ~int(umask, 8)
