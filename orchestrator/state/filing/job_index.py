"""The index of filed jobs: jobs that have ended, in an SQLite file beside the process instead of in its memory.

It is never the source of truth: all that is here follows from what is stored in NATS. Every look costs what it finds,
however many jobs there are, and pages go on after a key, not after a number of rows.
"""

import hashlib
import logging
import os
import sqlite3
import weakref
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from orchestrator.state.filing.folded_job import FiledRow, FoldedJob
from orchestrator.state.filing.job_index_tables import (
    INSERT_EXECUTION,
    INSERT_JOB,
    INSERT_LABEL,
    INSERT_NAME,
    INSERT_RECORDS,
    INSERT_TOKEN,
    PRAGMAS,
    READ,
    TABLES,
    JobListing,
    Place,
)
from orchestrator.state.job_records import ExitCodes
from shared.errors import Unavailable
from shared.ids import ExecutionId, JobId, new_execution_id
from shared.jobs.states import JobState
from shared.protocol import subjects

_log = logging.getLogger(__name__)

FIRST_ROWS, MORE_ROWS = 64, 512
"""So many rows are read at first and then, as most readers want a page alone."""
LOOKED_AT_ONCE = 4096
"""Rows of a search through all of them."""
MOST_LEFT = 256
"""So many jobs that were taken out are taken out of the file at once, where nothing is put in meanwhile."""
IN_MEMORY = ":memory:"

_codes = msgspec.msgpack.Decoder(ExitCodes)
_labels = msgspec.msgpack.Decoder(dict[str, str])
_revisions = msgspec.msgpack.Decoder(dict[str, int])
_encoder = msgspec.msgpack.Encoder()
_NO_LABELS: dict[str, str] = {}
_STATES = {state.value: state for state in JobState}


