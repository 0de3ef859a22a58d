"""The body of a PUT: bytes of a local file, read in threads, that were the same when their digest was computed."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from tarpon.sending.local_tree import LocalFile, opened
from tarpon.sending.problems import FileChanged, FileUnreadable

SLICE_BYTES = 1 << 20

OnSent = Callable[[int], None]


class SentBody(Protocol):
    """Iterating again begins again. `problem` is why a body broke off, for whoever meets the broken connection."""

    size: int
    problem: Exception | None
    sent: int

    def __aiter__(self) -> AsyncIterator[bytes]: ...


class BytesBody:
    def __init__(self, content: bytes) -> None:
        self.size = len(content)
        self.sent = 0
        self.problem: Exception | None = None
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.sent = 0
        for start in range(0, self.size, SLICE_BYTES):
            piece = self._content[start : start + SLICE_BYTES]
            self.sent += len(piece)
            yield piece


class FileBody:
    """A file, or a part of one. The last slice of a whole file is only given once the digest has proved right."""

    def __init__(self, file: LocalFile, *, sha256: str = "", start: int = 0, size: int | None = None) -> None:
        self.size = file.size - start if size is None else size
        self.sent = 0
        self.problem: Exception | None = None
        self._file = file
        self._sha256 = sha256
        self._start = start

    def __repr__(self) -> str:
        return f"<FileBody of {self._file.source!r}, {self.size} bytes>"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.sent, self.problem = 0, None
        try:
            descriptor = await asyncio.to_thread(opened, self._file)
            try:
                async for piece in self._read(descriptor):
                    self.sent += len(piece)
                    yield piece
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            self.problem = FileChanged(self._file.source)
            raise self.problem from None
        except OSError as error:
            self.problem = FileUnreadable(self._file.source, error.strerror or str(error))
            raise self.problem from error
        except (FileChanged, FileUnreadable) as error:
            self.problem = error
            raise

    async def _read(self, descriptor: int) -> AsyncIterator[bytes]:
        digest, read = hashlib.sha256(), 0

        def slice_of(at: int, size: int) -> bytes:
            piece = os.pread(descriptor, size, self._start + at)
            if self._sha256:
                digest.update(piece)
            is_last = at + size == self.size
            is_same = len(piece) == size and self._file.is_still(os.fstat(descriptor))
            if not is_same or (is_last and self._sha256 and digest.hexdigest() != self._sha256):
                raise FileChanged(self._file.source)
            return piece

        while read < self.size:
            piece = await asyncio.to_thread(slice_of, read, min(SLICE_BYTES, self.size - read))
            read += len(piece)
            yield piece
