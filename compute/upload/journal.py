"""The journal of an upload in parts, so that after the node's death only what was on its way is sent again.

`upload.jsonl` beside the journal of the execution: a line for the upload, and one for each part that S3 has. After a
restart the archive is made again, byte for byte; a part counts as being there only if it has the digest that is written
here: that of the archive up to its end. Earlier nodes wrote the MD5 of the part itself. A URL is never in it.

It saves sending twice and nothing else, so an upload goes on without it where the disk is full or broken.
"""

import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from compute.archive.levels import Switch, Told, joined
from compute.disk import private_file

_log = logging.getLogger(__name__)

FILE = "upload.jsonl"


class _Upload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    upload_id: str
    part_bytes: int
    has_checksums: bool = False


class _Level(msgspec.Struct, frozen=True, kw_only=True):
    """A Switch."""

    block: int
    level: int


class StoredPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Digests in hexadecimal, `sha256` as a Part has it; `etag` is what S3 said, without quotes.

    So many `blocks` had their levels when it was made; 0 is what nodes wrote whose blocks all had the same.
    """

    number: int
    md5: str = ""
    sha256: str = ""
    etag: str
    blocks: int = 0


class BegunUpload(NamedTuple):
    upload_id: str
    part_bytes: int
    parts: dict[int, StoredPart]
    has_checksums: bool = False
    switches: tuple[Switch, ...] = ()

    @property
    def levels(self) -> Told:
        """Of all blocks that may be in a part that S3 has."""
        told = max((part.blocks or sys.maxsize for part in self.parts.values()), default=0)
        return Told(told, tuple(each for each in self.switches if each.block < told))


class UploadJournal:
    """Of one execution, in `folder`. All methods block on the disk, and what fails there is logged."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._is_kept = True
        """Whether what is written down is of this upload."""
        self._written_switches = 0

    def __repr__(self) -> str:
        return f"<UploadJournal {self._path}>"

    def read(self) -> BegunUpload | None:
        """What an earlier process of this node began. A line that was not written whole does not count."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._do_without(error)
            return None
        try:
            upload = msgspec.json.decode(lines[0], type=_Upload)
        except (IndexError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        parts: dict[int, StoredPart] = {}
        switches: list[Switch] = []
        for line in lines[1:]:
            # What was added after a torn line stands on that line; the lines after it are good again.
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                part = msgspec.json.decode(line, type=StoredPart)
                parts[part.number] = part
                continue
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                told = msgspec.json.decode(line, type=_Level)
                switches.append(Switch(told.block, told.level))
        return BegunUpload(upload.upload_id, upload.part_bytes, parts, upload.has_checksums, joined(switches))

    def begin(self, upload_id: str, part_bytes: int, *, has_checksums: bool = False) -> None:
        upload = _Upload(upload_id=upload_id, part_bytes=part_bytes, has_checksums=has_checksums)
        line = msgspec.json.encode(upload) + b"\n"
        try:
            private_file.replace(self._path, line)
        except OSError as error:
            self._do_without(error)
        else:
            self._is_kept = True
            self._written_switches = 0

    def add(self, part: StoredPart, switches: Sequence[Switch] = ()) -> None:
        """`switches` are all up to this part; those come first that have not been written yet."""
        if not self._is_kept:
            return
        new = [_Level(block=each.block, level=each.level) for each in switches[self._written_switches :]]
        try:
            with self._path.open("ab") as file:
                file.write(msgspec.json.Encoder().encode_lines([*new, part]))
            self._written_switches += len(new)
        except OSError as error:
            self._do_without(error)

    def _do_without(self, error: OSError) -> None:
        """What was written down before is true still, but may be of another upload, to which nothing is to be added."""
        if self._is_kept:
            told = "What is sent to S3 cannot be noted in %s (%s); if the node dies now, it is sent again."
            _log.warning(told, self._path, error.strerror or type(error).__name__)
        self._is_kept = False
