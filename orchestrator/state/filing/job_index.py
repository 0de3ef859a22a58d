"""The index of filed jobs: jobs that have ended, in an SQLite file beside the process instead of in its memory.

It is never the source of truth: all that is here follows from what is stored in NATS. Every look costs what it finds,
however many jobs there are, and pages go on after a key, not after a number of rows.
"""

import logging
import random
import sqlite3
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from orchestrator.state.filing.filed_job import FiledJob, farthest, place_of
from orchestrator.state.filing.folded_job import FiledRow, FoldedJob
from orchestrator.state.filing.index_file import (
    IN_MEMORY,
    SavedPlace,
    close_in_order,
    made,
    opened,
    put_place,
    remove,
)
from orchestrator.state.filing.job_index_tables import (
    INSERT_KEPT,
    READ,
    JobListing,
    Place,
)
from orchestrator.state.filing.job_rows import delete, hash_of, insert
from orchestrator.state.filing.known_keys import KnownKeys
from shared.errors import Unavailable
from shared.ids import ExecutionId, JobId
from shared.jobs.states import JobState
from shared.protocol import subjects

_log = logging.getLogger(__name__)

FIRST_ROWS, MORE_ROWS = 64, 512
"""So many rows are read at first and then, as most readers want a page alone."""
LOOKED_AT_ONCE = 4096
"""Rows of a search through all of them."""

_revisions = msgspec.msgpack.Decoder(dict[str, int])
_STATES = {state.value: state for state in JobState}


class JobIndexDamaged(Unavailable):
    def __init__(self, path: Path | None, error: Exception) -> None:
        super().__init__(
            f"The index of ended jobs, {path or IN_MEMORY}, cannot be read: {error}.",
            hint="It is made anew when the orchestrator is started again. Have a look at the disk of DataDir.",
        )


class Writing(NamedTuple):
    """What is written together: all of it, or nothing.

    Of the jobs that are `gone` nothing stays. `kept` are records of jobs that are not filed, and of no job, with the
    job, key and revision of each, `lost` the jobs and keys of those that are kept no more, and `unkept` the jobs of
    which none is. `place` is up to where the file has all then, None where that was not found out.
    """

    jobs: Sequence[FoldedJob] = ()
    gone: Sequence[JobId] = ()
    kept: Sequence[tuple[str, str, int, bytes]] = ()
    lost: Sequence[tuple[str, str]] = ()
    unkept: Sequence[JobId] = ()
    place: SavedPlace | None = None


