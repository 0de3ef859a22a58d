"""The contents of a result: what of a folder is archived, and what is there without ever having been a file.

A file costs more than all else that a short task needs of its node, so what is known without one has none.
"""

import os
import stat
from typing import NamedTuple

STDOUT, STDERR, EXIT_CODE = "stdout", "stderr", "exitCode"
FILE_MODE = 0o644
"""Whatever the umask of the node: else results of two nodes would differ by it."""
MAX_NAME_IN_WARNING = 160
_KEPT_MODE_BITS = 0o1777  # neither setuid nor setgid


class Written(NamedTuple):
    """A file of the archive alone; `mtime` is in whole seconds since 1970."""

    name: bytes
    content: bytes
    mode: int
    mtime: int


class ResultContents(NamedTuple):
    """`names` are those of the folder's entries that count, None for all. What is `written` is instead of a file.

    `places` are the absolute paths, as the task saw them, that became entries of the folder, with their names there.
    With `copies_links` each name of a file is a file of its own.
    """

    names: frozenset[bytes] | None = None
    written: tuple[Written, ...] = ()
    places: tuple[tuple[bytes, bytes], ...] = ()
    copies_links: bool = False

    def has(self, name: bytes) -> bool:
        return self.names is None or name in self.names

    def read(self, files: tuple[Written, ...]) -> "ResultContents":
        """The same, where all files that count have been read already."""
        return self._replace(names=frozenset(), written=(*self.written, *files))

    def link_target(self, path: bytes, target: bytes) -> bytes:
        """That of the link `path`: what leads to an absolute path within the result leads there relatively instead."""
        if not target.startswith(b"/"):
            return target
        for place, name in self.places:
            if target == place or target.startswith(place + b"/"):
                below = [part for part in target[len(place) :].split(b"/") if part not in {b"", b"."}]
                return _relative(path.split(b"/")[:-1], [name, *below]) if _stays(below) else target
        return target


def _stays(parts: list[bytes]) -> bool:
    depth = 0
    for part in parts:
        depth += -1 if part == b".." else 1
        if depth < 0:
            return False
    return True


def _relative(folder: list[bytes], target: list[bytes]) -> bytes:
    """Both are paths from the root of the archive; those of folders on the way are no links."""
    shared = 0
    while shared < min(len(folder), len(target)) and folder[shared] == target[shared]:
        shared += 1
    return b"/".join([b".."] * (len(folder) - shared) + target[shared:]) or b"."


ALL = ResultContents()


def kept_mode(status: os.stat_result) -> int:
    return status.st_mode & _KEPT_MODE_BITS


def whole_mtime(status: os.stat_result) -> int:
    """Whole seconds, rounded down."""
    return int(status[stat.ST_MTIME])


def shown(path: bytes) -> str:
    """A path as it may stand in a message: printable, valid Unicode, not too long."""
    text = repr(os.fsdecode(path))
    return text if len(text) <= MAX_NAME_IN_WARNING else f"...{text[-MAX_NAME_IN_WARNING:]}"
