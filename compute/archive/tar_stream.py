"""The bytes of a tar archive of a directory tree, always the same ones for the same tree.

Entries come in the order of their names' bytes within each directory, a directory before what it holds. Permissions,
whole-second times, symbolic links and hard links are kept; owners are not. Instead of hard links there may be copies.
What cannot be archived is left out with a warning, because a result with one unreadable file is worth more than none.
The holes of a sparse file are not read: they become blocks of zeros, which cost next to nothing.

Directories are opened relative to one another and never through a symbolic link, so that a process left over from the
task cannot lead the archive out of the tree by exchanging a directory while it is read. Only what is in the root may be
a mount; any other is archived as an empty directory.
"""

import errno
import os
import stat
import sys
from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple

from compute.archive.tar_header import BLOCK, END_OF_ARCHIVE, EntryKind, entry_header, padding, plain_file_header
from compute.disk.file_attributes import MAX_BYTES, Records, TooManyAttributes, attribute_records
from compute.disk.folder_access import checked_mount, opened_to_read
from compute.disk.holes import has_more, hole_at
from compute.disk.result_contents import ALL, ResultContents, Written, kept_mode, shown, whole_mtime
from shared.protocol.archive_index import DirectoryLine, EntryLine, FileLine, HardLinkLine, SymlinkLine, spelled

BLOCK_BYTES = 1 << 20
ZEROS = bytes(BLOCK_BYTES)
"""The very object that is given for a block out of the middle of a hole."""
SMALL_BYTES = 64 << 10
"""A file up to this size is read with one call, before its header is written."""
MAX_DEPTH = 256
"""Directories below this depth are left out, because one file descriptor is held for each level."""
MAX_WARNINGS = 100

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: a fifo that took the place of a file must not stop the archive.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_NAMES = sys.getfilesystemencoding()
_SECTOR = 512  # the unit of st_blocks
_GREW = "grew while it was read: it was cut at {} bytes"
_SHRANK = "{}: its last {} bytes are zeros in the archive"


class _Folder(NamedTuple):
    descriptor: int
    path: bytes
    names: Iterator[bytes]
    files: set[bytes]
    """Those names that are regular files by the listing, which saves looking."""
    mount: int = 0
    """To which the directory belongs, but for the root."""
    closed_mode: int | None = None
    """To be set again at the end."""


