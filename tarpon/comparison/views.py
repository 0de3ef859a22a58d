"""What came of a comparison, as programs get it."""

import base64

import msgspec

from shared.extraction.tar_reader import MemberKind
from shared.protocol.rest import ResultParams
from tarpon.comparison.entries import ComparedEntry, EntryDifference
from tarpon.comparison.first_difference import FirstDifference

TEXT, HEX = "text", "hex"
_TYPES = {
    MemberKind.FILE: "file",
    MemberKind.DIRECTORY: "directory",
    MemberKind.SYMLINK: "symlink",
    MemberKind.HARD_LINK: "hardlink",
}


class EntryView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """An entry of one result. `type` is file, directory, symlink, hardlink or other; `mode` is octal."""

    type: str
    mode: str
    size: int = 0
    target: str = ""
    sha256: str = msgspec.field(name="SHA256", default="")


class BytesView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The first difference of two contents, which are the same up to byte `at`.

    `first` and `second` are what is there from byte `shown_at` on, empty where one has ended: of text its line, with
    the number `line` from 1 on, cut where it is long; else some bytes in hexadecimal, and `line` is 0.
    """

    at: int
    line: int = 0
    shown_at: int
    encoding: str
    first: str
    second: str


class PathDifference(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """A path, and in `differs` what differs of it: some of the words of tarpon/comparison/entries.py.

    A name that is no UTF-8 is in `path_base64` too. `bytes` are there where the contents of two files differ.
    """

    path: str
    path_base64: str = ""
    differs: tuple[str, ...]
    first: EntryView | None = None
    second: EntryView | None = None
    bytes: BytesView | None = None


class ComparedResult(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The result of an execution, or a folder on this machine."""

    execution_id: str = msgspec.field(name="ExecutionID", default="")
    partition_index: int = 0
    job_version: int = 0
    folder: str = ""

    @property
    def name(self) -> str:
        return self.folder or self.execution_id

    @classmethod
    def of(cls, params: ResultParams) -> "ComparedResult":
        return cls(
            execution_id=params.execution_id, partition_index=params.partition_index, job_version=params.job_version
        )


class ResultComparison(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Two results: `paths` are those of both together, of which `differing` differ; the first of them are listed."""

    first: ComparedResult
    second: ComparedResult
    paths: int
    differing: int
    differences: tuple[PathDifference, ...] = ()


class Comparison(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Results of two jobs, part by part, or of two executions; parts of which only one job has a result are told."""

    equal: bool
    results: tuple[ResultComparison, ...]
    only_first: tuple[int, ...] = ()
    only_second: tuple[int, ...] = ()


def path_view(difference: EntryDifference, found: FirstDifference | None) -> PathDifference:
    path, path_base64 = _spelled(difference.name)
    return PathDifference(
        path=path,
        path_base64=path_base64,
        differs=difference.what,
        first=_entry_view(difference.first),
        second=_entry_view(difference.second),
        bytes=_bytes_view(found) if found is not None else None,
    )


def _entry_view(entry: ComparedEntry | None) -> EntryView | None:
    if entry is None:
        return None
    return EntryView(
        type=_TYPES.get(entry.kind, "other"),
        mode=f"{entry.mode:04o}",
        size=entry.size_bytes,
        target=entry.target.decode(errors="replace"),
        sha256=entry.sha256.hex(),
    )


def _bytes_view(found: FirstDifference) -> BytesView:
    def shown(content: bytes) -> str:
        return content.decode(errors="replace") if found.line else content.hex()

    return BytesView(
        at=found.at,
        line=found.line,
        shown_at=found.shown_at,
        encoding=TEXT if found.line else HEX,
        first=shown(found.first),
        second=shown(found.second),
    )


def _spelled(name: bytes) -> tuple[str, str]:
    try:
        return name.decode(), ""
    except UnicodeDecodeError:
        return name.decode(errors="replace"), base64.b64encode(name).decode("ascii")
