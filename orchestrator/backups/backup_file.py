"""The backup file: a header, one line for each record, and a last line that tells whether all is there.

It is gzip of JSON lines, so that `zcat` and `jq` read it. The first line is a `BackupHeader`, whose `format` is the
version of all this: a program refuses one that it does not know, and reads those before its own. Lines of records
follow in the order in which they were stored, a later one of a key in the place of an earlier one. The last line is a
`BackupEnd` with the SHA-256 of all bytes before it. docs/backup.md describes it for operators.
"""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from orchestrator.rules.records import NEWEST_SCHEMA
from orchestrator.storage.record_dump import DumpedRecord
from shared.errors import Conflict, Damaged, InvalidInput, NotFound
from shared.runtime import durable

FORMAT = 1
CHUNK_BYTES = 1 << 20
LONGEST_LINE = 4 << 20
"""A record has a mebibyte at most, and a header the secrets."""


class BackupDamaged(Damaged):
    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"The backup {name} is not whole: {why}.",
            hint="Take another backup. Nothing was changed by this one.",
        )


class BackupNewer(InvalidInput):
    def __init__(self, name: str, what: str) -> None:
        super().__init__(
            f"The backup {name} is of a later version of Tarpon: {what}.",
            hint="Restore it with the version that took it, or a later one: `zcat FILE | head -1` tells which it was.",
        )


class FileExists(Conflict):
    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is there already, and is not replaced.", hint="Name another file for the backup.")


class BackupHeader(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`taken` is in nanoseconds since 1970, `issuer` the public key of the issuer whose nodes are known to this state.

    `secrets` are files of the folder of secrets, by their names, where they were asked for.
    """

    format: int
    version: str
    taken: int
    issuer: str
    secrets: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<BackupHeader of a backup by {self.version}, {len(self.secrets)} secrets>"


class _Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record as it is stored; `gone` where it was removed after an earlier line of it.

    What is stored and is no JSON is in `other`, since nothing that is there is left out.
    """

    key: str
    revision: int
    gone: bool = False
    record: msgspec.Raw = msgspec.Raw(b"null")
    other: bytes = b""


class BackupEnd(msgspec.Struct, frozen=True, kw_only=True):
    """`revision` is the moment of which the records are, by the number of what was stored last."""

    records: int
    revision: int
    sha256: str


class _Schema(msgspec.Struct):
    schema: int = 1


class _Format(msgspec.Struct):
    format: int


_encoder = msgspec.json.Encoder()
_headers = msgspec.json.Decoder(BackupHeader)
_formats = msgspec.json.Decoder(_Format)
_lines = msgspec.json.Decoder(_Line)
_ends = msgspec.json.Decoder(BackupEnd)
_schemas = msgspec.json.Decoder(_Schema)


class BackupWriter:
    """A context manager: the file is there under its name, whole and on the disk, once `end` was called. It blocks."""

    def __init__(self, path: Path, header: BackupHeader) -> None:
        self.path = path
        self.records = self.size_bytes = 0
        self._header = header
        self._digest = hashlib.sha256()
        self._draft = path.with_name(f".{path.name}.new")

    def __enter__(self) -> Self:
        """Raises FileExists, OSError."""
        if self.path.exists():
            raise FileExists(str(self.path))
        self._draft.unlink(missing_ok=True)
        descriptor = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        self._packed = gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=1, filename="", mtime=0)
        self._write(_encoder.encode(self._header))
        return self

    def add(self, records: list[DumpedRecord]) -> None:
        for each in records:
            self._write(_encoder.encode(_line(each)))
        self.records += len(records)

    def end(self, revision: int) -> BackupEnd:
        """Raises FileExists, OSError."""
        last = BackupEnd(records=self.records, revision=revision, sha256=self._digest.hexdigest())
        self._write(_encoder.encode(last))
        self._packed.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self.size_bytes = self._file.tell()
        try:
            self.path.hardlink_to(self._draft)
        except FileExistsError:
            raise FileExists(str(self.path)) from None
        durable.sync_folder(self.path.parent)
        return last

    def _write(self, line: bytes) -> None:
        line += b"\n"
        self._digest.update(line)
        self._packed.write(line)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._draft.unlink(missing_ok=True)

    def __repr__(self) -> str:
        return f"<BackupWriter to {self.path}, {self.records} records>"


class BackupReader:
    """What is in the file. `check` reads all of it, and has to be called before anything of it is believed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self) -> tuple[BackupHeader, BackupEnd]:
        """Raises BackupDamaged, BackupNewer, NotFound. Blocks."""
        digest, count = hashlib.sha256(), 0
        texts = self._texts()
        line = next(texts, b"")
        header = self._header(line)
        digest.update(line)
        line = next(texts, b"")
        for following in texts:
            self._check_schema(line)
            digest.update(line)
            count, line = count + 1, following
        end = self._end(line)
        if (end.records, end.sha256) != (count, digest.hexdigest()):
            raise BackupDamaged(str(self._path), "its records are not those that were written")
        return header, end

    def records(self) -> Iterator[DumpedRecord]:
        """Of a file that was checked. Raises BackupDamaged. Blocks."""
        texts = self._texts()
        next(texts, None)
        line = next(texts, b"")
        for following in texts:
            yield self._record(line)
            line = following

    def _texts(self) -> Iterator[bytes]:
        """Its lines, each with its end."""
        try:
            with self._path.open("rb") as file, gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
                while line := unpacked.readline(LONGEST_LINE):
                    if not line.endswith(b"\n"):
                        raise BackupDamaged(str(self._path), "it was cut off")
                    yield line
        except FileNotFoundError:
            raise NotFound(f"There is no file {self._path}.") from None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BackupDamaged(str(self._path), f"it cannot be unpacked ({error})") from error

    def _header(self, line: bytes) -> BackupHeader:
        name = str(self._path)
        try:
            found = _formats.decode(line)
            if found.format > FORMAT:
                raise BackupNewer(name, f"it has format {found.format}, and this version reads up to {FORMAT}")
            return _headers.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BackupDamaged(name, "it does not begin with the header of a backup") from error

    def _end(self, line: bytes) -> BackupEnd:
        try:
            return _ends.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BackupDamaged(str(self._path), "its last line is missing") from error

    def _check_schema(self, line: bytes) -> None:
        record = self._record(line)
        try:
            schema = _schemas.decode(record.payload or b"{}").schema
        except (msgspec.DecodeError, UnicodeDecodeError):
            return  # it was stored so, and orchestrators leave it alone
        if schema > NEWEST_SCHEMA:
            what = f"{record.key} has schema {schema}, and this version knows schemas up to {NEWEST_SCHEMA}"
            raise BackupNewer(str(self._path), what)

    def _record(self, line: bytes) -> DumpedRecord:
        try:
            found = _lines.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BackupDamaged(str(self._path), "a line of it is no record") from error
        payload = None if found.gone else found.other or bytes(found.record)
        return DumpedRecord(found.key, found.revision, payload)

    def __repr__(self) -> str:
        return f"<BackupReader of {self._path}>"


def _line(each: DumpedRecord) -> _Line:
    if each.payload is None:
        return _Line(key=each.key, revision=each.revision, gone=True)
    if b"\n" not in each.payload and _is_json(each.payload):
        return _Line(key=each.key, revision=each.revision, record=msgspec.Raw(each.payload))
    return _Line(key=each.key, revision=each.revision, other=each.payload)


def _is_json(payload: bytes) -> bool:
    try:
        msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
