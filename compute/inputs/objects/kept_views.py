"""Kept views: folders of inputs that a node has made once, for all containers that read the same.

    <DataDir>/compute/inputs/views/<name>/view     what containers mount, read only: a file or a folder
    <DataDir>/compute/inputs/views/<name>/note     what is in it; its other names are those of tasks that use it
    <DataDir>/compute/inputs/views/<name>/files    which files of the cache have further names in there
    <DataDir>/compute/inputs/views/<any>.new       what is being made, and what is being removed
    <DataDir>/compute/inputs/views/<any>.old       what nobody is given any more, and somebody may still use

A container may mount a view for as long as its task has another name of its note (compute/disk/view_notes.py).
"""

import errno
import os
import stat
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from compute.disk import private_file
from compute.disk.disk_watch import BLOCK_BYTES, walk
from compute.disk.removal import remove_tree
from compute.disk.view_notes import Unpacked, ViewNote, read_note

NOT_LINKED = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
"""Where a file system knows no further names, or not so many."""
_DRAFT, _DOUBTED = ".new", ".old"
_NAME_BYTES = 32


class NotLinked(Exception):
    """Nobody can have a view in common with others here."""


class KeptView(NamedTuple):
    used_at: float
    name: str
    own_bytes: int


class KeptViews:
    """Below `root`, each by a name in hex. Every method blocks, and raises OSError. Threads may call them at once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._taking = threading.Lock()
        """Nobody takes a view while it is found out that nobody has it."""

    def __repr__(self) -> str:
        return f"<KeptViews {self._root}>"

    def view(self, name: str) -> Path:
        return self._root / name / "view"

    def draft(self) -> Path:
        """A folder in which a view can be made."""
        folder = self._root / f"{uuid.uuid4().hex}{_DRAFT}"
        folder.mkdir(0o700)
        return folder

    def keep(self, draft: Path, name: str, files: bytes, unpacked: tuple[Unpacked, ...]) -> ViewNote:
        """The draft has become a whole view, in which these files of the cache and these archives are."""
        disk_bytes, own_bytes = _measured(draft)
        note = ViewNote(view=name, disk_bytes=disk_bytes, own_bytes=own_bytes, unpacked=unpacked)
        private_file.replace(draft / "files", files)
        private_file.replace(draft / "note", msgspec.json.encode(note))
        self.remove_unused(name)  # its note was lost
        draft.rename(self._root / name)
        return note

    def take(self, name: str, link: Path) -> ViewNote | None:
        """Use it until the link is gone, which is made; None where it is not there. Raises NotLinked."""
        note = self._root / name / "note"
        try:
            with self._taking:
                os.link(note, link, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in NOT_LINKED:
                raise NotLinked from error
            raise
        try:
            os.utime(note)
            return read_note(link)
        except msgspec.MsgspecError:
            link.unlink()
            return None

    def remove_unused(self, name: str) -> list[str] | None:
        """Remove it, and tell of which files of the cache it was; None if somebody uses it."""
        gone = self._root / f"{uuid.uuid4().hex}{_DRAFT}"
        with self._taking:
            try:
                if os.lstat(self._root / name / "note").st_nlink > 1:
                    return None
            except FileNotFoundError:
                pass
            try:
                (self._root / name).rename(gone)
            except FileNotFoundError:
                return []
        files = _names_in(gone / "files")
        remove_tree(gone)
        return files

    def move_out(self, name: str, place: Path) -> None:
        """Nobody has taken it, and it is to be somebody's own."""
        view = self.view(name)
        if (mode := view.lstat().st_mode) and stat.S_ISDIR(mode):
            view.chmod(0o700)  # else it could not be moved
        view.rename(place)
        place.chmod(stat.S_IMODE(mode))
        remove_tree(self._root / name)

    def doubt(self) -> None:
        """Nothing that is there is to be given to anybody. What is in use goes when it is not any more."""
        for name in self._names():
            if "." not in name:
                (self._root / name).rename(self._root / f"{name}.{uuid.uuid4().hex}{_DOUBTED}")

    def sweep(self) -> None:
        """Remove what is doubted, and not in use any more."""
        for name in self._names():
            if name.endswith(_DOUBTED) and not self._is_used(name):
                remove_tree(self._root / name)

    def open(self) -> None:
        """Remove what an earlier process of the node has not made whole, or not removed."""
        private_file.make_folder(self._root)
        for name in self._names():
            if name.endswith(_DRAFT):
                remove_tree(self._root / name)
        self.sweep()

    def found(self) -> Iterator[KeptView]:
        for name in self._names():
            if "." in name:
                continue
            note = self._root / name / "note"
            try:
                yield KeptView(note.lstat().st_mtime, name, read_note(note).own_bytes)
            except (FileNotFoundError, msgspec.MsgspecError):
                yield KeptView(0.0, name, 0)

    def _names(self) -> list[str]:
        return os.listdir(self._root)  # noqa: PTH208  # names are all that is wanted

    def _is_used(self, name: str) -> bool:
        try:
            return os.lstat(self._root / name / "note").st_nlink > 1
        except FileNotFoundError:
            return False


def _measured(folder: Path) -> tuple[int, int]:
    """What is allocated to all in it, and to what has no name elsewhere; a file with several counts once."""
    total, own = 0, 0
    others = dict[tuple[int, int], int]()
    """How many names of a file are still to be found."""
    for found in walk(folder):
        allocated, file = found.st_blocks * BLOCK_BYTES, (found.st_dev, found.st_ino)
        names = 1 if stat.S_ISDIR(found.st_mode) else found.st_nlink
        total += 0 if file in others else allocated
        left = others.get(file, names) - 1
        if names > 1:
            others[file] = left
        own += allocated if not left else 0
    return total, own


def _names_in(path: Path) -> list[str]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return [content[at : at + _NAME_BYTES].hex() for at in range(0, len(content), _NAME_BYTES)]
