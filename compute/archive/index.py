"""The index beside an archive, written while the archive is made. What is in it tells shared/protocol/archive_index.py.

It is the one thing that grows with the number of entries, so beyond a bound it goes from memory to a file. Where the
disk does not take that, there is no index: a result without one is better than none.
"""

import hashlib
import mmap
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from isal import isal_zlib

from shared.protocol.archive_index import VERSION, BlockLine, EntryLine, IndexEnd, IndexHead, IndexLine

IN_MEMORY_BYTES = 4 << 20
_GZIP = 31  # zlib's number for a gzip member with the largest window
_LEVEL = 1

_encoder = msgspec.json.Encoder()


class ArchiveIndex:
    """Add the lines of a block's entries and then the block, in order; `finish()`; then `content()` can be read.

    `folder` is where it goes once it is too large for memory. All methods block. `close()` removes it. There is nothing
    to be read once there is a `problem`.
    """

    def __init__(self, folder: Path) -> None:
        # Closed by close(); a temporary file has no name that could be left behind.
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES, dir=str(folder))  # noqa: SIM115
        self._deflate = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
        self._digest = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._entries = 0
        self._blocks = 0
        self._tar_bytes = 0
        self.size_bytes = 0
        self.problem: OSError | None = None
        self._add([IndexHead(version=VERSION)])

    def __repr__(self) -> str:
        return f"<ArchiveIndex: {self._entries} entries in {self._blocks} blocks>"

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def md5(self) -> bytes:
        return self._md5.digest()

    def add(self, entries: Sequence[EntryLine], block: BlockLine) -> None:
        self._entries += len(entries)
        self._blocks += 1
        self._tar_bytes += block.tar_bytes
        self._add([*entries, block])

    def finish(self, archive_bytes: int) -> None:
        self._add(
            [IndexEnd(entries=self._entries, blocks=self._blocks, tar_bytes=self._tar_bytes, bytes=archive_bytes)]
        )
        self._write(self._deflate.flush())
        self._store(self._file.flush)

    @contextmanager
    def content(self) -> Iterator[memoryview]:
        """The whole index; from a file it is mapped and not read into memory."""
        if self.size_bytes <= IN_MEMORY_BYTES:
            self._file.seek(0)
            yield memoryview(self._file.read())
            return
        with mmap.mmap(self._file.fileno(), self.size_bytes, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
            yield view

    def close(self) -> None:
        with suppress(OSError):  # what could not be written is tried again here
            self._file.close()

    def _add(self, lines: Sequence[IndexLine]) -> None:
        self._write(self._deflate.compress(_encoder.encode_lines(lines)))

    def _write(self, data: bytes) -> None:
        self._digest.update(data)
        self._md5.update(data)
        self.size_bytes += len(data)
        self._store(lambda: self._file.write(data))

    def _store(self, act: Callable[[], object]) -> None:
        if self.problem is None:
            try:
                act()
            except OSError as error:
                self.problem = error
