"""Files of inputs: where a task sees them, and that nobody changes them by accident.

    <execution>/inputs/<number>   what containers mount, read only: the input of that number, a file or a folder

A task without a container has its own copies in its workspace instead, at the places of their targets.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

INPUTS = "inputs"
FILE_MODE = 0o444
PROGRAM_MODE = 0o555
FOLDER_MODE = 0o555


class MountedInput(NamedTuple):
    """The file or folder that the task sees under `target`, and only reads unless it `is_writable`."""

    target: str
    path: Path
    is_writable: bool = False


def sealed_mode(mode: int) -> int:
    """Of a file or folder that had this one."""
    return PROGRAM_MODE if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else FILE_MODE


def seal(root: Path) -> None:
    """Take from all files and folders what lets anybody write to them. Blocks. No link is followed."""
    for path, mode in _below(os.fspath(root)):
        if stat.S_IMODE(mode) != sealed_mode(mode) and not stat.S_ISLNK(mode):
            os.chmod(path, sealed_mode(mode))  # noqa: PTH101  # there may be very many


def _below(root: str) -> Iterator[tuple[str, int]]:
    """A folder comes after all that is in it."""
    mode = os.lstat(root).st_mode
    if stat.S_ISDIR(mode):
        with os.scandir(root) as entries:
            names = [entry.path for entry in entries]
        for name in names:
            yield from _below(name)
    yield root, mode
