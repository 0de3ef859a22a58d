"""The file of lines that is sent beside an archive, or for one: compressed, with its digests, while it is written.

It is the one thing that grows with the number of entries, so beyond a bound it goes from memory to a file.
"""

import hashlib
import io
import mmap
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec
from isal import isal_zlib

from shared.protocol.archive_index import IndexLine

IN_MEMORY_BYTES = 4 << 20
_GZIP = 31  # zlib's number for a gzip member with the largest window
_LEVEL = 1

_encoder = msgspec.json.Encoder()


class LineFile:
    """Add lines in order; `end()`; then `content()` can be read.

    `folder` is where it goes once it is too large for memory. All methods block. `close()` removes it. There is nothing
    to be read once there is a `problem`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] = io.BytesIO()
        self._deflate = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
        self._digest = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size_bytes = 0
        self.problem: OSError | None = None

    def __repr__(self) -> str:
        return f"<LineFile of {self.size_bytes} bytes>"

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def md5(self) -> bytes:
        return self._md5.digest()

    @contextmanager
    def content(self) -> Iterator[memoryview]:
        """All of it; from a file it is mapped and not read into memory."""
        if isinstance(self._file, io.BytesIO):
            yield memoryview(self._file.getvalue())
            return
        with mmap.mmap(self._file.fileno(), self.size_bytes, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
            yield view

    def close(self) -> None:
        with suppress(OSError):  # what could not be written is tried again here
            self._file.close()

    def write(self, lines: Sequence[IndexLine]) -> None:
        self._write(self._deflate.compress(_encoder.encode_lines(lines)))

    def end(self) -> None:
        self._write(self._deflate.flush())
        self._store(self._file.flush)

    def _write(self, data: bytes) -> None:
        self._digest.update(data)
        self._md5.update(data)
        self.size_bytes += len(data)
        self._store(lambda: self._append(data))

    def _append(self, data: bytes) -> None:
        if isinstance(self._file, io.BytesIO) and self.size_bytes > IN_MEMORY_BYTES:
            held = self._file.getvalue()
            # Closed by close(); a temporary file has no name that could be left behind.
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
            self._file.write(held)
        self._file.write(data)

    def _store(self, act: Callable[[], object]) -> None:
        if self.problem is None:
            try:
                act()
            except OSError as error:
                self.problem = error
