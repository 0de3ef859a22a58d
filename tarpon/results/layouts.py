"""Layouts of several results in a folder: one folder for each part, or merged into one tree.

A folder has one of them alone, or nobody could tell any more what belongs together.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from shared.errors import Conflict
from shared.jobs.spec import JobView
from shared.protocol.rest import ResultParams
from tarpon.results.folders import ALWAYS, NAMED, RAW_FOLDER, is_empty, is_folder, shown, writable
from tarpon.results.staging import is_staging

_MERGED = "user.tarpon.merged"
"""An attribute of a folder that was empty before, for trees in which no name tells."""


class ResultsNotMixed(Conflict):
    """What is to be written has another form than what the folder has already."""

    def __init__(self, folder: Path, names: Sequence[str], *, is_merged: bool) -> None:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        there = "merged results" if is_merged else "results by part"
        wanted = "results by part do" if is_merged else "a merged tree does"
        super().__init__(
            f"Nothing was downloaded, because {shown(folder)} has {there} already"
            f" ({', '.join(names[:NAMED])}{more}), and {wanted} not go beside them.",
            hint="Name another folder with --output-dir, or fetch "
            + ("with --merge as before." if is_merged else "without --merge as before."),
        )


def check_layout(folder: Path, results: Sequence[ResultParams], view: JobView, *, merge: bool) -> None:
    """Raise ResultsNotMixed where `folder` has results in the other form than these are to get."""
    there = _names_in(folder)
    parts = {view.part_name(each.partition_index) for each in results}
    own = parts | {each.execution_id for each in results}  # by which earlier versions of Tarpon called them
    by_part = sorted(name for name in there & own if is_folder(folder / name) and not is_empty(folder / name))
    if merge and by_part:
        raise ResultsNotMixed(folder, by_part, is_merged=False)
    merged = there & {f"{name}.{part}" for part in parts for name in ALWAYS}
    if not merge and not by_part and _is_noted(folder):
        merged = there
    if not merge and merged:
        raise ResultsNotMixed(folder, sorted(merged), is_merged=True)


def _names_in(folder: Path) -> set[str]:
    """Without what a download of archives leaves, or one that goes on; empty where that may not be looked at."""
    try:
        names = {shown(Path(each.name)) for each in folder.iterdir()}
    except OSError:
        return set()
    return {name for name in names if name != RAW_FOLDER and not is_staging(name)}


def note_merged(folder: Path) -> None:
    """Write down what the folder has, if its file system has attributes of users."""
    with suppress(OSError), writable(folder):
        os.setxattr(folder, _MERGED, b"1")


def _is_noted(folder: Path) -> bool:
    try:
        return bool(os.getxattr(folder, _MERGED))
    except OSError:
        return False
