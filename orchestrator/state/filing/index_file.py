"""The file of the index: made anew, or opened again where what an earlier process left in it can be relied upon.

It can where this version of Tarpon has written it, and where either it was closed in order, which syncs it to disk, or
the machine has not been started since: then all is there that was written, also by a process that was killed.
"""

import hashlib
import logging
import os
import sqlite3
from contextlib import ExitStack, closing, suppress
from functools import cache
from pathlib import Path

import msgspec

from orchestrator.rules.job_progress import Progress
from orchestrator.rules.pinned_needs import PinnedNeed
from orchestrator.state.filing.job_index_tables import PRAGMAS, TABLES
from orchestrator.state.job_records import JobRecords
from shared.errors import Unavailable
from shared.jobs.states import ExecutionState
from shared.runtime.durable import boot_id
from shared.runtime.version import version_text

_log = logging.getLogger(__name__)

IN_MEMORY = ":memory:"
CLOSED = "closed"
"""In place of the boot in which it is written."""


class JobIndexNotWritable(Unavailable):
    """At the start; later on jobs stay in memory."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(
            f"The index of ended jobs, {path}, cannot be made: {error}.",
            hint="Give the disk of DataDir some room, and the folder to the user of the orchestrator.",
        )


class SavedPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Up to where the file has all that was stored, of which stream.

    That is up to the revision `followed`, which was stored at `followed_at`, in nanoseconds since 1970 by the server's
    clock. `stream` is when the stream was made, as the server tells it. `states` are those of executions of filed jobs.
    """

    stream: str
    followed: int
    followed_at: int
    states: dict[ExecutionState, int]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SavedPlace)


@cache
def _format() -> str:
    """What a file is like that this program can read: its tables, and what is packed in them."""
    packed = [msgspec.json.schema(each) for each in (JobRecords, Progress, PinnedNeed)]
    return f"{version_text()} {hashlib.sha256(f'{TABLES}{packed}'.encode()).hexdigest()}"


def made(path: Path | None) -> sqlite3.Connection:
    """A new one, in memory without a path. Raises JobIndexNotWritable."""
    if path is None:
        return _with_tables(IN_MEMORY)
    try:
        remove(path)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # what SQLite adds has the same mode
        return _with_tables(str(path))
    except (OSError, sqlite3.Error) as error:
        raise JobIndexNotWritable(path, error) from error


def remove(path: Path) -> None:
    """Raises OSError."""
    for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        each.unlink(missing_ok=True)


def _with_tables(path: str) -> sqlite3.Connection:
    with ExitStack() as failing:
        file = failing.enter_context(closing(_connected(path)))
        file.executescript(TABLES)
        put(file, "format", _format())
        put(file, "boot", boot_id())
        failing.pop_all()
    return file


def _connected(path: str) -> sqlite3.Connection:
    with ExitStack() as failing:
        # What is forgotten any thread closes.
        file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        failing.enter_context(closing(file))
        for pragma in PRAGMAS:
            file.execute(pragma)
        failing.pop_all()
    return file


def opened(path: Path) -> tuple[sqlite3.Connection, SavedPlace | None]:
    """The file that is there, and up to where it has everything; a new one otherwise. Raises JobIndexNotWritable."""
    if path.exists():
        try:
            file = _connected(str(path))
        except sqlite3.Error as error:
            _log.info("The index of ended jobs is made anew, as it cannot be read: %s.", error)
        else:
            place, why = _reliable(file)
            if place is not None:
                return file, place
            _log.info("The index of ended jobs is made anew: %s.", why)
            file.close()
    return made(path), None


def _reliable(file: sqlite3.Connection) -> tuple[SavedPlace | None, str]:
    """Up to where the file has everything; None where it cannot be relied upon, and why."""
    try:
        if get(file, "format") != _format():
            return None, "another version of Tarpon has written it"
        if get(file, "boot") not in {CLOSED, boot_id()} or not boot_id():
            return None, "the machine went down while it was written"
        place = get(file, "place")
        if not isinstance(place, bytes):
            return None, "it was not finished"
        file.execute("PRAGMA synchronous = FULL")  # it is not closed any more, whatever happens
        put(file, "boot", boot_id())
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        file.execute("PRAGMA synchronous = OFF")
        return _decoder.decode(place), ""
    except (sqlite3.Error, msgspec.DecodeError) as error:
        return None, f"it cannot be read, {error}"


def get(file: sqlite3.Connection, name: str) -> object:
    found = file.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
    return found[0] if found is not None else None


def put(file: sqlite3.Connection, name: str, value: str | bytes) -> None:
    file.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))


def put_place(file: sqlite3.Connection, place: SavedPlace | None) -> None:
    if place is None:
        file.execute("DELETE FROM about WHERE name = 'place'")
    else:
        put(file, "place", _encoder.encode(place))


def close_in_order(file: sqlite3.Connection) -> None:
    """Have all of it on disk, and say so. What fails leaves a file that is good until the machine goes down."""
    with suppress(sqlite3.Error):
        file.execute("PRAGMA synchronous = FULL")
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        put(file, "boot", CLOSED)
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