class JobIndex:
    """`path` is of the file, which is made anew; without one it is in memory. Raises JobIndexNotWritable."""

    def __init__(self, path: Path | None = None, *, again: bool = False) -> None:
        """With `again` the file that is there is used, if it can be relied upon; `saved` tells so, and `adopt` does."""
        #: How many jobs there are, and by namespace.
        self.count = 0
        self.namespaces: Counter[str] = Counter()
        #: Jobs that have been taken out, of which the file has something still.
        self.left: set[JobId] = set()
        #: Up to where the file has everything, of an earlier process.
        self.saved: SavedPlace | None = None
        self._path = path
        self._problem = ""
        self._is_damaged = False
        self._known = KnownKeys()
        if again and path is not None:
            file, self.saved = opened(path)
        else:
            file = made(path)
        self._use(file)
        if self.saved is not None:
            self._know_all()

    def _use(self, file: sqlite3.Connection) -> None:
        self._file = file
        self.close = weakref.finalize(self, file.close)
        """Also done for whoever forgets it, which Python 3.13 warns of."""

    def _know_all(self) -> None:
        """What the file has, so that it need not be asked for what it has not; a second or two for a million jobs."""
        known, file = self._known, self._file
        known.add_all(job for (job,) in file.execute("SELECT id FROM jobs"))
        known.add_all(file.execute("SELECT namespace, name FROM names"))
        known.add_all(execution for (execution,) in file.execute("SELECT hash FROM executions"))
        known.add_all(token for (token,) in file.execute("SELECT token FROM tokens"))

    def adopt(self) -> dict[JobState, int]:
        """Have the jobs that an earlier process has filed; how many there are in each state. Raises JobIndexDamaged."""
        self.namespaces.update(dict(self._rows("SELECT namespace, count(*) FROM jobs GROUP BY namespace")))
        self.count = self.namespaces.total()
        return {_STATES[state]: count for state, count in self._rows("SELECT state, count(*) FROM jobs GROUP BY state")}

    def begin_anew(self) -> None:
        """Forget all that the file has. Raises JobIndexNotWritable."""
        self.close()
        self.count, self.saved, self._known = 0, None, KnownKeys()
        self.namespaces.clear()
        self.left.clear()
        self._use(made(self._path))

    # ---- writing ------------------------------------------------------------------------------------------------

    def write(self, writing: Writing) -> bool:
        """False where the file cannot take it, and is as it was. Its `jobs` are not here, unless they are `gone`."""
        try:
            self._write(writing)
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
        self.left.difference_update(writing.gone)
        for job in writing.jobs:
            self._count(job.namespace, 1)
            self._known.add(job.id)
            if job.name != job.id:
                self._known.add((job.namespace, job.name))
            for execution, _ in job.executions:
                self._known.add(hash_of(execution))
            for token in job.tokens:
                self._known.add(token)
        return True

    def _write(self, writing: Writing) -> None:
        file = self._file
        file.execute("BEGIN")
        for job in writing.gone:
            delete(file, job)
        insert(file, writing.jobs)
        file.executemany("DELETE FROM kept WHERE job = ?", [(job,) for job in writing.unkept])
        file.executemany("DELETE FROM kept WHERE job = ? AND key = ?", writing.lost)
        file.executemany(INSERT_KEPT, writing.kept)
        if writing.place is not None:
            put_place(file, writing.place)
        file.execute("COMMIT")

    def distrust(self) -> None:
        """Have the next process make the file anew."""
        with suppress(sqlite3.Error):
            put_place(self._file, None)

    def close_in_order(self) -> None:
        """As `close`, and what is in it outlives the machine."""
        if self.close.alive:
            close_in_order(self._file)
        self.close()

    def take_out(self, job: JobId, namespace: str) -> None:
        """From now on a job that is here is not. It stays in the file until it is written as gone."""
        self.left.add(job)
        self._count(namespace, -1)

    def _count(self, namespace: str, change: int) -> None:
        self.count += change
        self.namespaces[namespace] += change
        if not self.namespaces[namespace]:
            del self.namespaces[namespace]

    # ---- what an earlier process has left -----------------------------------------------------------------------

    def kept(self) -> Iterator[list[tuple[str, int, bytes]]]:
        """The records that are kept beside filed jobs, as they were stored: keys, revisions and contents."""
        query = "SELECT key, revision, record FROM kept ORDER BY revision, key"
        cursor = self._file.execute(query)
        while rows := cursor.fetchmany(MORE_ROWS):
            yield rows

    def noted(self) -> Iterator[JobId]:
        """The jobs about which more has to be known than is here."""
        return (JobId(job) for (job,) in self._rows("SELECT id FROM jobs WHERE is_noted ORDER BY number"))

    def some(self, most: int) -> list[tuple[JobId, int]]:
        """Jobs with the revisions of their records: the last that were filed, and as many others."""
        last = self._one("SELECT coalesce(max(number), 0) FROM jobs")[0]
        numbers = {*range(last, last - most, -1), *(random.randint(1, max(last, 1)) for _ in range(most))}  # noqa: S311
        marks = ", ".join("?" * len(numbers))
        query = f"SELECT id, revision FROM jobs WHERE number IN ({marks})"  # noqa: S608  # marks alone
        return [(JobId(job), int(revision)) for job, revision in self._rows(query, *numbers)]

    def last_kept(self, most: int) -> list[tuple[str, int]]:
        """The keys and revisions of the records that were kept last."""
        return [
            (key, int(revision))
            for key, revision in self._rows("SELECT key, revision FROM kept ORDER BY revision DESC LIMIT ?", most)
        ]

    def kept_revision(self, key: str) -> int:
        """Of a record of no job; 0 where it is not kept."""
        found = self._one("SELECT revision FROM kept WHERE job = '' AND key = ?", key)
        return int(found[0]) if found is not None else 0

    # ---- one job ------------------------------------------------------------------------------------------------

    def has(self, job: JobId) -> bool:
        return self._may_have(job) and self._one("SELECT 1 FROM jobs WHERE id = ?", job) is not None

    def _may_have(self, job: JobId) -> bool:
        return job in self._known and job not in self.left

    def read(self, job: JobId) -> FiledRow | None:
        if not self._may_have(job):
            return None
        found = self._one(f"SELECT {READ} FROM jobs JOIN records USING (number) WHERE id = ?", job)  # noqa: S608
        return FiledRow._make(found) if found is not None else None

    def read_some(self, jobs: Sequence[JobId]) -> dict[JobId, FiledRow]:
        """As `read` of each that is here, at less cost."""
        wanted = [job for job in jobs if self._may_have(job)]
        marks = ", ".join("?" * len(wanted))
        query = f"SELECT id, {READ} FROM jobs JOIN records USING (number) WHERE id IN ({marks})"  # noqa: S608
        return {JobId(job): FiledRow._make(row) for job, *row in self._rows(query, *wanted)}

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
        number = hash_of(execution)
        if number not in self._known:
            return ""
        query = "SELECT id, place FROM executions JOIN jobs USING (number) WHERE hash = ?"
        found = self._one(query, number)
        return "" if found is None or JobId(found[0]) in self.left else str(found[1] or found[0])

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
        return next((each for each in found if each[0] not in self.left), None)

    def of_token(self, namespace: str, token: str) -> JobId | None:
        if token not in self._known:
            return None
        return self._first("SELECT id FROM tokens WHERE namespace = ? AND token = ?", namespace, token)

    def _first(self, query: str, *bound: object) -> JobId | None:
        found = (JobId(job) for (job,) in self._rows(query, *bound))
        return next((job for job in found if job not in self.left), None)

    def begun_with(self, text: str) -> list[JobId]:
        """The jobs whose ids begin so."""
        query = "SELECT id FROM jobs WHERE id >= ? AND id < ?"
        found = self._rows(query, text, text + "\U0010ffff")
        return [JobId(job) for (job,) in found if job not in self.left]

    # ---- lists --------------------------------------------------------------------------------------------------

    def listed(self, listing: JobListing, beyond: Place | None = None) -> Iterator[FiledJob]:
        """From the job after a place on. To be read at once.

        Where few are wanted, some that are not are among them, each after as many as are looked through at once.
        """
        if listing.only is None:
            yield from self._all_listed(listing, beyond)
            return
        while True:
            query, bound = listing.query(beyond)
            found = self._one(f"{query} OFFSET ?", *bound, 1, listing.looked_through - 1)
            last = FiledJob._make(found)._replace(looked_at=listing.looked_through) if found is not None else None
            until = place_of(last, listing) if last is not None else farthest(listing)
            for row in self._all_listed(listing, beyond, until=until):
                if last is None or row.id != last.id:
                    yield row
            if last is None:
                return
            yield last
            beyond = until

    def _all_listed(
        self, listing: JobListing, beyond: Place | None, *, until: Place | None = None
    ) -> Iterator[FiledJob]:
        wanted = FIRST_ROWS
        while True:
            query, bound = listing.query(beyond, until=until)
            rows = self._rows(query, *bound, wanted)
            for row in map(FiledJob._make, rows):
                if row.id not in self.left:
                    yield row
            if len(rows) < wanted:
                return
            beyond, wanted = place_of(FiledJob._make(rows[-1]), listing), MORE_ROWS

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
        found = self._rows(query, before, most + len(self.left))
        return [JobId(job) for (job,) in found if job not in self.left][:most]

    def ids(self) -> Iterator[JobId]:
        """Of all jobs, some of which may come or go meanwhile."""
        beyond = ""
        while True:
            rows = self._rows("SELECT id FROM jobs WHERE id > ? ORDER BY id LIMIT ?", beyond, MORE_ROWS)
            yield from (JobId(job) for (job,) in rows if job not in self.left)
            if not rows:
                return
            beyond = rows[-1][0]

    def searched(self, condition: str, *bound: object) -> Iterator[list[JobId]]:
        """The jobs of which an SQL condition is true, some rows after others; meanwhile some may come or go."""
        query = f"SELECT id FROM jobs WHERE number BETWEEN ? AND ? AND {condition}"  # noqa: S608  # no text of others
        last = self._one("SELECT max(number) FROM jobs")
        for number in range(0, (last[0] if last is not None else None) or 0, LOOKED_AT_ONCE):
            rows = self._rows(query, number + 1, number + LOOKED_AT_ONCE, *bound)
            yield [JobId(job) for (job,) in rows if job not in self.left]

    def all_revisions(self) -> Iterator[tuple[JobId, int, dict[str, int]]]:
        """Of each job that of its record, and those of what follows its id in keys."""
        query = "SELECT id, revision, revisions FROM jobs WHERE id > ? ORDER BY id LIMIT ?"
        beyond = ""
        while rows := self._rows(query, beyond, MORE_ROWS):
            for job, revision, revisions in rows:
                if job not in self.left:
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
                if revision and job not in self.left:
                    yield subjects.name_record(namespace, name), int(revision)
            beyond = rows[-1][:3]

    def _rows(self, query: str, *bound: object) -> list[Any]:
        try:
            return self._file.execute(query, bound).fetchall()
        except UnicodeEncodeError:  # nothing is called by what is no text
            return []
        except sqlite3.DatabaseError as error:
            self._forsake(error)
            raise JobIndexDamaged(self._path, error) from error

    def _forsake(self, error: Exception) -> None:
        """Have the next process make the file anew, of which something cannot be read."""
        if not self._is_damaged:
            self._is_damaged = True
            _log.error("The index of ended jobs, %s, cannot be read: %s", self._path or IN_MEMORY, error)
        if self._path is not None:
            with suppress(OSError):
                remove(self._path)

    def _one(self, query: str, *bound: object) -> Any:
        return next(iter(self._rows(query, *bound)), None)

    def __repr__(self) -> str:
        return f"<JobIndex of {self.count} jobs in {self._path or IN_MEMORY}>"
