"""How files are created below one directory and nowhere else, whatever the names and links of an archive say.

Every step goes from an open directory to one of its own entries and never through a symbolic link, so that no sequence
of members can leave the target. Link targets are judged by their text alone, which is enough because of three rules:
a link lies in real directories, only its first components may be `..`, and a directory is never replaced.
"""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from shared.errors import ArchiveDamaged, CannotExtract, UnsafeArchive

Parts = tuple[bytes, ...]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE = 0o700
_PERMISSIONS = 0o777  # neither setuid nor setgid nor sticky


class _Attributes(NamedTuple):
    mode: int
    mtime_ns: int


class TargetFolder:
    """Creates what an archive holds below `path`, which is made where it does not exist.

    Where `path` was empty at first, a later member of the same name replaces an earlier one, as tar does; otherwise
    whatever exists raises CannotExtract. At most two directories are open at a time. All methods raise UnsafeArchive
    and OSError.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with os.scandir(self._root) as entries:
            self._was_empty = next(entries, None) is None
        self._at: Parts = ()
        self._folder = self._root
        self._made: dict[Parts, _Attributes | None] = {}

    def __repr__(self) -> str:
        return f"<TargetFolder {str(self._path)!r}>"

    def create_file(self, parts: Parts) -> int:
        """An open descriptor of a new file, for writing."""
        folder = self._open(parts[:-1])
        try:
            return os.open(parts[-1], _NEW_FILE, 0o600, dir_fd=folder)
        except FileExistsError:
            self._make_way(folder, parts)
            return os.open(parts[-1], _NEW_FILE, 0o600, dir_fd=folder)

    def create_directory(self, parts: Parts, *, mode: int, mtime_ns: int) -> None:
        """Mode and time come into force with `finish()`, so that they hinder nothing that goes into the directory."""
        if not parts:
            return
        folder = self._open(parts[:-1])
        try:
            os.mkdir(parts[-1], _PRIVATE, dir_fd=folder)
            self._made[parts] = None
        except FileExistsError:
            os.close(_open_folder(folder, parts))
        if parts in self._made:
            self._made[parts] = _Attributes(mode & _PERMISSIONS, mtime_ns)

    def create_symlink(self, parts: Parts, target: bytes, *, mtime_ns: int) -> None:
        _check_symlink(parts, target)
        folder = self._open(parts[:-1])
        try:
            os.symlink(target, parts[-1], dir_fd=folder)
        except FileExistsError:
            self._make_way(folder, parts)
            os.symlink(target, parts[-1], dir_fd=folder)
        os.utime(parts[-1], ns=(mtime_ns, mtime_ns), dir_fd=folder, follow_symlinks=False)

    def create_hard_link(self, parts: Parts, target: Parts) -> None:
        """`target` must be a regular file already; a link to a symbolic link could point out of the target."""
        # Not `self._open`, which would close the first directory when it opens the second.
        source = os.dup(self._open(target[:-1]))
        try:
            _check_hard_link(source, parts, target)
            if parts == target:
                return
            folder = self._open(parts[:-1])
            try:
                _link(source, target[-1], folder, parts[-1])
            except FileExistsError:
                self._make_way(folder, parts)
                _link(source, target[-1], folder, parts[-1])
        finally:
            os.close(source)

    def finish(self) -> None:
        """Give the directories that were made the modes and times of the archive, the deepest first."""
        for parts in sorted(self._made, reverse=True):
            attributes = self._made[parts]
            if attributes is not None:
                folder = self._open(parts)
                os.fchmod(folder, attributes.mode)
                os.utime(folder, ns=(attributes.mtime_ns, attributes.mtime_ns))

    def close(self) -> None:
        """Close the directories. May be called again."""
        self._leave()
        if self._root >= 0:
            os.close(self._root)
            self._root = self._folder = -1

    def _open(self, parts: Parts) -> int:
        """The descriptor of a directory, valid until the next call; it is made where it does not exist."""
        if parts == self._at:
            return self._folder
        if parts[: len(self._at)] != self._at:
            self._leave()
        for depth in range(len(self._at) + 1, len(parts) + 1):
            folder = self._step(self._folder, parts[:depth])
            self._leave()
            self._at, self._folder = parts[:depth], folder
        return self._folder

    def _step(self, folder: int, parts: Parts) -> int:
        try:
            return _open_folder(folder, parts)
        except FileNotFoundError:
            os.mkdir(parts[-1], dir_fd=folder)
            self._made[parts] = None
            return _open_folder(folder, parts)

    def _leave(self) -> None:
        if self._folder != self._root:
            os.close(self._folder)
        self._at, self._folder = (), self._root

    def _make_way(self, folder: int, parts: Parts) -> None:
        if not self._was_empty or stat.S_ISDIR(_mode(folder, parts[-1])):
            raise CannotExtract(f"{shown(parts)} exists already.", hint="Extract into an empty directory.")
        os.unlink(parts[-1], dir_fd=folder)


def shown(parts: Parts) -> str:
    """A path as it may stand in a message: printable and not too long."""
    text = repr(os.fsdecode(b"/".join(parts)))
    return text if len(text) <= 160 else f"...{text[-160:]}"


def _open_folder(folder: int, parts: Parts) -> int:
    try:
        return os.open(parts[-1], _FOLDER, dir_fd=folder)
    except NotADirectoryError:
        pass
    if stat.S_ISLNK(_mode(folder, parts[-1])):
        raise UnsafeArchive(f"The archive tries to write through the symbolic link {shown(parts)}.")
    raise CannotExtract(f"{shown(parts)} exists already and is not a directory.")


def _mode(folder: int, name: bytes) -> int:
    return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode


def _link(source: int, target: bytes, folder: int, name: bytes) -> None:
    os.link(target, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)


def _check_hard_link(source: int, parts: Parts, target: Parts) -> None:
    try:
        is_file = stat.S_ISREG(_mode(source, target[-1]))
    except FileNotFoundError:
        raise ArchiveDamaged(f"{shown(parts)} is a hard link to {shown(target)}, which has not come before.") from None
    if not is_file:
        raise UnsafeArchive(f"{shown(parts)} is a hard link to {shown(target)}, which is not a file.")


def _check_symlink(parts: Parts, target: bytes) -> None:
    """Refuse the link at `parts` where its text can lead out of the target (see the top of this module)."""
    steps = [step for step in target.split(b"/") if step not in {b"", b"."}]
    ups = next((index for index, step in enumerate(steps) if step != b".."), len(steps))
    leaves = target.startswith(b"/") or ups > len(parts) - 1
    if leaves or b".." in steps[ups:] or b"\x00" in target:
        raise UnsafeArchive(
            f"{shown(parts)} is a symbolic link to {os.fsdecode(target[:160])!r}, which leaves the target or could.",
            hint="To look at it nonetheless: tar -xzf ... in a directory of its own.",
        )
