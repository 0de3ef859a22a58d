"""How a directory tree becomes the bytes of a tar archive, always the same ones for the same tree.

Entries come in the order of their names' bytes within each directory, a directory before what it holds. Permissions,
whole-second times, symbolic links and hard links are kept; owners are not. What cannot be archived is left out with a
warning, because a result with one unreadable file is worth more than none.

Directories are opened relative to one another and never through a symbolic link, so that a process left over from the
task cannot lead the archive out of the tree by exchanging a directory while it is read.
"""

import errno
import os
import stat
from collections.abc import Generator, Iterator
from typing import NamedTuple

from compute.tar_header import END_OF_ARCHIVE, EntryKind, entry_header, padding

BLOCK_BYTES = 1 << 20
READ_BYTES = 256 << 10
MAX_DEPTH = 256
"""Directories below this depth are left out, because one file descriptor is held for each level."""
MAX_WARNINGS = 100
MAX_NAME_IN_WARNING = 160

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: a fifo that took the place of a file must not stop the archive.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_KEPT_MODE_BITS = 0o1777  # neither setuid nor setgid


class _Folder(NamedTuple):
    descriptor: int
    path: bytes
    names: Iterator[bytes]


class TarStream:
    """`blocks()`, called once, gives the tar in blocks of exactly `block_bytes` bytes and a shorter last one.

    Nothing is read before it is asked for, and at most one block, the listings of the directories on the way to the
    present entry and a table of the files that have several links are in memory. Raises OSError where the root itself
    cannot be read. Closing the generator closes all its descriptors.

    After the end: `entries`, `raw_bytes` (content of regular files), up to 100 `warnings` and their full number.
    """

    def __init__(self, root: str | os.PathLike[str], *, block_bytes: int = BLOCK_BYTES) -> None:
        self._root = os.fsencode(root)
        self._block_bytes = block_bytes
        self._folders: list[_Folder] = []
        self._linked: dict[tuple[int, int], bytes] = {}
        self.entries = 0
        self.raw_bytes = 0
        self.warnings: list[str] = []
        self.warnings_count = 0

    def __repr__(self) -> str:
        return f"<TarStream {os.fsdecode(self._root)!r} entries={self.entries} raw_bytes={self.raw_bytes}>"

    def blocks(self) -> Generator[bytes, None, None]:
        pieces = self._pieces()
        block = bytearray()
        try:
            for piece in pieces:
                block += piece
                while len(block) >= self._block_bytes:
                    yield bytes(memoryview(block)[: self._block_bytes])
                    del block[: self._block_bytes]
            if block:
                yield bytes(block)
        finally:
            pieces.close()

    def _pieces(self) -> Generator[bytes, None, None]:
        self._enter(os.open(self._root, _FOLDER), b"")
        try:
            while self._folders:
                folder = self._folders[-1]
                name = next(folder.names, None)
                if name is None:
                    os.close(self._folders.pop().descriptor)
                    continue
                try:
                    yield from self._entry(folder, name)
                except OSError as error:
                    self._warn(folder.path + name, f"was left out: {_reason(error)}")
        finally:
            while self._folders:
                os.close(self._folders.pop().descriptor)
        yield END_OF_ARCHIVE

    def _entry(self, folder: _Folder, name: bytes) -> Iterator[bytes]:
        """The pieces of one entry. An OSError may only come out before the first piece or after the last one."""
        path = folder.path + name
        status = os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            yield from self._file(folder, name, status)
        elif stat.S_ISDIR(status.st_mode):
            yield self._header(EntryKind.DIRECTORY, path + b"/", status)
            self._descend(folder, name)
        elif stat.S_ISLNK(status.st_mode):
            target = os.readlink(name, dir_fd=folder.descriptor)
            yield self._header(EntryKind.SYMLINK, path, status, link_target=target)
        else:
            self._warn(path, "was left out: it is a socket, a fifo or a device")

    def _descend(self, folder: _Folder, name: bytes) -> None:
        path = folder.path + name
        if len(self._folders) >= MAX_DEPTH:
            self._warn(path, f"was archived without its content: it lies more than {MAX_DEPTH} directories deep")
            return
        try:
            self._enter(os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder.descriptor), path + b"/")
        except OSError as error:
            self._warn(path, f"was archived without its content: {_reason(error)}")

    def _enter(self, descriptor: int, path: bytes) -> None:
        try:
            names = sorted(os.fsencode(name) for name in os.listdir(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        self._folders.append(_Folder(descriptor, path, iter(names)))

    def _file(self, folder: _Folder, name: bytes, status: os.stat_result) -> Iterator[bytes]:
        path = folder.path + name
        identity = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and identity in self._linked:
            yield self._header(EntryKind.HARD_LINK, path, status, link_target=self._linked[identity])
            return
        descriptor = os.open(name, _FILE, dir_fd=folder.descriptor)
        try:
            if status.st_nlink > 1:
                self._linked[identity] = path
            self.raw_bytes += status.st_size
            yield self._header(EntryKind.FILE, path, status, size_bytes=status.st_size)
            yield from self._content(descriptor, path, status.st_size)
        finally:
            os.close(descriptor)

    def _content(self, descriptor: int, path: bytes, size_bytes: int) -> Iterator[bytes]:
        """Exactly `size_bytes` and the padding, whatever happens to the file meanwhile: the header has gone out."""
        left = size_bytes
        why = "became shorter while it was read"
        while left:
            try:
                data = os.read(descriptor, min(left, READ_BYTES))
            except OSError as error:
                data, why = b"", f"could not be read to its end ({_reason(error)})"
            if not data:
                break
            left -= len(data)
            yield data
        if left:
            self._warn(path, f"{why}: its last {left} bytes are zeros in the archive")
        elif _has_more(descriptor):
            self._warn(path, f"grew while it was read: it was cut at {size_bytes} bytes")
        while left:
            yield bytes(min(left, READ_BYTES))
            left -= min(left, READ_BYTES)
        yield padding(size_bytes)

    def _header(
        self, kind: EntryKind, path: bytes, status: os.stat_result, *, size_bytes: int = 0, link_target: bytes = b""
    ) -> bytes:
        self.entries += 1
        return entry_header(
            kind,
            path,
            mode=status.st_mode & _KEPT_MODE_BITS,
            mtime=status.st_mtime_ns // 1_000_000_000,
            size_bytes=size_bytes,
            link_target=link_target,
        )

    def _warn(self, path: bytes, what: str) -> None:
        self.warnings_count += 1
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(f"{_shown(path)} {what}")


def _has_more(descriptor: int) -> bool:
    try:
        return bool(os.read(descriptor, 1))
    except OSError:
        return False


def _reason(error: OSError) -> str:
    return "it vanished" if error.errno == errno.ENOENT else (error.strerror or str(error))


def _shown(path: bytes) -> str:
    """A path as it may stand in a message: printable, valid Unicode, not too long."""
    text = repr(os.fsdecode(path))
    return text if len(text) <= MAX_NAME_IN_WARNING else f"...{text[-MAX_NAME_IN_WARNING:]}"
