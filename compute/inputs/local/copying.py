"""Copies of what a node has at a path, for tasks that run without a container: theirs alone, and bounded.

Each folder is entered by its descriptor, so no name that is exchanged meanwhile leads anywhere else. Links are copied
as links, which the task follows with its own rights; what is neither file, folder nor link is left out.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compute.inputs.failures import InputFailed
from compute.inputs.local.allowed_paths import in_words, shown
from compute.inputs.objects.stoppable import IsUnwanted
from shared.jobs.quantities import format_bytes
from shared.jobs.states import FailureReason

MAX_DEPTH = 200
COPIED_BYTES = 8 << 20
"""Between two looks at whether it is still wanted."""
_ENTRY_BYTES = 4096
"""What a file, a folder or a link takes at least."""
_FICLONE = 0x40049409
_NO_CLONE = frozenset({errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ETXTBSY, errno.ENOSYS})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Unwanted(Exception):
    """Nobody waits for the copy any more."""


class LocalCopy:
    """`limit_bytes` is what it may fill of the disk; 0 is no limit. Blocks; raises InputFailed, OSError, Unwanted."""

    def __init__(self, path: str, limit_bytes: int, is_unwanted: IsUnwanted) -> None:
        self._path = path
        self._limit_bytes = limit_bytes
        self._is_unwanted = is_unwanted
        self._filled_bytes = 0

    def __repr__(self) -> str:
        return f"<LocalCopy of {self._filled_bytes} bytes>"

    def run(self, descriptor: int, target: Path) -> None:
        """From an open path to where nothing is yet."""
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        with self._reading():
            source = os.open(f"/proc/self/fd/{descriptor}", flags)
        if is_folder:
            self._folder(source, target, 0)
        else:
            self._file(source, target)

    def _folder(self, source: int, target: Path, depth: int) -> None:
        """Closes the descriptor."""
        try:
            if depth > MAX_DEPTH:
                raise InputFailed(
                    FailureReason.INPUT_NOT_PLACED,
                    f"{shown(self._path)} of this node has folders that are more than {MAX_DEPTH} deep.",
                )
            self._fill(0)
            target.mkdir(0o700)
            with self._reading(), os.scandir(source) as entries:
                names = [(entry.name, entry.stat(follow_symlinks=False).st_mode) for entry in entries]
            for name, mode in names:
                self._entry(source, name, mode, target / name, depth)
        finally:
            os.close(source)

    def _entry(self, source: int, name: str, mode: int, target: Path, depth: int) -> None:
        if stat.S_ISDIR(mode):
            self._folder(self._opened(name, _FOLDER, source), target, depth + 1)
        elif stat.S_ISREG(mode):
            self._file(self._opened(name, _FILE, source), target)
        elif stat.S_ISLNK(mode):
            self._fill(0)
            with self._reading():
                leads_to = os.readlink(name, dir_fd=source)
            target.symlink_to(leads_to)

    def _opened(self, name: str, flags: int, folder: int) -> int:
        with self._reading():
            return os.open(name, flags, dir_fd=folder)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """What is wrong with the source is no fault of the node's own disk."""
        try:
            yield
        except OSError as error:
            raise in_words(error, self._path) from None

    def _file(self, source: int, target: Path) -> None:
        """Closes the descriptor."""
        try:
            found = os.fstat(source)
            if not stat.S_ISREG(found.st_mode):
                return
            self._fill(found.st_size)
            copy = os.open(target, _NEW, 0o700 if found.st_mode & stat.S_IXUSR else 0o600)
            try:
                if not _cloned(source, copy):
                    self._bytes(source, copy, found.st_size)
            finally:
                os.close(copy)
        finally:
            os.close(source)

    def _bytes(self, source: int, copy: int, size: int) -> None:
        """At most as many as the file had when it was counted."""
        while size > 0 and (sent := os.sendfile(copy, source, None, min(size, COPIED_BYTES))):
            size -= sent
            self._check_wanted()

    def _fill(self, size: int) -> None:
        self._check_wanted()
        self._filled_bytes += max(size, _ENTRY_BYTES)
        if 0 < self._limit_bytes < self._filled_bytes:
            raise InputFailed(
                FailureReason.INPUT_TOO_LARGE,
                f"{shown(self._path)} of this node has more than the {format_bytes(self._limit_bytes)} that its task"
                " may still fill: ask for more with Resources.Disk.",
            )

    def _check_wanted(self) -> None:
        if self._is_unwanted():
            raise Unwanted


def _cloned(source: int, copy: int) -> bool:
    """Whether the file system shares the blocks until one of both is changed."""
    try:
        fcntl.ioctl(copy, _FICLONE, source)
    except OSError as error:
        if error.errno in _NO_CLONE:
            return False
        raise
    return True
