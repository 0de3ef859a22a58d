"""The target folder: files are created below it and nowhere else, whatever an archive's names and links say.

Every step goes from an open directory to one of its own entries and never through a symbolic link, so that no sequence
of members can leave the target, wherever its links lead. What is made never takes the place of something of another
name; see shared/extraction/placed_names.py.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from shared.errors import ArchiveDamaged, CannotExtract, UnsafeArchive
from shared.extraction.attributes import Attributes
from shared.extraction.file_copy import copy_file
from shared.extraction.member_names import Components
from shared.extraction.oddities import CannotHave, Odd, Oddities
from shared.extraction.placed_names import PlacedNames
from shared.extraction.placement_rules import LinkRule, PlacementRules
from shared.extraction.room import free_bytes, keeps_holes

T = TypeVar("T")
LARGE_BYTES = 64 << 20
"""Of a file of this size it is asked beforehand whether it can fit."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE = 0o700
_BAD_NAME = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ENOENT})
_NO_SYMLINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP})
_NO_HARD_LINKS = _NO_SYMLINKS | {errno.EMLINK, errno.EXDEV}


class Made(NamedTuple):
    """What a directory is to be when all that belongs into it is there."""

    permissions: int
    mtime_ns: int
    xattrs: Attributes


class TargetFolder:
    """Creates what an archive holds below `path`, which is made where it does not exist.

    Where `path` was empty at first, a later member of the same name replaces an earlier one, as tar does; otherwise
    whatever exists raises CannotExtract. At most two directories are open at a time. All methods raise UnsafeArchive,
    CannotHave and OSError. What hard links become as copies has `max_copied_bytes` at most.
    """

    def __init__(self, path: Path, rules: PlacementRules, oddities: Oddities, *, max_copied_bytes: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._rules = rules
        self._oddities = oddities
        self._copy_bytes_left = max_copied_bytes
        self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with os.scandir(self._root) as entries:
            self._was_empty = next(entries, None) is None
        self._at: Components = ()
        self._folder = self._root
        self._names = PlacedNames(may_rename=rules.rename_collisions)
        self._made: dict[Components, Made | None] = {}
        self._found: set[Components] = set()
        """Directories that were there before."""

    def __repr__(self) -> str:
        return f"<TargetFolder {str(self._path)!r}>"

    def create_file(self, components: Components, size_bytes: int) -> int:
        """An open descriptor of a new file, for writing."""
        folder = self._open(components[:-1])
        if size_bytes >= LARGE_BYTES and size_bytes > (free := free_bytes(self._root)) and not keeps_holes(self._root):
            raise CannotHave(
                Odd.FILE_TOO_LARGE, f"it has {size_bytes:,} bytes, {free:,} are free, and holes take room there"
            )
        try:
            # In nearly all cases that is all, and there are very many of them.
            descriptor = os.open(self._names.of(components), _NEW_FILE, 0o600, dir_fd=folder)
        except OSError:
            return self._create(folder, components, lambda name: os.open(name, _NEW_FILE, 0o600, dir_fd=folder))
        self._names.note(components)
        return descriptor

    def create_directory(self, components: Components, mode: int, mtime_ns: int, xattrs: Attributes) -> None:
        """`directories` gives what its mode and time are to be in the end; before that they could be in the way."""
        if not components:
            return
        folder = self._open(components[:-1])
        if components not in self._made:
            self._make_directory(folder, components, _PRIVATE)
        if components in self._made:
            self._made[components] = Made(self._rules.permissions(mode), mtime_ns, xattrs)

    def create_symlink(self, components: Components, target: bytes, *, mtime_ns: int) -> None:
        if b"\x00" in target:
            raise UnsafeArchive(f"{shown(components)} is a symbolic link to no name.")
        if self._rules.links is not LinkRule.KEEP_TEXT and _may_leave(components, target):
            self._refuse_link(components, target)
        folder = self._open(components[:-1])

        def make(name: bytes) -> None:
            os.symlink(target, name, dir_fd=folder)

        try:
            self._create(folder, components, make)
        except OSError as error:
            if error.errno in _NO_SYMLINKS:
                raise CannotHave(Odd.SYMLINK_IMPOSSIBLE, f"it leads to {_text(target)}") from error
            raise
        os.utime(self._names.of(components), ns=(mtime_ns, mtime_ns), dir_fd=folder, follow_symlinks=False)

    def _refuse_link(self, components: Components, target: bytes) -> None:
        if self._rules.links is LinkRule.REFUSE:
            raise UnsafeArchive(
                f"{shown(components)} is a symbolic link to {_text(target)}, which leaves the target or could.",
                hint="--links skip leaves such links out, --links keep-text makes them as they stand.",
            )
        raise CannotHave(Odd.LINK_LEAVES_RESULT, f"it leads to {_text(target)}")

    def create_hard_link(self, components: Components, target: Components) -> None:
        """`target` must be a regular file already; a link to a symbolic link could point out of the target."""
        # Not `self._open`, which would close the first directory when it opens the second.
        source = os.dup(self._open(target[:-1]))
        try:
            name = self._names.of(target)
            size_bytes = self._linkable(source, name, components, target)
            if components == target:
                return
            folder = self._open(components[:-1])
            try:
                self._create(folder, components, lambda new: _link(source, name, folder, new))
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                self._copy(source, name, components, size_bytes)
        finally:
            os.close(source)

    def _linkable(self, source: int, name: bytes, components: Components, target: Components) -> int:
        """The size of the file behind a hard link. Raises where it is none, or not what the archive means by it."""
        left_out = CannotHave(Odd.HARD_LINK_LEFT_OUT, f"it is another name of {shown(target)}, which is not there")
        try:
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
        except OSError as error:
            if self._oddities.counts and error.errno in _BAD_NAME:
                raise left_out from error
            if error.errno == errno.ENOENT:
                raise ArchiveDamaged(
                    f"{shown(components)} is a hard link to {shown(target)}, which has not come before."
                ) from None
            raise
        if not stat.S_ISREG(status.st_mode):
            raise UnsafeArchive(f"{shown(components)} is a hard link to {shown(target)}, which is not a file.")
        if self._names.has_collided(target):
            raise left_out
        return status.st_size

    def _copy(self, source: int, name: bytes, components: Components, size_bytes: int) -> None:
        if size_bytes > self._copy_bytes_left:
            raise CannotHave(Odd.HARD_LINK_LEFT_OUT, "the copies of linked files would be too large")
        self._copy_bytes_left -= size_bytes
        descriptor = self.create_file(components, size_bytes)
        try:
            copy_file(source, name, descriptor)
        finally:
            os.close(descriptor)
        self._oddities.add(Odd.HARD_LINK_COPIED, components, f"another name of {_text(name)}")

    def directories(self) -> Iterator[tuple[int, Components, Made]]:
        """Those that were made and are to get modes and times, the deepest first; each is open until the next one."""
        for components in sorted(self._made, reverse=True):
            made = self._made[components]
            if made is not None:
                yield self._open(components), components, made

    def remove(self, components: Components) -> None:
        """Take away what was made of an entry last."""
        os.unlink(self._names.of(components), dir_fd=self._open(components[:-1]))

    def close(self) -> None:
        """Close the directories. May be called again."""
        self._leave()
        if self._root >= 0:
            os.close(self._root)
            self._root = self._folder = -1

    def _open(self, components: Components) -> int:
        """The descriptor of a directory, valid until the next call; it is made where it does not exist."""
        if components == self._at:
            return self._folder
        if components[: len(self._at)] != self._at:
            self._leave()
        for depth in range(len(self._at) + 1, len(components) + 1):
            folder = self._step(self._folder, components[:depth])
            self._leave()
            self._at, self._folder = components[:depth], folder
        return self._folder

    def _step(self, folder: int, components: Components) -> int:
        if components not in self._made and components not in self._found:
            self._make_directory(folder, components, 0o777)
        return _open_folder(folder, self._names.of(components), components)

    def _make_directory(self, folder: int, components: Components, mode: int) -> None:
        """Make a directory of this name; where the target was not empty, one may have been there before."""

        def make(name: bytes) -> None:
            os.mkdir(name, mode, dir_fd=folder)

        with _naming(folder):
            try:
                make(components[-1])
            except FileExistsError:
                if not self._was_empty or self._names.was_made(components):
                    os.close(_open_folder(folder, components[-1], components))
                    self._found.add(components)
                    return
                self._rename(components, make)
        self._made[components] = None
        self._names.note(components)

    def _create(self, folder: int, components: Components, make: Callable[[bytes], T]) -> T:
        """Make what is no directory; what the archive had under this very name before is replaced."""
        name = self._names.of(components)
        with _naming(folder):
            try:
                made = make(name)
            except FileExistsError:
                if self._was_empty and not self._names.was_made(components):
                    made = self._rename(components, make)
                else:
                    self._make_way(folder, name, components)
                    made = make(name)
        self._names.note(components)
        return made

    def _rename(self, components: Components, make: Callable[[bytes], T]) -> T:
        made = self._names.renamed(components, make)
        self._oddities.add(Odd.RENAMED, components, f"it is called {_text(self._names.of(components))}")
        return made

    def _leave(self) -> None:
        if self._folder != self._root:
            os.close(self._folder)
        self._at, self._folder = (), self._root

    def _make_way(self, folder: int, name: bytes, components: Components) -> None:
        if not self._was_empty or stat.S_ISDIR(_mode(folder, name)):
            raise CannotExtract(f"{shown(components)} exists already.", hint="Extract into an empty directory.")
        os.unlink(name, dir_fd=folder)


def shown(components: Components) -> str:
    """A path as it may stand in a message: printable and not too long."""
    text = repr(os.fsdecode(b"/".join(components)))
    return text if len(text) <= 160 else f"...{text[-160:]}"


def _text(name: bytes) -> str:
    return repr(os.fsdecode(name[:160]))


@contextmanager
def _naming(folder: int) -> Iterator[None]:
    """Tells a name that the file system cannot have from other failures to make something in an open directory."""
    try:
        yield
    except OSError as error:
        if error.errno not in _BAD_NAME or not os.fstat(folder).st_nlink:
            raise
        why = "it is too long" if error.errno == errno.ENAMETOOLONG else "the file system refuses it"
        raise CannotHave(Odd.NAME_IMPOSSIBLE, why) from error


def _open_folder(folder: int, name: bytes, components: Components) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except NotADirectoryError:
        pass
    if stat.S_ISLNK(_mode(folder, name)):
        raise UnsafeArchive(f"The archive tries to write through the symbolic link {shown(components)}.")
    raise CannotExtract(f"{shown(components)} exists already and is not a directory.")


def _mode(folder: int, name: bytes) -> int:
    return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode


def _link(source: int, target: bytes, folder: int, name: bytes) -> None:
    os.link(target, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)


def _may_leave(components: Components, target: bytes) -> bool:
    """Whether the link at `components` may lead out of the target, judged by its text alone.

    That is enough because a link lies in real directories, no directory is ever replaced, and only the first
    components of the text may be `..` here.
    """
    steps = [step for step in target.split(b"/") if step not in {b"", b"."}]
    ups = next((index for index, step in enumerate(steps) if step != b".."), len(steps))
    return target.startswith(b"/") or ups > len(components) - 1 or b".." in steps[ups:]
