"""Removal of a folder with all in it and nothing else: no link is followed and no mount entered.

What a task has mounted is detached first. What cannot be detached is left, and so are the folders on the way to it.
"""

import logging
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compute.disk.folder_access import entered
from compute.disk.mounts import detach_in, mount_of, uncover

_log = logging.getLogger(__name__)

_LEVELS = 64
"""So many folders below one another are open at once; what lies deeper moves up before it is emptied."""


def remove_tree(root: Path) -> None:
    """Remove a folder and all in it, also what a task has made read-only or too deep to be named. Absent is fine.

    Raises OSError, after all else is removed, where something has to be left.
    """
    # Absent as for a task without files; the rest would cost more.
    if not os.path.lexists(root) and not (uncover(root) and os.path.lexists(root)):
        return
    for mount in detach_in(root):
        _log.warning("%s is mounted, cannot be detached and is left.", os.fsdecode(mount.point))
    if not stat.S_ISDIR(root.lstat().st_mode):
        root.unlink()
        return
    parent = os.open(root.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _Removal(root, mount_of(parent)).run(parent)
    finally:
        os.close(parent)


class _Removal:
    def __init__(self, root: Path, mount: int) -> None:
        self._root = root
        self._mount = mount
        self._moved: list[str] = []
        """Names in the root of folders that lay too deep."""
        self._problem: OSError | None = None

    def run(self, parent: int) -> None:
        name = self._root.name
        with self._noting(), entered(name, parent, self._mount) as top:
            self._empty(top, top, 1)
            while self._moved:
                with self._noting():
                    self._remove_folder(self._moved.pop(), top, top, 1)
        if self._problem is not None:
            raise self._problem
        os.rmdir(name, dir_fd=parent)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Go on with all else; what is gone already is fine."""
        try:
            yield
        except FileNotFoundError:
            pass
        except OSError as error:
            self._problem = self._problem or error

    def _empty(self, folder: int, top: int, level: int) -> None:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_folder in found:
            with self._noting():
                if is_folder:
                    self._remove_folder(name, folder, top, level)
                else:
                    os.unlink(name, dir_fd=folder)

    def _remove_folder(self, name: str, folder: int, top: int, level: int) -> None:
        with entered(name, folder, self._mount) as within:
            if level < _LEVELS:
                self._empty(within, top, level + 1)
        if level < _LEVELS:
            os.rmdir(name, dir_fd=folder)
            return
        self._moved.append(uuid.uuid4().hex)
        os.rename(name, self._moved[-1], src_dir_fd=folder, dst_dir_fd=top)
