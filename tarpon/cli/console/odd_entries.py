"""Odd entries: what of a result is not in the folder, or not in the result itself, told to a user."""

import os
from collections.abc import Iterator

import msgspec

from shared.errors import TarponError
from shared.extraction.oddities import Odd, OddEntry, Oddities
from tarpon.results.fetch_job import Fetched

NAMED = 5
"""As many entries of each kind are named in text; `--output json` names more."""

_MEANINGS = {
    Odd.NAME_COLLIDES: "left out, because the folder takes their names for those of others (see --rename-collisions)",
    Odd.RENAMED: "given other names, because the folder takes theirs for those of others",
    Odd.NAME_IMPOSSIBLE: "left out, because the folder's file system knows no such names",
    Odd.LINK_LEAVES_RESULT: "left out as links that lead or could lead out of the result (see --links)",
    Odd.SYMLINK_IMPOSSIBLE: "left out, because the folder's file system has no symbolic links",
    Odd.HARD_LINK_COPIED: "copied instead of linked, because the folder's file system has no hard links",
    Odd.HARD_LINK_LEFT_OUT: "left out as hard links to files that are not there",
    Odd.FILE_TOO_LARGE: "left out, because the folder's file system cannot hold files of their size",
    Odd.ATTRIBUTES_NOT_RESTORED: "without some of their extended attributes",
    Odd.ATTRIBUTES_IGNORED: "without their extended attributes (see --xattrs)",
    Odd.METADATA_NOT_KEPT: "and maybe all others: permissions or times are not kept by the folder's file system",
}


class ResultsIncomplete(TarponError):
    """What was fetched is placed, except for entries that the target cannot have."""

    def __init__(self, count: int, job: str) -> None:
        super().__init__(
            f"{count:,} {_entries(count)} of the results could not be placed as they are; all others are there.",
            hint=f"Fetch them into another file system, or keep the archives: tarpon job get {job} --raw",
        )


class ResultsNotWhole(TarponError):
    """The results lack something, and the user wanted to know by the exit code."""

    def __init__(self, job: str) -> None:
        super().__init__(
            f"The results of job {job} are not whole.", hint=f"`tarpon job describe {job}` says what is missing."
        )


def not_whole(count: int, job: str) -> str:
    """The warning that results lack the content of so many entries."""
    return (
        f"The results of job {job} are not whole: the node could not read, or not as they were, {count:,}"
        f" {_entries(count)}. `tarpon job describe {job}` names them."
    )


def told(oddities: Oddities) -> Iterator[str]:
    """One line for each kind of odd entries, and some of their names."""
    for code, count in oddities.counts.items():
        names = [each.path for each in oddities.named if each.code is code][:NAMED]
        more = f" and {count - len(names):,} more" if count > len(names) else ""
        yield f"{count:,} {_entries(count)} {_MEANINGS[code]}: {', '.join(map(repr, names))}{more} [{code}]"


class GetReport(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What `tarpon job get --output json` prints; `odd` names the first 10,000 entries, `odd_counts` has all."""

    job: str
    folder: str
    results: int
    files: int
    size: int
    left_out_count: int
    parts_without_result: tuple[int, ...]
    odd_counts: dict[Odd, int]
    odd: list[OddEntry]


def report(fetched: Fetched, job: str) -> GetReport:
    return GetReport(
        job=job,
        folder=os.fsencode(fetched.folder or "").decode(errors="replace"),
        results=fetched.count,
        files=fetched.files,
        size=fetched.size_bytes,
        left_out_count=fetched.left_out_count,
        parts_without_result=fetched.without_result,
        odd_counts=dict(fetched.oddities.counts),
        odd=fetched.oddities.named,
    )


def check(fetched: Fetched, job: str, *, strict: bool) -> None:
    """Raise ResultsIncomplete, or with `strict` ResultsNotWhole, where what is there is not all there was."""
    counts = fetched.oddities.counts
    if strict and (fetched.left_out_count or fetched.without_result or counts[Odd.LINK_LEAVES_RESULT]):
        raise ResultsNotWhole(job)
    if missed := sum(count for code, count in counts.items() if not code.was_chosen):
        raise ResultsIncomplete(missed, job)


def _entries(count: int) -> str:
    return "entry" if count == 1 else "entries"
