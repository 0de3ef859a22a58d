"""Partial files: large inputs on their way, so that a node that was killed goes on where it was.

A file has its full size from the beginning, with holes. Beside it is a note: what it is to become, and a line for each
of its pieces that is there. A last line that is not whole does not count.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from compute.disk.input_files import FILE_MODE

PIECE_BYTES = 8 << 20
RUN_PIECES = 8
"""So many pieces that follow each other are read with one request."""
RUNS_AT_LEAST = 8
"""So many requests are made, where there are as many pieces, that some go on at once."""
_HASHED_BYTES = 1 << 20


class Becomes(msgspec.Struct, frozen=True, kw_only=True):
    """What a partial file is to become. Pieces of another object are of no use."""

    size: int
    etag: str
    sha256: str
    piece_bytes: int = PIECE_BYTES


class PartialInput:
    """Every method blocks on the disk, and raises OSError. Threads may write different pieces at once."""

    def __init__(self, path: Path, becomes: Becomes) -> None:
        self._path = path
        self._note = path.with_name(path.name + ".note")
        self._becomes = becomes
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._noting = -1
        self._note_bytes = 0
        """Of its lines that are whole."""
        try:
            self._done = self._read_note()
            os.ftruncate(self._file, becomes.size)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._noting = os.open(self._note, flags | (0 if self._done else os.O_TRUNC), 0o600)
            if not self._done:
                os.write(self._noting, msgspec.json.encode(becomes) + b"\n")
            else:  # what follows must not become the end of a line that is not whole
                os.ftruncate(self._noting, self._note_bytes)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<PartialInput {self._path.name[:12]} of {self._becomes.size} bytes>"

    @property
    def missing(self) -> list[int]:
        """The numbers of pieces that were not there when it was opened."""
        count = -(-self._becomes.size // PIECE_BYTES)
        return [number for number in range(count) if number not in self._done]

    @property
    def runs(self) -> list[tuple[int, int]]:
        """What is missing, from which byte on, and before which one; never more than RUN_PIECES together."""
        missing = self.missing
        most = max(1, min(RUN_PIECES, -(-len(missing) // RUNS_AT_LEAST)))
        runs: list[list[int]] = []
        for number in missing:
            if runs and runs[-1][-1] == number - 1 and len(runs[-1]) < most:
                runs[-1].append(number)
            else:
                runs.append([number])
        return [(run[0] * PIECE_BYTES, min(self._becomes.size, (run[-1] + 1) * PIECE_BYTES)) for run in runs]

    def write(self, content: memoryview, at: int) -> None:
        """What comes after that which was written there before. Each piece that is there with it is noted."""
        written = 0
        while written < len(content):
            written += os.pwrite(self._file, content[written:], at + written)
        end = at + len(content)
        last = end // PIECE_BYTES if end < self._becomes.size else -(-end // PIECE_BYTES)
        for number in range(at // PIECE_BYTES, last):
            os.write(self._noting, b"%d\n" % number)

    def is_right(self, is_unwanted: Callable[[], bool]) -> bool:
        """Whether it is what it was to become, as far as that can be told; not when it `is_unwanted` meanwhile."""
        if os.fstat(self._file).st_size != self._becomes.size:
            return False
        if not self._becomes.sha256:
            return True
        digest, at = hashlib.sha256(), 0
        while chunk := os.pread(self._file, _HASHED_BYTES, at):
            if is_unwanted():
                return False
            digest.update(chunk)
            at += len(chunk)
        return digest.hexdigest() == self._becomes.sha256.lower()

    def become(self, place: Path) -> None:
        """Whole, and read only."""
        os.fchmod(self._file, FILE_MODE)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        self._path.replace(place)
        self._note.unlink()

    def discard(self) -> None:
        self._note.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        for descriptor in (self._file, self._noting):
            if descriptor >= 0:
                os.close(descriptor)

    def _read_note(self) -> set[int]:
        try:
            head, *lines, torn = (note := self._note.read_bytes()).split(b"\n")
            self._note_bytes = len(note) - len(torn)
            becomes = msgspec.json.decode(head, type=Becomes)
            is_the_same = becomes == self._becomes and os.fstat(self._file).st_size == becomes.size
            return {int(line) for line in lines} if is_the_same else set()
        except (FileNotFoundError, ValueError, msgspec.MsgspecError):
            return set()