class TarStream:
    """`blocks()`, called once, gives the tar in blocks of exactly 1 MiB and a shorter last one.

    Nothing is read before it is asked for, and at most two blocks, the listings of the directories on the way to the
    present entry and a table of the files that have several links are in memory. Raises OSError where the root itself
    cannot be read. Closing the generator closes all its descriptors.

    `take_lines()` gives what the index says of the entries that began since it was called last. After the end:
    `entries`, `raw_bytes` (content of regular files), up to 100 `warnings` and their full number, and how many entries
    were left out or are not as the task wrote them. Sockets, fifos and devices have no content to lack.
    """

    def __init__(self, root: str | os.PathLike[str], contents: ResultContents = ALL) -> None:
        self._root = os.fsencode(root)
        self._contents = contents
        self._written = {each.name: each for each in contents.written}
        self._folders: list[_Folder] = []
        self._linked: dict[tuple[int, int], bytes] = {}
        self._pieces: list[bytes] = []
        self._pending_bytes = 0
        """In the pieces: what is not yet a whole block. More than one only while an entry is being added."""
        self._given_bytes = 0
        self._lines: list[EntryLine] = []
        self.entries = 0
        self.raw_bytes = 0
        self.warnings: list[str] = []
        self.warnings_count = 0
        self.left_out_count = 0

    def __repr__(self) -> str:
        return f"<TarStream {os.fsdecode(self._root)!r} entries={self.entries} raw_bytes={self.raw_bytes}>"

    def take_lines(self) -> list[EntryLine]:
        lines, self._lines = self._lines, []
        return lines

    def blocks(self) -> Generator[bytes, None, None]:
        self._begin()
        try:
            while self._folders:
                folder = self._folders[-1]
                name = next(folder.names, None)
                if name is None:
                    self._leave()
                    continue
                try:
                    yield from self._entry(folder, name)
                except OSError as error:
                    self._lack(folder.path + name, f"was left out: {_reason(error)}")
                if self._pending_bytes >= BLOCK_BYTES:
                    yield from self._full_blocks()
        finally:
            while self._folders:
                self._leave()
        self._put(END_OF_ARCHIVE)
        yield from self._full_blocks()
        if self._pending_bytes:
            yield b"".join(self._pieces)

    def _full_blocks(self) -> Iterator[bytes]:
        joined = b"".join(self._pieces)
        at = 0
        while len(joined) - at >= BLOCK_BYTES:
            block = joined[at : at + BLOCK_BYTES]
            at += BLOCK_BYTES
            self._given_bytes += BLOCK_BYTES
            self._pending_bytes -= BLOCK_BYTES
            yield block
        self._pieces = [joined[at:]]

    def _put(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._pending_bytes += len(piece)

    def _entry(self, folder: _Folder, name: bytes) -> Iterable[bytes]:
        """Add one entry. An OSError may only come out before its first byte or after its last one."""
        if name in folder.files:
            return self._file(folder, name)
        path = folder.path + name
        if not folder.path and name in self._written:
            self._add_written(self._written[name])
            return ()
        status = os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            return self._file(folder, name)
        if stat.S_ISDIR(status.st_mode):
            attributes = self._attributes(f"/proc/self/fd/{folder.descriptor}/{os.fsdecode(name)}", path)
            self._add_header(EntryKind.DIRECTORY, path + b"/", status, attributes=attributes)
            text, base64 = spelled(path)
            self._lines.append(
                DirectoryLine(path=text, path_base64=base64, mode=kept_mode(status), mtime=whole_mtime(status))
            )
            self._descend(folder, name)
        elif stat.S_ISLNK(status.st_mode):
            target = self._contents.link_target(path, os.readlink(name, dir_fd=folder.descriptor))
            self._add_header(EntryKind.SYMLINK, path, status, link_target=target)
            self._add_link(SymlinkLine, path, target, status)
        else:
            self._leave_out_special(path)
        return ()

    def _begin(self) -> None:
        """Enter the root, or archive all there is where nothing of it counts."""
        if self._contents.names is not None and not self._contents.names:
            for name in sorted(self._written):
                self._add_written(self._written[name])
            return
        self._enter(os.open(self._root, _FOLDER), None, b"")
        self._choose(self._folders[0])

    def _choose(self, root: _Folder) -> None:
        """Of the root, what the contents name."""
        if self._contents is not ALL:
            there = set(filter(self._contents.has, root.names))
            self._folders[0] = root._replace(
                names=iter(sorted(there | self._written.keys())), files=root.files - self._written.keys()
            )

    def _add_written(self, file: Written) -> None:
        size_bytes = len(file.content)
        self._begin_file(file.name, file.mode, size_bytes, file.mtime)
        self._put(file.content + padding(size_bytes))

    def _descend(self, folder: _Folder, name: bytes) -> None:
        path = folder.path + name
        if len(self._folders) >= MAX_DEPTH:
            self._lack(path, f"was archived without its content: it lies more than {MAX_DEPTH} directories deep")
            return
        try:
            try:
                opened, mode = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder.descriptor), None
            except PermissionError:
                opened, mode = opened_to_read(name, _FOLDER | os.O_NOFOLLOW, folder.descriptor)
            self._enter(opened, mode, path + b"/", folder)
        except OSError as error:
            self._lack(path, f"was archived without its content: {_reason(error)}")

    def _leave(self) -> None:
        folder = self._folders.pop()
        if folder.closed_mode is not None:
            os.fchmod(folder.descriptor, folder.closed_mode)
        os.close(folder.descriptor)

    def _enter(self, descriptor: int, closed_mode: int | None, path: bytes, within: _Folder | None = None) -> None:
        names: list[bytes] = []
        files: set[bytes] = set()
        mount = 0
        try:
            if within is not None:
                mount = checked_mount(descriptor, path, within.mount)
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    name = entry.name.encode(_NAMES, "surrogateescape")  # as os.fsencode, at less cost
                    names.append(name)
                    if entry.is_file(follow_symlinks=False):
                        files.add(name)
            names.sort()
        except BaseException:
            os.close(descriptor)
            raise
        self._folders.append(_Folder(descriptor, path, iter(names), files, mount, closed_mode))

    def _file(self, folder: _Folder, name: bytes) -> Iterable[bytes]:
        path = folder.path + name
        handed_on = False
        try:
            descriptor = os.open(name, _FILE, dir_fd=folder.descriptor)
        except PermissionError:
            descriptor, mode = opened_to_read(name, _FILE, folder.descriptor)
            os.fchmod(descriptor, mode)
        try:
            status = os.fstat(descriptor)
            size_bytes = status.st_size
            if not stat.S_ISREG(status.st_mode):
                self._leave_out_special(path)
            elif status.st_nlink > 1 and not self._contents.copies_links and self._is_linked(path, status):
                pass
            elif size_bytes > SMALL_BYTES:
                handed_on = True
                return self._large_file(descriptor, path, status)
            else:
                content = os.read(descriptor, size_bytes + 1)
                self._add_file(descriptor, path, status)
                if len(content) != size_bytes:
                    content = self._fitted(content, path, size_bytes)
                self._pieces.append(content)
                if rest := -size_bytes % BLOCK:
                    self._pieces.append(bytes(rest))
                self._pending_bytes += size_bytes + rest
        finally:
            if not handed_on:
                os.close(descriptor)
        return ()

    def _large_file(self, descriptor: int, path: bytes, status: os.stat_result) -> Iterator[bytes]:
        try:
            self._add_file(descriptor, path, status)
            yield from self._content(descriptor, path, status)
            self._put(padding(status.st_size))
        finally:
            os.close(descriptor)

    def _fitted(self, content: bytes, path: bytes, size_bytes: int) -> bytes:
        """What was read of a small file that was changed after its size was asked for."""
        if len(content) > size_bytes:
            self._lack(path, _GREW.format(size_bytes))
            return content[:size_bytes]
        self._lack(path, _SHRANK.format("became shorter while it was read", size_bytes - len(content)))
        return content.ljust(size_bytes, b"\x00")

    def _add_file(self, descriptor: int, path: bytes, status: os.stat_result) -> None:
        try:
            has_attributes = os.listxattr(descriptor)  # nearly all have none, and there are very many
        except OSError:  # none on this file system
            has_attributes = []
        attributes = self._attributes(descriptor, path) if has_attributes else ()
        self._begin_file(path, kept_mode(status), status.st_size, whole_mtime(status), attributes)

    def _attributes(self, file: int | str, path: bytes) -> Records:
        try:
            return attribute_records(file)
        except TooManyAttributes:
            self._warn(path, f"was archived without its extended attributes: they have more than {MAX_BYTES:,} bytes")
        except OSError as error:
            self._warn(path, f"was archived without its extended attributes: {_reason(error)}")
        return ()

    def _begin_file(self, path: bytes, mode: int, size_bytes: int, mtime: int, attributes: Records = ()) -> None:
        self.entries += 1
        self.raw_bytes += size_bytes
        if attributes:
            header = entry_header(
                EntryKind.FILE, path, mode=mode, mtime=mtime, size_bytes=size_bytes, attributes=attributes
            )
        else:
            header = plain_file_header(path, mode, size_bytes, mtime)
        self._pieces.append(header)
        self._pending_bytes += len(header)
        at = self._given_bytes + self._pending_bytes
        text, base64 = spelled(path)
        self._lines.append(FileLine(path=text, path_base64=base64, mode=mode, mtime=mtime, size=size_bytes, at=at))

    def _is_linked(self, path: bytes, status: os.stat_result) -> bool:
        """Whether this file is in the archive already, under another name; the entry has then been added."""
        first = self._linked.setdefault((status.st_dev, status.st_ino), path)
        if first == path:
            return False
        self._add_header(EntryKind.HARD_LINK, path, status, link_target=first)
        self._add_link(HardLinkLine, path, first, status)
        return True

    def _add_link(
        self, kind: type[SymlinkLine | HardLinkLine], path: bytes, target: bytes, status: os.stat_result
    ) -> None:
        text, base64 = spelled(path)
        target_text, target_base64 = spelled(target)
        line = kind(
            path=text,
            path_base64=base64,
            mode=kept_mode(status),
            mtime=whole_mtime(status),
            target=target_text,
            target_base64=target_base64,
        )
        self._lines.append(line)

    def _content(self, descriptor: int, path: bytes, status: os.stat_result) -> Iterator[bytes]:
        """Exactly the size that the header says, whatever happens to the file meanwhile: the header has gone out."""
        size_bytes = status.st_size
        is_sparse = status.st_blocks * _SECTOR < size_bytes
        at = 0
        why = "became shorter while it was read"
        while at < size_bytes:
            room = min(size_bytes - at, BLOCK_BYTES - self._pending_bytes)
            try:
                hole = hole_at(descriptor, at, size_bytes) if is_sparse else 0
                data = _zeros(min(room, hole)) if hole else os.pread(descriptor, room, at)
            except OSError as error:
                data, why = b"", f"could not be read to its end ({_reason(error)})"
            if not data:
                break
            at += len(data)
            yield from self._add(data)
        if at < size_bytes:
            self._lack(path, _SHRANK.format(why, size_bytes - at))
        elif has_more(descriptor, size_bytes):
            self._lack(path, _GREW.format(size_bytes))
        while at < size_bytes:
            room = min(size_bytes - at, BLOCK_BYTES - self._pending_bytes)
            at += room
            yield from self._add(_zeros(room))

    def _add(self, data: bytes) -> Iterator[bytes]:
        """Not more than fits into the block; a whole block is given as it is, without copying it."""
        if len(data) == BLOCK_BYTES:
            self._given_bytes += BLOCK_BYTES
            yield data
            return
        self._put(data)
        if self._pending_bytes == BLOCK_BYTES:
            yield from self._full_blocks()

    def _add_header(
        self,
        kind: EntryKind,
        path: bytes,
        status: os.stat_result,
        *,
        link_target: bytes = b"",
        attributes: Records = (),
    ) -> None:
        self.entries += 1
        header = entry_header(
            kind,
            path,
            mode=kept_mode(status),
            mtime=whole_mtime(status),
            link_target=link_target,
            attributes=attributes,
        )
        self._put(header)

    def _leave_out_special(self, path: bytes) -> None:
        self._warn(path, "was left out: it is a socket, a fifo or a device")

    def _lack(self, path: bytes, what: str) -> None:
        self.left_out_count += 1
        self._warn(path, what)

    def _warn(self, path: bytes, what: str) -> None:
        self.warnings_count += 1
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(f"{shown(path)} {what}")


def _zeros(size_bytes: int) -> bytes:
    return ZEROS if size_bytes == BLOCK_BYTES else bytes(size_bytes)


def _reason(error: OSError) -> str:
    return "it vanished" if error.errno == errno.ENOENT else (error.strerror or str(error))
