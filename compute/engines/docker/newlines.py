"""Newlines that the engine's own log of a container has lost, and how they come back.

Docker's log driver `local` keeps a line in pieces of 16 KiB and, before version 26, forgets the newline of every line
that has one. Its other driver, `json-file`, keeps newlines and replaces all bytes that are not UTF-8, which nothing
brings back. The pieces of one line have the same time, so they are read with their times.
"""

PIECE_BYTES = 16 << 10
TIME_BYTES = 31
"""What stands before the content of each frame."""
_NEWLINE = b"\n"


class LostNewlines:
    """Takes frames of a log with times, however they are cut, and gives what the task wrote."""

    def __init__(self) -> None:
        self._frame = b""
        self._long_lines: dict[int, bytes] = {}
        """The time of the long line that each stream is in, which has had no newline so far."""
        self._unsure: set[int] = set()

    def __repr__(self) -> str:
        return f"<LostNewlines, {len(self._long_lines)} long lines open>"

    @property
    def is_whole(self) -> bool:
        """Whether it is known of each stream if it ends with a newline."""
        return not self._unsure

    def take(self, stream: int, piece: bytes | memoryview, *, ends_frame: bool) -> bytes:
        self._frame += piece
        if not ends_frame:
            return b""
        at, _, content = self._frame.partition(b" ")
        self._frame = b""
        self._unsure.discard(stream)
        open_at = self._long_lines.pop(stream, None)
        if open_at == at:
            return self._continued(stream, at, content)
        if len(content) == PIECE_BYTES and not content.endswith(_NEWLINE):
            self._long_lines[stream] = at
        return content if open_at is None else _NEWLINE + content

    def _continued(self, stream: int, at: bytes, content: bytes) -> bytes:
        if not content:  # the rest of a line that ends where a piece does
            return _NEWLINE
        if not content.endswith(_NEWLINE):
            self._long_lines[stream] = at
            if len(content) < PIECE_BYTES:
                self._unsure.add(stream)
        return content
