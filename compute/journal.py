"""What the node remembers of unfinished work, so that its own death loses nothing.

One folder per execution, `<id>/journal.json` beside the workspace and the result. It is written before the node says
that it has an execution, at each later phase, and is deleted on the orchestrator's receipt. A URL is never in it.

It is not synced: after a power cut an entry may be damaged or gone. Then the orchestrator learns from the inventory
that the node does not hold the execution, which is safe, while a sync would cost every execution milliseconds.
"""

import asyncio
import contextlib
import enum
import logging
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from compute import private_file
from compute.process_mark import ProcessMark
from compute.workspace import Workspace, remove_tree
from shared.aio import in_thread
from shared.ids import ExecutionId, is_safe_id
from shared.job_rules import NO_PUBLISHERS
from shared.messages import AnyFact, Assignment

_log = logging.getLogger(__name__)

FILE = "journal.json"
WRITE_SECONDS = 60.0
"""How long a disk may take before a write counts as failed."""
DISK_SECONDS = 600.0
"""How long moving or removing the folders of one execution may take."""


class Phase(enum.StrEnum):
    ACCEPTED = "accepted"
    STARTED = "started"
    ENDED = "ended"
    """The task has ended and the result folder is complete."""
    PUBLISHED = "published"
    FAILED = "failed"
    CANCELLED = "cancelled"


_FINAL = frozenset({Phase.PUBLISHED, Phase.FAILED, Phase.CANCELLED})


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """A fact with the time of this machine's clock, seconds since 1970, at which it happened."""

    fact: AnyFact
    at: float


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    assignment: Assignment
    phase: Phase
    happenings: tuple[Happening, ...] = ()
    process: ProcessMark | None = None
    warnings: tuple[str, ...] = ()
    schema: int = 1

    @property
    def execution_id(self) -> ExecutionId:
        return self.assignment.execution_id

    @property
    def publishes(self) -> bool:
        return self.assignment.task.publisher.type.lower() not in NO_PUBLISHERS

    @property
    def is_final(self) -> bool:
        """Nothing is left to do but to tell the orchestrator, until it says that it knows."""
        return self.phase in _FINAL or (self.phase is Phase.ENDED and not self.publishes)


def new_entry(assignment: Assignment) -> Entry:
    return Entry(assignment=msgspec.structs.replace(assignment, archive=None), phase=Phase.ACCEPTED)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)


class DamagedEntry(msgspec.Struct, frozen=True):
    """An entry that could not be read and was set aside."""

    execution_id: ExecutionId
    why: str


class Journal:
    """All entries below `root`. Its threads are its own, so that packing results cannot make an order wait."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="journal")

    def __repr__(self) -> str:
        return f"<Journal {self._root}>"

    def workspace(self, execution_id: ExecutionId) -> Workspace:
        return Workspace(self._folder(execution_id))

    async def write(self, entry: Entry) -> None:
        """Returns, also when cancelled, only when the entry is written or could not be. Raises OSError."""
        await in_thread(partial(self._write, entry), within=WRITE_SECONDS, pool=self._threads)

    async def record(self, make: Callable[[], Entry]) -> Entry:
        """As `write`, of an entry that is made in the same thread, by work on the execution's folder."""

        def made_and_written() -> Entry:
            entry = make()
            self._write(entry)
            return entry

        return await in_thread(made_and_written, within=DISK_SECONDS, pool=self._threads)

    async def delete(self, execution_id: ExecutionId) -> None:
        """Forget the entry first, then what it leaves on disk, which may take longer. Raises OSError."""
        await asyncio.to_thread(self._delete, self._folder(execution_id))

    def recover(self) -> Iterator[Entry | DamagedEntry]:
        """What an earlier process of this node left. Blocks; meant for the start."""
        private_file.make_folder(self._root)
        for folder in sorted(self._root.iterdir()):
            if not is_safe_id(folder.name) or not folder.is_dir():
                continue
            found = self._read(folder)
            if found is None:
                remove_tree(folder)  # never accepted, or already forgotten
            else:
                yield found

    def close(self) -> None:
        self._threads.shutdown()

    def _folder(self, execution_id: ExecutionId) -> Path:
        return self._root / execution_id

    def _write(self, entry: Entry) -> None:
        folder = self._folder(entry.execution_id)
        private_file.make_folder(folder)
        try:
            private_file.replace(folder / FILE, _encoder.encode(entry))
        except OSError:
            with contextlib.suppress(OSError):  # one with anything in it is needed still
                folder.rmdir()
            raise

    def _delete(self, folder: Path) -> None:
        (folder / FILE).unlink(missing_ok=True)
        remove_tree(folder)

    def _read(self, folder: Path) -> Entry | DamagedEntry | None:
        path = folder / FILE
        try:
            entry = _decoder.decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self._set_aside(folder, str(error))
        if entry.execution_id != folder.name:
            return self._set_aside(folder, "the entry is of another execution")
        return entry

    def _set_aside(self, folder: Path, why: str) -> DamagedEntry:
        aside = self._root.with_name("damaged") / folder.name
        private_file.make_folder(aside.parent)
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        _log.error("The journal of execution %s cannot be read (%s) and was moved to %s.", folder.name, why, aside)
        return DamagedEntry(ExecutionId(folder.name), why)