class JobIndexNotWritable(Unavailable):
    """At the start; later on jobs stay in memory."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(
            f"The index of ended jobs, {path}, cannot be made: {error}.",
            hint="Give the disk of DataDir some room, and the folder to the user of the orchestrator.",
        )


class FiledJob(NamedTuple):
    """What lists look at, as the columns have it."""

    id: JobId
    namespace: str
    name: str
    created: int
    modified: int
    state: str
    is_schedule: int
    packed_codes: bytes | None
    packed_labels: bytes | None

    @property
    def listed_state(self) -> JobState:
        return _STATES[self.state]

    @property
    def exit_codes(self) -> ExitCodes:
        return _codes.decode(self.packed_codes) if self.packed_codes else ()

    @property
    def labels(self) -> dict[str, str]:
        return _labels.decode(self.packed_labels) if self.packed_labels else _NO_LABELS


class KnownKeys:
    """Keys of which most that were never added are told apart from the others at no cost, in 4 MiB however many."""

    def __init__(self) -> None:
        self._bits = bytearray(1 << 22)

    def add(self, key: Hashable) -> None:
        at = hash(key) & (1 << 25) - 1
        self._bits[at >> 3] |= 1 << (at & 7)

    def __contains__(self, key: Hashable) -> bool:
        """Whether it may have been added; it was not where this is false."""
        at = hash(key) & (1 << 25) - 1
        return bool(self._bits[at >> 3] >> (at & 7) & 1)

    def __repr__(self) -> str:
        return f"<KnownKeys: {sum(each.bit_count() for each in self._bits)} bits>"


class JobIndex:
    """`path` is of the file, which is made anew; without one it is in memory. Raises JobIndexNotWritable."""

    def __init__(self, path: Path | None = None) -> None:
        #: How many jobs there are, and by namespace.
        self.count = 0
        self.namespaces: Counter[str] = Counter()
        self._path = path
        self._problem = ""
        self._known = KnownKeys()
        self._left: set[JobId] = set()
        """Jobs that have been taken out, of which the file has something until it is written next."""
        self._file = _made(path)
        self.close = weakref.finalize(self, self._file.close)
        """Also done for whoever forgets it, which Python 3.13 warns of."""

    # ---- writing ------------------------------------------------------------------------------------------------

    def write(self, jobs: Sequence[FoldedJob]) -> bool:
        """Take in jobs that are not here; False where the file cannot take them, and is as it was."""
        try:
            self._write(jobs)
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                self._file.rollback()
            if self._problem != str(error):
                self._problem = str(error)
                told = "The index of ended jobs, %s, cannot be written: %s. Meanwhile they stay in memory."
                _log.warning(told, self._path or IN_MEMORY, error)
            return False
        if self._problem:
            _log.info("The index of ended jobs can be written again.")
            self._problem = ""
        self._left.clear()
        for job in jobs:
            self._count(job.namespace, 1)
            self._known.add(job.id)
            self._known.add((job.namespace, job.name))
            for known in (*(execution for execution, _ in job.executions), *job.tokens):
                self._known.add(known)
        return True

    def _write(self, jobs: Sequence[FoldedJob]) -> None:
        file = self._file
        file.execute("BEGIN")
        for job in self._left:
            _delete(file, job)
        _insert(file, jobs)
        file.execute("COMMIT")

    def take_out(self, job: JobId, namespace: str) -> None:
        """From now on a job that is here is not."""
        self._left.add(job)
        self._count(namespace, -1)
        if len(self._left) % MOST_LEFT == 0:
            self.write(())

    def _count(self, namespace: str, change: int) -> None:
        self.count += change
        self.namespaces[namespace] += change
        if not self.namespaces[namespace]:
            del self.namespaces[namespace]

    # ---- one job ------------------------------------------------------------------------------------------------

    def has(self, job: JobId) -> bool:
        return self._may_have(job) and self._one("SELECT 1 FROM jobs WHERE id = ?", job) is not None

    def _may_have(self, job: JobId) -> bool:
        return job in self._known and job not in self._left

    def read(self, job: JobId) -> FiledRow | None:
        if not self._may_have(job):
            return None
        found = self._one(f"SELECT {READ} FROM jobs JOIN records USING (number) WHERE id = ?", job)  # noqa: S608
        return FiledRow._make(found) if found is not None else None

    def revision_of(self, job: JobId, part: str) -> int:
        """Of a record of a job, or of what follows its id in a key; 0 where it is not here."""
        found = None if not self._may_have(job) else self._one("SELECT revision, revisions FROM jobs WHERE id = ?", job)
        if found is None:
            return 0
        return _revisions.decode(found[1]).get(part, 0) if part else int(found[0])

    def ended_at(self, job: JobId) -> int | None:
        found = None if not self._may_have(job) else self._one("SELECT modified FROM jobs WHERE id = ?", job)
        return int(found[0]) if found is not None else None

    def place_of(self, execution: ExecutionId) -> str:
        """As ExecutionIndex has it; empty where it is not here."""
        if execution not in self._known:
            return ""
        query = "SELECT id, place FROM executions JOIN jobs USING (number) WHERE hash = ?"
        found = self._one(query, _hash_of(execution))
        return "" if found is None or JobId(found[0]) in self._left else str(found[1] or found[0])

    # ---- names --------------------------------------------------------------------------------------------------

    def named(self, namespace: str, name: str) -> JobId | None:
        """The job that has this name."""
        if (namespace, name) not in self._known:
            return None
        return self._first("SELECT id FROM names WHERE namespace = ? AND name = ? AND is_named", namespace, name)

    def with_name_record(self, namespace: str, name: str) -> tuple[JobId, int] | None:
        """The job with which the record of this name is kept, and the revision of that."""
        if (namespace, name) not in self._known:
            return None
        query = "SELECT id, revision FROM names WHERE namespace = ? AND name = ? AND revision > 0"
        found = ((JobId(job), int(revision)) for job, revision in self._rows(query, namespace, name))
        return next((each for each in found if each[0] not in self._left), None)

    def of_token(self, namespace: str, token: str) -> JobId | None:
        if token not in self._known:
            return None
        return self._first("SELECT id FROM tokens WHERE namespace = ? AND token = ?", namespace, token)

    def _first(self, query: str, *bound: object) -> JobId | None:
        found = (JobId(job) for (job,) in self._rows(query, *bound))
        return next((job for job in found if job not in self._left), None)

    def begun_with(self, text: str) -> list[JobId]:
        """The jobs whose ids begin so."""
        query = "SELECT id FROM jobs WHERE id >= ? AND id < ?"
        found = self._rows(query, text, text + "\U0010ffff")
        return [JobId(job) for (job,) in found if job not in self._left]

    # ---- lists --------------------------------------------------------------------------------------------------

    def listed(self, listing: JobListing, beyond: Place | None = None) -> Iterator[FiledJob]:
        """From the job after a place on. To be read at once."""
        wanted = FIRST_ROWS
        while True:
            query, bound = listing.query(beyond)
            rows = self._rows(query, *bound, wanted)
            for row in map(FiledJob._make, rows):
                if row.id not in self._left:
                    yield row
            if len(rows) < wanted:
                return
            last = FiledJob._make(rows[-1])
            beyond, wanted = tuple(getattr(last, column) for column in listing.order), MORE_ROWS

    def count_of_label(self, label: tuple[str, str], most: int) -> int:
        """How many jobs have this label, as far as they are not more than so many."""
        query = "SELECT count(*) FROM (SELECT 1 FROM labels WHERE key = ? AND value = ? LIMIT ?)"
        found = self._one(query, *label, most)
        return int(found[0]) if found is not None else 0

    # ---- all ----------------------------------------------------------------------------------------------------

    def oldest(self, most: int, before: int, *, published: bool = False) -> list[JobId]:
        """Jobs that ended no later than `before`, the oldest first; on request those alone that have objects."""
        condition = "AND published" if published else ""
        query = f"SELECT id FROM jobs WHERE modified <= ? {condition} ORDER BY modified, id LIMIT ?"  # noqa: S608
        found = self._rows(query, before, most + len(self._left))
        return [JobId(job) for (job,) in found if job not in self._left][:most]

    def ids(self) -> Iterator[JobId]:
        """Of all jobs, some of which may come or go meanwhile."""
        beyond = ""
        while True:
            rows = self._rows("SELECT id FROM jobs WHERE id > ? ORDER BY id LIMIT ?", beyond, MORE_ROWS)
            yield from (JobId(job) for (job,) in rows if job not in self._left)
            if not rows:
                return
            beyond = rows[-1][0]

    def searched(self, condition: str, *bound: object) -> Iterator[list[JobId]]:
        """The jobs of which an SQL condition is true, some rows after others; meanwhile some may come or go."""
        query = f"SELECT id FROM jobs WHERE number BETWEEN ? AND ? AND {condition}"  # noqa: S608  # no text of others
        last = self._one("SELECT max(number) FROM jobs")
        for number in range(0, (last[0] if last is not None else None) or 0, LOOKED_AT_ONCE):
            rows = self._rows(query, number + 1, number + LOOKED_AT_ONCE, *bound)
            yield [JobId(job) for (job,) in rows if job not in self._left]

    def all_revisions(self) -> Iterator[tuple[JobId, int, dict[str, int]]]:
        """Of each job that of its record, and those of what follows its id in keys."""
        query = "SELECT id, revision, revisions FROM jobs WHERE id > ? ORDER BY id LIMIT ?"
        beyond = ""
        while rows := self._rows(query, beyond, MORE_ROWS):
            for job, revision, revisions in rows:
                if job not in self._left:
                    yield JobId(job), int(revision), _revisions.decode(revisions)
            beyond = rows[-1][0]

    def name_revisions(self) -> Iterator[tuple[str, int]]:
        """The keys of the records of names, with their revisions."""
        query = (
            "SELECT namespace, name, id, revision FROM names WHERE (namespace, name, id) > (?, ?, ?)"
            " ORDER BY namespace, name, id LIMIT ?"
        )
        beyond = ("", "", "")
        while rows := self._rows(query, *beyond, MORE_ROWS):
            for namespace, name, job, revision in rows:
                if revision and job not in self._left:
                    yield subjects.name_record(namespace, name), int(revision)
            beyond = rows[-1][:3]

    def _rows(self, query: str, *bound: object) -> list[Any]:
        try:
            return self._file.execute(query, bound).fetchall()
        except UnicodeEncodeError:  # nothing is called by what is no text
            return []

    def _one(self, query: str, *bound: object) -> Any:
        return next(iter(self._rows(query, *bound)), None)

    def __repr__(self) -> str:
        return f"<JobIndex of {self.count} jobs in {self._path or IN_MEMORY}>"


def _made(path: Path | None) -> sqlite3.Connection:
    if path is None:
        return _with_tables(IN_MEMORY)
    try:
        for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            each.unlink(missing_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # what SQLite adds has the same mode
        return _with_tables(str(path))
    except (OSError, sqlite3.Error) as error:
        raise JobIndexNotWritable(path, error) from error


def _with_tables(path: str) -> sqlite3.Connection:
    file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)  # what is forgotten any thread closes
    for pragma in PRAGMAS:
        file.execute(pragma)
    file.executescript(TABLES)
    return file


def _insert(file: sqlite3.Connection, jobs: Sequence[FoldedJob]) -> None:
    """One statement for each table costs half of one for each row."""
    first = file.execute("SELECT coalesce(max(number), 0) + 1 FROM jobs").fetchone()[0]
    file.executemany(INSERT_JOB, [_row(number, job) for number, job in enumerate(jobs, first)])
    file.executemany(INSERT_RECORDS, [(number, job.more, job.packed) for number, job in enumerate(jobs, first)])
    executions = [
        (_hash_of(execution), number, place if place != job.id else None)
        for number, job in enumerate(jobs, first)
        for execution, place in job.executions
    ]
    file.executemany(INSERT_EXECUTION, executions)
    labels = [(key, value, job.created, job.id) for job in jobs for key, value in job.labels.items()]
    file.executemany(INSERT_LABEL, labels)
    named = (job for job in jobs if job.tie.is_named or job.tie.revision)
    names = [(job.namespace, job.name, job.id, job.tie.revision, job.tie.is_named) for job in named]
    file.executemany(INSERT_NAME, names)
    file.executemany(INSERT_TOKEN, [(job.namespace, token, job.id) for job in jobs for token in job.tokens])


def _hash_of(execution: ExecutionId) -> int:
    """A column of numbers takes a sixth of one of ids, which come in no order."""
    return int.from_bytes(hashlib.sha256(execution.encode()).digest()[:8], signed=True)


def _row(number: int, job: FoldedJob) -> tuple[object, ...]:
    return (
        number,
        job.id,
        job.namespace,
        job.name,
        job.created,
        job.modified,
        job.published,
        job.ended_by,
        job.state.value,
        job.is_schedule,
        job.exit_codes,
        _encoder.encode(job.labels) if job.labels else None,
        job.revision,
        job.revisions,
    )


def _delete(file: sqlite3.Connection, job: JobId) -> None:
    query = "SELECT number, namespace, name, created, labels, revisions FROM jobs WHERE id = ?"
    found = file.execute(query, (job,)).fetchone()
    if found is None:
        return
    number, namespace, name, created, labels, revisions = found
    for key, value in _labels.decode(labels).items() if labels else ():
        file.execute(
            "DELETE FROM labels WHERE key = ? AND value = ? AND created = ? AND id = ?", (key, value, created, job)
        )
    executions = [new_execution_id(f"{job}.{part}") for part in _revisions.decode(revisions) if "." in part]
    file.executemany("DELETE FROM executions WHERE hash = ?", [(_hash_of(each),) for each in executions])
    file.execute("DELETE FROM names WHERE namespace = ? AND name = ? AND id = ?", (namespace, name, job))
    file.execute("DELETE FROM tokens WHERE id = ?", (job,))
    file.execute("DELETE FROM records WHERE number = ?", (number,))
    file.execute("DELETE FROM jobs WHERE number = ?", (number,))
