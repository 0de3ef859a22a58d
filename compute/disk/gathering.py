"""Gathering: the result paths of a task that has ended become the entries of its result folder.

Nothing is copied and no link is followed. What a task has replaced by a file or a link is in the result as that. A
mount that it has left on a result path is shown in the result until that is published; any other is detached.
"""

import contextlib
import logging
import os
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from compute.disk.folder_access import FOLDER, IsMounted, entered
from compute.disk.mounts import WITHOUT_FILES, Mount, bind, detach, mount_of, mounts_in, uncover
from compute.disk.removal import remove_tree
from compute.disk.result_contents import shown
from shared.jobs.spec import ResultPath

_log = logging.getLogger(__name__)

RESULT_FOLDER_MODE = 0o755
MAX_WARNINGS = 20
_HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_PARENT = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Gathered(NamedTuple):
    """What is to be told to the user, and how many entries the result lacks."""

    warnings: tuple[str, ...] = ()
    left_out_count: int = 0


class _Odd(Exception):
    """What a result path is instead of a folder, in words; `is_lost` if the task's content is not in the result."""

    def __init__(self, what: str, *, is_lost: bool = False) -> None:
        super().__init__(what)
        self.is_lost = is_lost


class Gathering:
    """Of one execution: from its `workspace` to its `result`, both in `root`."""

    def __init__(self, root: Path, workspace: Path, result: Path) -> None:
        self._root = root
        self._workspace = workspace
        self._result = result
        self._warnings: list[str] = []
        self._left_out_count = 0
        self._bound: set[str] = set()

    def __repr__(self) -> str:
        return f"<Gathering in {self._root}>"

    def run(self, result_paths: Sequence[ResultPath]) -> Gathered:
        """A node that died in the middle of this may do it again. Blocks."""
        if not os.path.lexists(self._root):
            uncover(self._root)
        mounted = mounts_in(self._root)
        if not result_paths and not mounted:
            return Gathered()
        kept = {f"{self._result.name}/{each.name}" for each in result_paths}
        self._bound = kept & {each.below for each in mounted}
        for each in mounted:  # first those that hide where things are
            if each.below.partition("/")[0] != self._workspace.name and each.below not in kept:
                self._detach(each)
        for wanted in sorted(result_paths, key=lambda each: len(_parts(each)), reverse=True):
            self._take(wanted)
        for each in mounts_in(self._root):
            if each.below not in self._bound:
                self._detach(each)
        return Gathered(tuple(self._warnings), self._left_out_count)

    def _take(self, wanted: ResultPath) -> None:
        target = self._result / wanted.name
        if f"{self._result.name}/{wanted.name}" in self._bound:
            return  # it was done before the node died
        try:
            with contextlib.ExitStack() as opened:
                told = self._moved(wanted, target, opened)
        except _Odd as odd:
            if self._uncovered(wanted):
                self._take(wanted)
                return
            if os.path.lexists(target):
                return  # it was moved before the node died
            target.mkdir(mode=RESULT_FOLDER_MODE)
            self._left_out_count += odd.is_lost
            told = f"{wanted.path} {odd}, so {wanted.name} is empty"
        if told:
            self._warn(told)

    def _moved(self, wanted: ResultPath, target: Path, opened: contextlib.ExitStack) -> str:
        """Whether something is odd about it, in words."""
        parts = _parts(wanted)
        folder, mount = self._parent_of(parts, opened)
        try:
            handle = os.open(parts[-1], _HANDLE, dir_fd=folder)
        except FileNotFoundError:
            raise _Odd("is missing") from None
        opened.callback(os.close, handle)
        mode = os.fstat(handle).st_mode
        if mount_of(handle) != mount:
            self._bind(handle, mode, target)
            self._bound.add(f"{self._result.name}/{wanted.name}")
            return f"{wanted.path} is a mount, so {wanted.name} is what it showed at the end of the task"
        if stat.S_ISDIR(mode):
            try:
                with entered(parts[-1], folder, mount):  # moving a folder writes to it (its `..` changes)
                    _rename(parts[-1], folder, target)
            except PermissionError:
                raise _Odd("belongs to another user, who lets this node not have it", is_lost=True) from None
            return ""
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            raise _Odd("was replaced by something that is no file")
        _rename(parts[-1], folder, target)
        if stat.S_ISREG(mode):
            return f"{wanted.path} was replaced by a file, so {wanted.name} is a file"
        return f"{wanted.path} was replaced by a link, so {wanted.name} is a link, without what it leads to"

    def _parent_of(self, parts: tuple[str, ...], opened: contextlib.ExitStack) -> tuple[int, int]:
        """The open folder that holds the result path, and the mount of the execution."""
        folder = os.open(self._root, _PARENT)
        opened.callback(os.close, folder)
        mount = mount_of(folder)
        try:
            for name in (self._workspace.name, *parts[:-1]):
                try:
                    folder = opened.enter_context(entered(name, folder, mount))
                except IsMounted:
                    folder = os.open(name, FOLDER, dir_fd=folder)
                    opened.callback(os.close, folder)
        except FileNotFoundError:
            raise _Odd("is missing") from None
        except NotADirectoryError:
            raise _Odd("was replaced by a link, which is not followed, or by something that is not a folder") from None
        return folder, mount

    def _uncovered(self, wanted: ResultPath) -> bool:
        """Whether a mount on the way to the result path, which may have hidden it, is detached."""
        place = PurePosixPath(self._workspace.name, *_parts(wanted))
        on_the_way = {str(each) for each in place.parents} - {"."}
        return any(self._detach(each) for each in mounts_in(self._root) if each.below in on_the_way)

    def _bind(self, handle: int, mode: int, target: Path) -> None:
        if stat.S_ISDIR(mode):
            target.mkdir(mode=RESULT_FOLDER_MODE, exist_ok=True)
        elif stat.S_ISREG(mode):
            target.touch()
        else:
            raise _Odd("is a mount of something that is no file")
        there = os.open(target, _HANDLE)
        try:
            bind(handle, there)
        except OSError as error:
            target.rmdir() if stat.S_ISDIR(mode) else target.unlink()
            raise _Odd(f"is a mount that cannot be archived ({error.strerror})", is_lost=True) from None
        finally:
            os.close(there)

    def _detach(self, mount: Mount) -> bool:
        is_detached = detach(mount)
        log, what = (_log.info, "was") if is_detached else (_log.warning, "cannot be")
        log("%s is mounted by a task that has ended, and %s detached.", os.fsdecode(mount.point), what)
        place, _, path = mount.below.partition("/")
        if place == self._result.name and path:
            self._left_out_count += mount.kind not in WITHOUT_FILES
            self._warn(f"{shown(os.fsencode(path))} is a mount that the task left: what it showed is not in the result")
        return is_detached

    def _warn(self, told: str) -> None:
        if len(self._warnings) < MAX_WARNINGS:
            self._warnings.append(told)


def _parts(wanted: ResultPath) -> tuple[str, ...]:
    return tuple(part for part in PurePosixPath(wanted.path).parts if part != "/")


def _rename(name: str, folder: int, target: Path) -> None:
    if os.path.lexists(target):
        remove_tree(target)  # the task has put something there: it is not its place
    os.rename(name, target, src_dir_fd=folder)
