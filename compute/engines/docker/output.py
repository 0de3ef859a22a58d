"""The output of a container: one stream of framed pieces becomes two files of bounded size."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from compute.disk.result_contents import STDERR, STDOUT
from compute.engines.docker.newlines import TIME_BYTES, LostNewlines

HEADER_BYTES = 8
"""One byte names the stream, three are nothing, four are the length: see the engine API's ContainerAttach."""
_NAMES = {1: STDOUT, 2: STDERR}
LONG_PIECE_BYTES = 16_000
"""From about this size on, a line is kept in pieces by the engine's log."""
RECORD_BYTES, LONG_RECORD_BYTES = 64, 384
"""At most what the engine's log adds to a piece."""


class Frames:
    """Takes the stream apart, however it is cut; nothing but an incomplete header is kept.

    `added_bytes` are those of each frame that are not in the engine's log.
    """

    def __init__(self, *, added_bytes: int = 0) -> None:
        self._added_bytes = added_bytes
        self.logged_bytes = 0
        """At most so many bytes had all this in the engine's log."""
        self._header = b""
        self._stream = 0
        self._left = 0

    @property
    def is_within(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._left or self._header)

    def feed(self, data: bytes) -> Iterator[tuple[int, memoryview]]:
        view = memoryview(data)
        while view:
            if self._left:
                piece, view = view[: self._left], view[self._left :]
                self._left -= len(piece)
                yield self._stream, piece
            else:
                missing = HEADER_BYTES - len(self._header)
                self._header += view[:missing]
                view = view[missing:]
                if len(self._header) == HEADER_BYTES:
                    self._begin(self._header)
                    self._header = b""

    def _begin(self, header: bytes) -> None:
        self._stream, self._left = header[0], int.from_bytes(header[4:], "big")
        content_bytes = self._left - self._added_bytes
        self.logged_bytes += content_bytes + (LONG_RECORD_BYTES if content_bytes >= LONG_PIECE_BYTES else RECORD_BYTES)


class Outputs:
    """Both files, written from their beginnings at each `open`. Every method blocks on the disk.

    What an earlier `open` left is overwritten, and cut off only at the end, so that whoever reads along never sees less
    than before. `over` is the name of the file that reached `limit_bytes` and was cut there; nothing is written after
    that.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.over = ""
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._frames = Frames()
        self._newlines: LostNewlines | None = None
        self._files: dict[str, int] = {}
        self._written = dict.fromkeys(_NAMES.values(), 0)

    def __repr__(self) -> str:
        return f"<Outputs {self._written}>"

    @property
    def logged_bytes(self) -> int:
        return self._frames.logged_bytes

    @property
    def written(self) -> dict[str, int]:
        """How many bytes each file has."""
        return dict(self._written)

    def end_as(self, heard: Mapping[str, int]) -> bool:
        """Whether each file is as long as it was heard before, when a newline has been added that may be lacking."""
        for name, size in heard.items():
            if size == self._written[name] + 1:
                self._write(name, b"\n")
        return self._written == heard

    @property
    def is_cut(self) -> bool:
        """Whether the stream broke off within a frame."""
        return self._frames.is_within

    @property
    def is_known_to_its_end(self) -> bool:
        return self._newlines is None or self._newlines.is_whole

    def open(self, *, newlines: LostNewlines | None = None) -> None:
        """With `newlines` a log with times is fed, from which they are brought back."""
        self.over = ""
        self._newlines = newlines
        self._frames = Frames(added_bytes=TIME_BYTES if newlines else 0)
        self._written = dict.fromkeys(_NAMES.values(), 0)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        for name in _NAMES.values():
            self._files[name] = os.open(self._folder / name, flags, 0o600)

    def close(self) -> None:
        while self._files:
            name, descriptor = self._files.popitem()
            with contextlib.closing(os.fdopen(descriptor, "wb", buffering=0)) as file:
                file.truncate(self._written[name])

    def feed(self, data: bytes) -> None:
        """Raises OSError where the disk does not take it."""
        pieces: dict[str, list[bytes | memoryview]] = {STDOUT: [], STDERR: []}
        for stream, piece in self._frames.feed(data):
            if stream not in _NAMES:
                continue
            if self._newlines is None:
                pieces[_NAMES[stream]].append(piece)
            else:
                ends_frame = not self._frames.is_within
                pieces[_NAMES[stream]].append(self._newlines.take(stream, piece, ends_frame=ends_frame))
        for name, parts in pieces.items():
            if parts and not self.over:
                self._write(name, b"".join(parts))

    def _write(self, name: str, content: bytes) -> None:
        room = self._limit_bytes - self._written[name]
        if len(content) > room:
            self.over = name
        view = memoryview(content)[:room]
        while view:
            count = os.write(self._files[name], view)
            self._written[name] += count
            view = view[count:]
