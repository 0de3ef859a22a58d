"""A local tree: which files a folder has that is to be sent, and where a link among them leads.

What is sent are files. A link to a file of the same tree is sent as that file. Links out of the tree, to folders and to
nothing, and whatever is neither file nor folder, are told of: nothing outside of the tree is ever read for them.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from shared.jobs.inputs.manifest import MAX_FILES, name_problem
from tarpon.sending.problems import CannotBeSent, FileUnreadable, NothingToSend, PathNotFound, TreeTooLarge


class LocalFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it was found. `path` is below the tree, and empty where that is this file; `source` has no links."""

    path: str
    source: str
    device: int
    inode: int
    size: int
    mtime_ns: int
    executable: bool

    def is_still(self, found: os.stat_result) -> bool:
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns) == (
            self.device,
            self.inode,
            self.size,
            self.mtime_ns,
        )


class LocalTree(msgspec.Struct, frozen=True, kw_only=True):
    """`left_out` are sentences about what is not sent."""

    files: tuple[LocalFile, ...]
    left_out: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(each.size for each in self.files)


def found_tree(path: str | os.PathLike[str], *, skip_special: bool = False) -> LocalTree:
    """What is at the path now, a link there followed. Blocks. Raises what tarpon/sending/problems.py has."""
    root = os.path.realpath(path)
    try:
        facts = os.lstat(root)
    except OSError as error:
        raise PathNotFound(str(path), error.strerror or str(error)) from error
    if stat.S_ISREG(facts.st_mode):
        return LocalTree(files=(_file("", root, facts),))
    if not stat.S_ISDIR(facts.st_mode):
        raise PathNotFound(str(path), "it is neither a file nor a folder")
    files, problems = list[LocalFile](), list[str]()
    for found in _walked(root):
        if isinstance(found, str):
            problems.append(found)
        else:
            files.append(found)
        if len(files) > MAX_FILES:
            raise TreeTooLarge(str(path), MAX_FILES)
    if problems and not skip_special:
        raise CannotBeSent(str(path), problems)
    if not files:
        raise NothingToSend(str(path))
    return LocalTree(files=tuple(sorted(files, key=lambda each: each.path)), left_out=tuple(problems))


def opened(file: LocalFile) -> int:
    """A descriptor of this very file. Raises FileUnreadable, and OSError where another one is there now."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(file.source, flags)
    except PermissionError as error:
        raise FileUnreadable(file.source, error.strerror or "access is denied") from error


def _walked(root: str) -> Iterator[LocalFile | str]:
    """Files, and a sentence for each thing that is none."""
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:  # noqa: PTH118  # joins a hundred thousand
                names = sorted(entries, key=lambda each: each.name)
        except OSError as error:
            raise FileUnreadable(str(Path(root, folder)), error.strerror or str(error)) from error
        for entry in names:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if problem := name_problem(path):
                yield f"{path!r} {problem}"
            elif entry.is_dir(follow_symlinks=False):
                folders.append(path)
            else:
                yield _told(root, path, entry)


def _told(root: str, path: str, entry: "os.DirEntry[str]") -> LocalFile | str:
    if entry.is_file(follow_symlinks=False):
        return _file(path, entry.path, entry.stat(follow_symlinks=False))
    if not entry.is_symlink():
        return f"{path!r} is neither a file, a folder nor a link"
    target = os.path.realpath(entry.path)
    if os.path.commonpath((root, target)) != root:
        return f"{path!r} is a link that leads out of the tree"
    try:
        facts = os.stat(target)  # noqa: PTH116  # of many
    except OSError:
        return f"{path!r} is a link that leads to nothing"
    if stat.S_ISDIR(facts.st_mode):
        return f"{path!r} is a link to a folder"
    return _file(path, target, facts) if stat.S_ISREG(facts.st_mode) else f"{path!r} is a link to something special"


def _file(path: str, source: str, facts: os.stat_result) -> LocalFile:
    return LocalFile(
        path=path,
        source=source,
        device=facts.st_dev,
        inode=facts.st_ino,
        size=facts.st_size,
        mtime_ns=facts.st_mtime_ns,
        executable=bool(facts.st_mode & 0o111),
    )
