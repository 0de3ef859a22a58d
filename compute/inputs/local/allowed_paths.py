"""Paths of the node that tasks may read or write to: whether one is allowed, and what is really there.

A link may lead to another allowed path, and the operator's own folder may be reached by one. No other link is followed:
what is at the end is opened name by name from the root, so that nobody can put a link there meanwhile.
"""

import errno
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from compute.disk.mounts import mounts_in
from compute.inputs.failures import InputFailed
from shared.data.path_patterns import PathPattern
from shared.data.plain_text import printable
from shared.jobs.states import FailureReason
from shared.settings.local_paths import KEY, local_patterns, writable


class FoundPath(NamedTuple):
    """`real` has no links in it. The descriptor is of what is there, and cannot be read from."""

    real: str
    descriptor: int
    is_folder: bool


class AllowedPaths:
    """By the node's setting. Raises ValueError for an entry that is no pattern."""

    def __init__(self, entries: Iterable[str]) -> None:
        entries = tuple(entries)
        self._patterns = tuple(local_patterns(entries))
        self._writable = tuple(local_patterns(writable(entries)))

    def __repr__(self) -> str:
        return f"<AllowedPaths {', '.join(each.text for each in self._patterns)}>"

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def why_refused(self, path: str, *, to_write: bool = False) -> str:
        """In a sentence, by the path alone; empty if it is allowed. Does not block."""
        normal = _normal(path)
        if any(each.matches(normal) for each in self._for(to_write=to_write)):
            return ""
        what, how = ("write to", f"{KEY}, with :rw at its end") if to_write else ("read", KEY)
        return f"The operator of this node does not allow tasks to {what} {shown(path)} ({how})."

    @contextmanager
    def mountable(self, path: str, *, to_write: bool = False) -> Iterator[FoundPath]:
        """The same of what is mounted by its name, where no task can put something else under that name meanwhile."""
        with self.found(path, to_write=to_write) as found:
            for folder in Path(found.real).parents:
                if self._allows_real(str(folder), self._writable):
                    raise InputFailed(
                        FailureReason.INPUT_NOT_ALLOWED,
                        f"Tasks may write to {shown(str(folder))} of this node, and put something else at"
                        f" {shown(path)} before it is mounted: name that folder as the input.",
                    )
            yield found

    def _for(self, *, to_write: bool) -> tuple[PathPattern, ...]:
        return self._writable if to_write else self._patterns

    @contextmanager
    def found(self, path: str, *, to_write: bool = False) -> Iterator[FoundPath]:
        """What is there, for as long as it is looked at. Blocks. Raises InputFailed."""
        if why := self.why_refused(path, to_write=to_write):
            raise InputFailed(FailureReason.INPUT_NOT_ALLOWED, why)
        try:
            real = os.path.realpath(_normal(path), strict=True)
            if real != _normal(path) and not self._allows_real(real, self._for(to_write=to_write)):
                raise _leads_out(path)
            descriptor = _opened(real)
        except OSError as error:
            raise in_words(error, path) from None
        try:
            yield _looked_at(path, real, descriptor)
        finally:
            os.close(descriptor)

    def _allows_real(self, real: str, patterns: Iterable[PathPattern]) -> bool:
        """A pattern allows what is below the folder that it names, wherever that folder is."""
        for each in patterns:
            base = os.path.realpath(each.base)
            below = posixpath.relpath(real, base)
            if (
                not below.startswith("../")
                and below != ".."
                and each.matches(_normal(posixpath.join(each.base, below)))
            ):
                return True
        return False


NO_PATHS = AllowedPaths(())


def _normal(path: str) -> str:
    return posixpath.normpath(f"/{path.lstrip('/')}")


def _opened(real: str) -> int:
    """Name by name, none of which may be a link now. Raises OSError."""
    descriptor = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    names = [name for name in real.split("/") if name]
    for number, name in enumerate(names, start=1):
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_DIRECTORY if number < len(names) else 0)
        try:
            below = os.open(name, flags, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor


def _looked_at(path: str, real: str, descriptor: int) -> FoundPath:
    """Raises InputFailed."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISLNK(mode):
        raise _leads_out(path)
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise InputFailed(FailureReason.INPUT_NOT_PLACED, f"{shown(path)} of this node is neither a file nor a folder.")
    if below := next((each.below for each in mounts_in(Path(real)) if each.below), ""):
        # What is mounted read only is so without what is mounted in it.
        raise InputFailed(
            FailureReason.INPUT_NOT_PLACED,
            f"{shown(path)} of this node has something else mounted in it, at {printable(below)[:200]}: give the parts"
            " of it that the task needs as inputs of their own.",
        )
    return FoundPath(real, descriptor, stat.S_ISDIR(mode))


def _leads_out(path: str) -> InputFailed:
    return InputFailed(
        FailureReason.INPUT_NOT_ALLOWED,
        f"{shown(path)} of this node is behind a link that leads to what its operator does not allow ({KEY}).",
    )


def in_words(error: OSError, path: str) -> InputFailed:
    if error.errno in {errno.EACCES, errno.EPERM}:
        return InputFailed(FailureReason.INPUT_ACCESS_DENIED, f"The user of this node may not read {shown(path)}.")
    if error.errno == errno.ELOOP:
        return _leads_out(path)
    if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}:
        return InputFailed(FailureReason.INPUT_NOT_FOUND, f"This node has nothing at {shown(path)}.")
    return InputFailed(
        FailureReason.INPUT_UNAVAILABLE, f"{shown(path)} of this node cannot be read: {os.strerror(error.errno or 0)}."
    )


def shown(path: str) -> str:
    return printable(path)[:200]
