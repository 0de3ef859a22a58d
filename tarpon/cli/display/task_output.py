"""The output of a task on a person's terminal, in a file or a pipe: all of it, or its last lines."""

import codecs
import sys
from collections.abc import Callable
from typing import TextIO

from shared.data.plain_text import printable
from tarpon.results.logs import STDERR, STDOUT

TAIL_BYTES = 16 << 20
"""As much is kept at most to find the last lines in."""


class TaskOutput:
    """Writes to our own stdout and stderr: bytes as they are, but to a terminal nothing that could steer it.

    With `tail`, only that many last lines of each, when `end()` is called.
    """

    def __init__(self, tail: int | None) -> None:
        self._tail = tail
        self._writers = {STDOUT: _writer(sys.stdout), STDERR: _writer(sys.stderr)}
        self._kept: dict[str, bytearray] = {STDOUT: bytearray(), STDERR: bytearray()}

    def __repr__(self) -> str:
        return f"<TaskOutput tail={self._tail}>"

    def write(self, stream: str, data: bytes) -> None:
        if self._tail is None:
            self._writers[stream](data)
            return
        kept = self._kept[stream]
        kept += data
        if len(kept) > 2 * TAIL_BYTES:
            del kept[:-TAIL_BYTES]

    def end(self) -> None:
        """After the last byte of a task, before another one's first."""
        for stream, kept in self._kept.items():
            if self._tail is not None:
                self._writers[stream](last_lines(bytes(kept[-TAIL_BYTES:]), self._tail))
                kept.clear()
        sys.stdout.flush()
        sys.stderr.flush()


def last_lines(data: bytes, count: int) -> bytes:
    """The last `count` lines, of which the very last may lack its end."""
    end = len(data.removesuffix(b"\n"))
    for _ in range(count):
        end = data.rfind(b"\n", 0, end)
        if end < 0:
            return data
    return data[end + 1 :] if count else b""


def _writer(file: TextIO) -> Callable[[bytes], None]:
    if not file.isatty():
        return lambda data: _write_bytes(file, data)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    return lambda data: _write_text(file, printable(decoder.decode(data)))


def _write_bytes(file: TextIO, data: bytes) -> None:
    file.flush()
    file.buffer.write(data)


def _write_text(file: TextIO, text: str) -> None:
    file.write(text)
