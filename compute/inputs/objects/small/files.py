"""Small files of the cache: how they are written, very many of them in little time."""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from compute.disk.input_files import FILE_MODE

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class SmallFile(NamedTuple):
    """`sha256` in hex is what it has to have; empty where that is not known, or known to be right."""

    place: str
    content: bytes
    sha256: str = ""

    @property
    def is_right(self) -> bool:
        return not self.sha256 or hashlib.sha256(self.content).hexdigest() == self.sha256.lower()


class SmallFiles:
    """Writes files straight into their places; it remembers which folders there are.

    Nobody looks for a file before it is written, and what a node that was killed has left of one has not its size, for
    which the cache does not take it (InputCache.has). So none needs another name first, which were a fifth of the cost.
    """

    def __init__(self) -> None:
        self._made: set[str] = set()

    def __repr__(self) -> str:
        return f"<SmallFiles in {len(self._made)} folders>"

    def write_right(self, files: Sequence[SmallFile]) -> list[bool]:
        """Which of them are right; the others are not written. Blocks. Raises OSError."""
        right = [file.is_right for file in files]
        self.write(*(file for file, is_right in zip(files, right, strict=True) if is_right))
        return right

    def write(self, *files: SmallFile) -> None:
        """Blocks. Raises OSError."""
        for file in files:
            folder = file.place.rpartition("/")[0]
            if folder not in self._made:
                Path(folder).mkdir(mode=0o700, exist_ok=True)
                self._made.add(folder)
            descriptor = _opened(file.place)
            try:
                _write_all(descriptor, file.content)
            finally:
                os.close(descriptor)


def _opened(place: str) -> int:
    """Under a name that is new: what had it before may be in use under another one."""
    try:
        return os.open(place, _FLAGS, FILE_MODE)
    except FileExistsError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place)  # noqa: PTH108  # as all here
        return os.open(place, _FLAGS, FILE_MODE)


def _write_all(descriptor: int, content: bytes) -> None:
    written = 0
    while written < len(content):
        written += os.write(descriptor, content[written:])
