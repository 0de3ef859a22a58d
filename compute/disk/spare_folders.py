"""Folders of executions that are over, kept for the next ones: to take one over costs far less than to make one.

When ext4 looks for a free inode, it passes over all that were deleted within the last minute, one after another. Where
tasks are short that costs a node more than all else it does for them, so it deletes nothing that the next task needs.

Only a folder is kept that nobody is left to write to, which its engine has to know, and that is as it was when it was
made: after all, a task may have put anything there, or have linked its output to another place.
"""

import itertools
import os
import stat
from pathlib import Path

from compute.disk.file_attributes import attribute_names
from compute.disk.input_files import INPUTS
from compute.disk.mounts import mounts_in
from compute.disk.removal import remove_tree
from compute.disk.result_contents import FILE_MODE, STDERR, STDOUT

WORKSPACE = "workspace"
TEMPORARY = "tmp"
"""For temporary files of a task that does not see the machine's own folders for them."""
_OUTPUTS = (STDOUT, STDERR)
_CONTENT = {*_OUTPUTS, WORKSPACE}
_PERHAPS = {INPUTS, TEMPORARY}

PREFIX = ".spare-"
"""No execution's id begins so, and the node removes what is named so at its start (compute/journal/leftovers.py)."""
MOST_KEPT = 256
FOLDER_MODE = 0o700
_LARGEST_FOLDER_BLOCKS = 8
"""Of 512 bytes. A folder that once had many entries keeps its size."""


class SpareFolders:
    """Below `parent`, as those of the executions are. May be used by any thread; every method blocks on the disk."""

    def __init__(self, parent: Path, *, most: int = MOST_KEPT) -> None:
        self._parent = parent
        self._most = most
        self._left: set[str] = set()
        self._kept: list[str] = []
        self._numbers = itertools.count()

    def __repr__(self) -> str:
        return f"<SpareFolders in {self._parent}: {len(self._kept)}>"

    def nobody_is_left_in(self, root: Path) -> None:
        """No process can write to what is in this folder any more."""
        self._left.add(str(root))

    def keep(self, root: Path) -> bool:
        """Whether the folder is gone from its place, because it waits for another execution."""
        name = str(root)
        if name not in self._left:
            return False
        self._left.discard(name)
        kept = f"{self._parent}/{PREFIX}{next(self._numbers)}"
        try:
            if len(self._kept) >= self._most or mounts_in(root) or not _is_as_made(name):
                return False
            os.rename(name, kept)  # noqa: PTH104  # as in `take`: a third of the cost, and there are very many
        except OSError:
            return False
        self._kept.append(kept)
        return True

    def take(self, root: Path) -> bool:
        """Whether there is a folder at `root` now, with empty outputs, and a workspace and perhaps more, all empty."""
        try:
            os.rename(self._kept.pop(), root)  # noqa: PTH104
        except (IndexError, OSError):
            return False
        return True


def _is_as_made(root: str) -> bool:
    """Once its inputs and what was written to the outputs are gone. Raises OSError if it cannot be told."""
    content = set(os.listdir(root))  # noqa: PTH208  # names are all that is needed
    folders = [f"{root}/{name}" for name in (WORKSPACE, *_PERHAPS) if name in content]
    if content - _PERHAPS != _CONTENT or not all(map(_is_plain_folder, (root, *folders))):
        return False
    if INPUTS in content:
        _empty(f"{root}/{INPUTS}")
    if any(os.listdir(folder) for folder in folders):  # noqa: PTH208
        return False
    if not all(_is_own_file(f"{root}/{name}") for name in _OUTPUTS):
        return False
    return not any(map(attribute_names, (root, *folders, *(f"{root}/{name}" for name in _OUTPUTS))))


def _empty(folder: str) -> None:
    for name in os.listdir(folder):  # noqa: PTH208
        try:
            os.unlink(f"{folder}/{name}")  # noqa: PTH108  # most are one small file
        except OSError:
            remove_tree(Path(folder, name))


def _is_plain_folder(path: str) -> bool:
    found = os.lstat(path)
    return found.st_mode == stat.S_IFDIR | FOLDER_MODE and found.st_blocks <= _LARGEST_FOLDER_BLOCKS


def _is_own_file(path: str) -> bool:
    found = os.lstat(path)
    if found.st_mode != stat.S_IFREG | FILE_MODE or found.st_nlink != 1 or found.st_uid != os.geteuid():
        return False
    if found.st_size or found.st_blocks:
        os.truncate(path, 0)
    return True
