"""The partial file of an archive that is kept, also over more than one try of more than one process.

`<name>.part` has what has arrived, and `<name>.part.json` beside it tells of which object. A later try goes on where
that ends, if it is the same object still; the digest of the whole decides at the end.
"""

import fcntl
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shared.errors import CannotExtract, Conflict
from shared.extraction.room import NO_SPACE, NoSpaceForResult
from shared.protocol.rest import ResultParams

if TYPE_CHECKING:
    from hashlib import _Hash

_READ_BYTES = 1 << 20
_READS_AT_ONCE = 64
_MAX_NOTE_BYTES = 4096


class AlreadyFetching(Conflict):
    """Another process writes the same file at this moment."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"Another process is downloading {path}.", hint="Wait for it, or name another folder with --output-dir."
        )


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    """Which object a partial file is of."""

    etag: str
    sha256: str
    size: int


class PartialFile:
    """A sink that keeps what it has when it is given up. `open()` it first, `release()` it last; all methods block.

    After `close()` the file is complete and still has the name of a partial file; `place()` gives it its own. Raises
    CannotExtract where the disk cannot take it, and AlreadyFetching. Nobody else writes it before `release()`.
    """

    def __init__(self, path: Path, params: ResultParams) -> None:
        self.done_bytes = 0
        self.digest: _Hash = hashlib.sha256()
        self._path = path
        self._partial = path.with_name(f"{path.name}.part")
        self._note_path = path.with_name(f"{path.name}.part.json")
        self._note = _Note(etag=params.etag, sha256=params.sha256, size=params.size)
        self._descriptor = -1

    def __repr__(self) -> str:
        return f"<PartialFile {self._partial}, {self.done_bytes} bytes at first>"

    def missing_bytes(self) -> int:
        """How much more room it takes at most, as far as is known before it is opened."""
        try:
            return max(0, self._note.size - self._partial.lstat().st_size)
        except OSError:
            return self._note.size

    def open(self) -> None:
        """Make the file, or keep what an earlier try has left of the same object; then `read_on()`."""
        try:
            self._path.parent.mkdir(exist_ok=True)
            self._descriptor = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            self._lock()
            if not self._is_same_object():
                os.ftruncate(self._descriptor, 0)
                self._note_path.unlink(missing_ok=True)
                self._note_path.write_bytes(msgspec.json.encode(self._note))
        except OSError as error:
            self.release()
            raise self._cannot_write(error) from error
        except BaseException:
            self.release()
            raise

    def read_on(self) -> bool:
        """Take the digest of some more of what is there. Whether that may not have been all."""
        try:
            for _ in range(_READS_AT_ONCE):
                data = os.pread(self._descriptor, _READ_BYTES, self.done_bytes)
                self.digest.update(data)
                self.done_bytes += len(data)
                if not data:
                    os.lseek(self._descriptor, self.done_bytes, os.SEEK_SET)
                    return False
        except OSError as error:
            raise self._cannot_write(error) from error
        return True

    def feed(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise self._cannot_write(error) from error

    def close(self) -> None:
        """The file is complete, and is given its name when all others are."""

    def abort(self) -> None:
        """What has arrived stays."""

    def release(self) -> None:
        """Let others have the file, unless nothing has come into it. May be called again."""
        if self._descriptor >= 0:
            if not os.fstat(self._descriptor).st_size:
                self.discard()
            os.close(self._descriptor)
            self._descriptor = -1

    def place(self) -> None:
        """Give the complete file its name."""
        try:
            self._partial.rename(self._path)
            self._note_path.unlink(missing_ok=True)
        except OSError as error:
            raise self._cannot_write(error) from error

    def restart(self) -> None:
        """Begin anew."""
        try:
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        except OSError as error:
            raise self._cannot_write(error) from error
        self.done_bytes, self.digest = 0, hashlib.sha256()

    def discard(self) -> None:
        """Remove what is of no use, because it is not what was published."""
        self._partial.unlink(missing_ok=True)
        self._note_path.unlink(missing_ok=True)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyFetching(self._path) from None
        if not os.path.samestat(os.fstat(self._descriptor), self._partial.lstat()):
            raise AlreadyFetching(self._path)  # it was completed and given its name in between

    def _is_same_object(self) -> bool:
        """Whether what is there can be the beginning of this object; without its digest that could not be verified."""
        if not (self._note.sha256 and self._note.size):
            return False
        try:
            with self._note_path.open("rb") as file:
                note = msgspec.json.decode(file.read(_MAX_NOTE_BYTES), type=_Note)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return False
        return note == self._note and os.fstat(self._descriptor).st_size <= self._note.size

    def _cannot_write(self, error: OSError) -> CannotExtract:
        message = f"{self._path} cannot be written: {error.strerror}."
        return NoSpaceForResult(message) if error.errno in NO_SPACE else CannotExtract(message)
