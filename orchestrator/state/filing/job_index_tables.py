"""Tables of the index of filed jobs, and how its lists are read in order, from any place on."""

from typing import Any, NamedTuple

PRAGMAS = (
    "PRAGMA page_size = 4096",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = OFF",
    "PRAGMA cache_size = -8192",
    "PRAGMA mmap_size = 0",
    "PRAGMA temp_store = MEMORY",
)
"""Nothing of it has to survive a power cut, after which it is made anew. The cache has 8 MiB."""

COLUMNS = "id, namespace, name, created, modified, state, is_schedule, codes, labels"
"""What lists look at."""
READ = "namespace, name, created, modified, ended_by, state, is_schedule, codes, labels, revision, more, packed"
"""What a job is made of again."""

TABLES = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    published INTEGER NOT NULL,
    ended_by INTEGER NOT NULL,
    state TEXT NOT NULL,
    is_schedule INTEGER NOT NULL,
    code INTEGER,
    codes BLOB,
    labels BLOB,
    revision INTEGER NOT NULL,
    revisions BLOB NOT NULL,
    is_noted INTEGER NOT NULL
);
CREATE INDEX jobs_created ON jobs (created, id);
CREATE INDEX jobs_modified ON jobs (modified, created, id);
CREATE INDEX jobs_of_namespace ON jobs (namespace, created, id);
CREATE INDEX jobs_of_namespace_modified ON jobs (namespace, modified, created, id);
CREATE INDEX jobs_of_namespace_id ON jobs (namespace, id);
CREATE INDEX jobs_published ON jobs (modified, id) WHERE published;
CREATE INDEX jobs_noted ON jobs (number) WHERE is_noted;
CREATE TABLE records (number INTEGER PRIMARY KEY, more BLOB, packed BLOB NOT NULL);
CREATE TABLE executions (hash INTEGER PRIMARY KEY, number INTEGER NOT NULL, place TEXT);
CREATE TABLE labels (
    key TEXT NOT NULL, value TEXT NOT NULL, created INTEGER NOT NULL, id TEXT NOT NULL,
    PRIMARY KEY (key, value, created, id)
) WITHOUT ROWID;
CREATE TABLE names (
    namespace TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL, revision INTEGER NOT NULL, is_named INTEGER NOT NULL,
    PRIMARY KEY (namespace, name, id)
) WITHOUT ROWID;
CREATE TABLE tokens (
    namespace TEXT NOT NULL, token TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (namespace, token, id)
) WITHOUT ROWID;
CREATE INDEX tokens_of_job ON tokens (id);
CREATE TABLE kept (
    job TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (job, key)
) WITHOUT ROWID;
CREATE TABLE about (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""

INSERT_JOB = "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_RECORDS = "INSERT INTO records VALUES (?, ?, ?)"
INSERT_EXECUTION = "INSERT OR REPLACE INTO executions VALUES (?, ?, ?)"
INSERT_LABEL = "INSERT INTO labels VALUES (?, ?, ?, ?)"
INSERT_KEPT = "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)"
INSERT_NAME = "INSERT INTO names VALUES (?, ?, ?, ?, ?)"
INSERT_TOKEN = "INSERT INTO tokens VALUES (?, ?, ?)"  # noqa: S105  # it is a statement

CREATED, MODIFIED, BY_ID = ("created", "id"), ("modified", "created", "id"), ("id",)
"""The columns of each order, which together are of one job."""

LARGEST = (1 << 63) - 1
"""The largest number that a column takes."""

Place = tuple[Any, ...]

SEVERAL_CODES = -1
"""In place of a code, where the tasks of a job have ended with more than one."""
LOOKED_THROUGH = 16_384
"""So many jobs are looked through at once for those of a filter: 10 ms or so."""


class RowFilter(NamedTuple):
    """An SQL condition, with what is bound to it. Jobs of which it is not true are not wanted; others may be."""

    condition: str
    bound: tuple[Any, ...]


class JobListing(NamedTuple):
    """Jobs in an order: all, those of a namespace, or those with a label, in order of creation alone."""

    order: tuple[str, ...] = CREATED
    namespace: str | None = None
    label: tuple[str, str] | None = None
    newest_first: bool = False
    only: RowFilter | None = None
    looked_through: int = LOOKED_THROUGH

    def query(self, beyond: Place | None, *, until: Place | None = None) -> tuple[str, list[Any]]:
        """A statement that ends with how many rows are wanted, and what is bound to it before that.

        With `until` only those are given that come no later than this place and that are wanted.
        """
        columns, order = COLUMNS, ", ".join(self.order)
        table, conditions, bound = "jobs", list[str](), list[Any]()
        if self.label is not None:
            columns = ", ".join(f"jobs.{each}" for each in COLUMNS.split(", "))
            order = ", ".join(f"found.{each}" for each in self.order)
            table = "labels AS found CROSS JOIN jobs ON jobs.id = found.id"
            conditions.append("found.key = ? AND found.value = ?")
            bound += self.label
        elif self.namespace is not None:
            conditions.append("namespace = ?")
            bound.append(self.namespace)
        if beyond is not None:
            holes = ", ".join("?" * len(self.order))
            conditions.append(f"({order}) {'<' if self.newest_first else '>'} ({holes})")
            bound += [min(each, LARGEST) if isinstance(each, int) else each for each in beyond]
        if until is not None:
            holes = ", ".join("?" * len(self.order))
            conditions.append(f"({order}) {'>=' if self.newest_first else '<='} ({holes})")
            bound += until
        if until is not None and self.only is not None:
            conditions.append(f"({self.only.condition})")
            bound += self.only.bound
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        falling = " DESC" if self.newest_first else ""
        ordered = ", ".join(each + falling for each in order.split(", "))
        return f"SELECT {columns}, 1 FROM {table} {where} ORDER BY {ordered} LIMIT ?", bound  # noqa: S608  # no text of others
