"""The journal of files that S3 has, so that after the node's death only what was on its way is sent again.

`files.txt` beside the journal of the execution has a line for each: a digest of its key and content. It saves sending
twice and nothing else, so an upload goes on without it where the disk is full or broken.
"""

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path

_log = logging.getLogger(__name__)

FILE = "files.txt"
_CHARACTERS = 32


class FileJournal:
    """Of one execution, in `folder`. All methods but `has` block on the disk, and what fails there is logged."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._sent: set[bytes] = set()
        self._is_kept = True

    def __repr__(self) -> str:
        return f"<FileJournal {self._path}, {len(self._sent)} files>"

    def read(self) -> None:
        """What an earlier process of this node has sent. A line that was not written whole does not count."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            self._do_without(error)
            return
        self._sent = {bytes.fromhex(line.decode()) for line in lines if _is_digest(line)}

    def has(self, key: str, sha256: str) -> bool:
        return _digest(key, sha256) in self._sent

    def add(self, files: Iterable[tuple[str, str]]) -> None:
        """The keys and SHA-256 of what S3 has taken."""
        if not self._is_kept:
            return
        text = "".join(f"{_digest(key, sha256).hex()}\n" for key, sha256 in files)
        try:
            with self._path.open("a", encoding="ascii") as file:
                file.write(f"\n{text}")  # what a death has cut off before stays on a line of its own
        except OSError as error:
            self._do_without(error)

    def _do_without(self, error: OSError) -> None:
        told = "What is sent to S3 cannot be noted in %s (%s); if the node dies now, it is sent again."
        _log.warning(told, self._path, error.strerror or type(error).__name__)
        self._is_kept = False


def _digest(key: str, sha256: str) -> bytes:
    return hashlib.sha256(f"{sha256} {key}".encode()).digest()[: _CHARACTERS // 2]


def _is_digest(line: bytes) -> bool:
    return len(line) == _CHARACTERS and set(line) <= set(b"0123456789abcdef")
