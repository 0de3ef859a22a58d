"""The bytes of an archive that are made and in no part yet: copied once, into the buffer of their part."""

from collections import deque

from compute.archive.tar_stream import BLOCK_BYTES


class MadeBytes:
    """Added to, and taken away part by part."""

    def __init__(self, part_bytes: int) -> None:
        self.size_bytes = 0
        self.part_bytes = part_bytes
        self._pieces: deque[bytes | memoryview] = deque()
        self._buffer = bytearray()
        self._filled = 0

    def add(self, data: bytes | memoryview) -> None:
        self._pieces.append(data)
        self.size_bytes += len(data)
        if self.size_bytes > BLOCK_BYTES:  # most results are less, and need no buffer
            self._fill()

    def __repr__(self) -> str:
        return f"<MadeBytes, {self.size_bytes}>"

    def take(self) -> memoryview:
        """A part, or all there is."""
        if self.size_bytes > BLOCK_BYTES:
            self._fill()
        else:
            self._buffer, self._filled = bytearray(b"".join(self._pieces)), self.size_bytes
            self._pieces.clear()
        content = memoryview(self._buffer)[: self._filled]
        self.size_bytes -= self._filled
        self._buffer, self._filled = bytearray(), 0
        return content

    def put_back(self, content: memoryview, part_bytes: int) -> None:
        """What was taken last, of which there is to be more."""
        self.part_bytes = part_bytes
        self.size_bytes += len(content)
        self._pieces.appendleft(content)
        self._fill()

    def _fill(self) -> None:
        if not self._buffer:
            self._buffer = bytearray(self.part_bytes)
        while self._pieces and self._filled < self.part_bytes:
            piece = memoryview(self._pieces.popleft())
            end = min(self._filled + len(piece), self.part_bytes)
            taken = end - self._filled
            self._buffer[self._filled : end] = piece[:taken]
            self._filled = end
            if taken < len(piece):
                self._pieces.appendleft(piece[taken:])
