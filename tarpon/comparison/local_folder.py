"""A folder of this machine that is compared, such as one into which a result was fetched."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from shared.errors import InvalidInput
from shared.extraction.tar_reader import Member, MemberKind
from tarpon.archive.plain import OnBytes, Take
from tarpon.comparison.entries import ComparedEntry, of_member
from tarpon.transfer.download import in_thread

_READ_BYTES = 1 << 20
_KINDS = {
    stat.S_IFREG: MemberKind.FILE,
    stat.S_IFDIR: MemberKind.DIRECTORY,
    stat.S_IFLNK: MemberKind.SYMLINK,
    stat.S_IFIFO: MemberKind.FIFO,
    stat.S_IFCHR: MemberKind.CHARACTER_DEVICE,
    stat.S_IFBLK: MemberKind.BLOCK_DEVICE,
}


def check_folder(folder: Path) -> None:
    """Raise InvalidInput unless there is a folder. Blocks."""
    if not folder.is_dir():
        named = repr(str(folder)[:200])
        raise InvalidInput(
            f"{named} is no folder." if folder.exists() else f"There is no folder {named} on this machine.",
            hint="`tarpon job get JOB` fetches a result, and tells into which folder.",
        )


class LocalContents:
    """Its entries in the order in which a result has them; no link is followed."""

    def __init__(self, root: Path) -> None:
        """Raises InvalidInput where it is no folder."""
        check_folder(root)
        self._root = os.fsencode(root)

    def __repr__(self) -> str:
        return f"<LocalContents of {os.fsdecode(self._root)}>"

    def entries(self) -> Iterator[Member]:
        """Raises OSError."""
        return self._below(b"", {})

    def _below(self, folder: bytes, linked: dict[tuple[int, int], bytes]) -> Iterator[Member]:
        for name in sorted(os.listdir(os.path.join(self._root, folder))):  # noqa: PTH118, PTH208  # names are bytes
            member = self._member(folder + name, linked)
            yield member
            if member.kind is MemberKind.DIRECTORY:
                yield from self._below(member.name + b"/", linked)

    def _member(self, name: bytes, linked: dict[tuple[int, int], bytes]) -> Member:
        """Of several names of a file the first one is it, as in an archive."""
        status = os.lstat(self.path_of(name))
        kind, target = _KINDS.get(stat.S_IFMT(status.st_mode), MemberKind.FIFO), b""
        if kind is MemberKind.SYMLINK:
            target = os.readlink(self.path_of(name))  # noqa: PTH115  # names are bytes
        elif kind is MemberKind.FILE and status.st_nlink > 1:
            target = linked.setdefault((status.st_dev, status.st_ino), name)
            kind, target = (kind, b"") if target == name else (MemberKind.HARD_LINK, target)
        return Member(
            kind=kind,
            name=name,
            link_target=target,
            size_bytes=status.st_size if kind is MemberKind.FILE else 0,
            mode=stat.S_IMODE(status.st_mode),
            mtime_ns=status.st_mtime_ns,
        )

    def path_of(self, name: bytes) -> bytes:
        return self._root + b"/" + name

    @contextmanager
    def opened(self, name: bytes) -> Iterator[BufferedReader]:
        with os.fdopen(os.open(self.path_of(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            yield file

    def sha256(self, name: bytes) -> bytes:
        with self.opened(name) as file:
            return hashlib.file_digest(file, "sha256").digest()

    async def read(self, files: Sequence[Member], take: Take, on_bytes: OnBytes) -> None:
        def give() -> None:
            for member in files:
                take(member)
                with self.opened(member.name) as file:
                    while piece := file.read(_READ_BYTES):
                        take(memoryview(piece))

        await in_thread(give)
        on_bytes(1, 1)

    async def data_bytes(self, files: Sequence[Member] | None) -> int:  # noqa: ARG002  # the protocol's
        return 0

    async def part_readers(self, files: Sequence[Member]) -> "list[_PartOfFile]":
        return [_PartOfFile(self, each.name) for each in files]


class LocalFolder:
    """As what was published is compared with: each file with its digest."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.contents = LocalContents(root)

    def __repr__(self) -> str:
        return f"<LocalFolder {self.contents!r}>"

    def entries(self) -> Iterator[ComparedEntry]:
        """Raises OSError."""
        for member in self.contents.entries():
            is_file = member.kind is MemberKind.FILE
            yield of_member(member, self.contents.sha256(member.name) if is_file else b"")


class _PartOfFile:
    def __init__(self, contents: LocalContents, name: bytes) -> None:
        self._contents = contents
        self._name = name

    def __repr__(self) -> str:
        return f"<_PartOfFile {self._name!r}>"

    async def read(self, start: int, end: int) -> bytes:
        def read() -> bytes:
            with self._contents.opened(self._name) as file:
                return os.pread(file.fileno(), max(0, end - start), start)

        return await in_thread(read)

    def close(self) -> None:
        pass
