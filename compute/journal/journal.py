"""The journal: what the node remembers of unfinished work, so that its own death loses nothing.

It is one file, to which an execution's entry is added anew at each phase, from before its task is started until the
orchestrator's receipt. What is only queued has none: the orchestrator offers it again. A URL is never in it. Whoever
works in a thread already writes there; what comes from the event loop is written by one thread, as much at a time as
has come.

It is not synced: after a power cut an entry may be damaged or gone. Then the orchestrator learns from the inventory
that the node does not hold the execution, which is safe, while a sync would cost every execution milliseconds. For
the same reason a result may be torn then (compute/journal/kept_results.py).
"""

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from compute.disk import private_file
from compute.disk.spare_folders import SpareFolders
from compute.disk.workspace import Workspace, remove_execution
from compute.journal.entry import DamagedEntry, Entry, encode_entry
from compute.journal.file import LEAST_REWRITTEN_BYTES, JournalFile, forgetting_line, line
from compute.journal.leftovers import is_the_nodes
from compute.journal.reading import read_journal
from compute.journal.write_batches import WriteBatches
from shared.ids import ExecutionId, is_safe_id
from shared.runtime.aio import settled
from shared.runtime.log_lines import about

_log = logging.getLogger(__name__)

FILE = "journal.jsonl"
WRITE_SECONDS = 60.0
"""How long a disk may take before a write counts as failed."""


class Journal:
    """All entries, in a file beside `root`; below that, each execution has its folder.

    `put` and `recover` block, and may be called in any thread. All else is for the event loop, whose writes have a
    thread of their own, so that packing results cannot make an end wait.
    """

    def __init__(self, root: Path, *, least_rewritten_bytes: int = LEAST_REWRITTEN_BYTES) -> None:
        self._root = root
        self._spares = SpareFolders(root)
        self._file = JournalFile(root.with_name(FILE), least_rewritten_bytes=least_rewritten_bytes)
        self._entries: dict[ExecutionId, Entry] = {}
        """What the file says."""
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._batches: WriteBatches[Entry] = WriteBatches(self._thread, self.put)

    def __repr__(self) -> str:
        return f"<Journal {self._root}, {len(self._entries)} entries>"

    def workspace(self, entry: Entry) -> Workspace:
        has_paths = bool(entry.assignment.task.result_paths)
        return Workspace(self._root / entry.execution_id, has_paths=has_paths, spares=self._spares)

    def put(self, *entries: Entry) -> None:
        """Each is an execution's only one from now on. Raises OSError."""
        lines = b"".join(map(_line, entries))
        with self._lock:
            self._file.append(lines)
            self._entries.update((entry.execution_id, entry) for entry in entries)
            self._rewrite_if_large()

    async def write(self, entry: Entry) -> None:
        """Returns, also when cancelled, only when the entry is written or could not be. Raises OSError."""
        await settled(self._batches.add(entry), within=WRITE_SECONDS)

    def note(self, entry: Entry) -> None:
        """Write it soon.

        That it could not be written is only logged: an end is told all the same, and were the node to restart then, it
        would tell another one, which changes nothing.
        """
        self._batches.add(entry).add_done_callback(_log_failure)

    async def delete(self, execution_ids: Sequence[ExecutionId]) -> None:
        """Forget the entries first, then what they leave on disk, which may take longer.

        Raises OSError where they cannot be forgotten, such as on a full disk; to be tried again.
        """
        await self._batches.written()  # else a line that is late would stand behind the one that forgets it
        await asyncio.to_thread(self._delete, execution_ids)

    def recover(self) -> Iterator[Entry | DamagedEntry]:
        """What an earlier process of this node left. Blocks; meant for the start."""
        private_file.make_folder(self._root)
        with self._lock:
            found = read_journal(self._file.read(), self._root)
            self._entries = found.entries
            self._file.rewrite(map(_line, self._entries.values()))
            for entry in self._entries.values():
                self.workspace(entry).take_over()
        found.forget_earlier()
        for folder in sorted(self._root.iterdir()):
            if (
                folder.name not in found.entries
                and is_safe_id(folder.name)
                and folder.is_dir()
                and is_the_nodes(folder)
            ):
                _remove(folder)  # never started, or already forgotten
        yield from found.damaged
        yield from list(found.entries.values())

    def entries(self) -> list[Entry]:
        """What the file says."""
        with self._lock:
            return list(self._entries.values())

    def put_through(self, entry: Entry) -> None:
        """As `put`, and a power cut does not undo it. Blocks; raises OSError."""
        self.put(entry)
        with self._lock:
            self._file.sync()

    async def written(self) -> None:
        """When all is written that was to be until now."""
        await self._batches.written()

    async def close(self) -> None:
        """When all is written."""
        await self.written()
        await asyncio.to_thread(self._close)

    def _delete(self, execution_ids: Sequence[ExecutionId]) -> None:
        try:
            self._forget(execution_ids)
        finally:  # on a full disk too: this makes room
            self._remove(execution_ids)

    def _forget(self, execution_ids: Sequence[ExecutionId]) -> None:
        with self._lock:
            known = [each for each in execution_ids if each in self._entries]
            if known:
                self._file.append(b"".join(map(forgetting_line, known)))
                for execution_id in known:
                    del self._entries[execution_id]
                self._rewrite_if_large()

    def _remove(self, execution_ids: Sequence[ExecutionId]) -> None:
        for execution_id in execution_ids:
            root = self._root / execution_id
            if not self._spares.keep(root):
                _remove(root)

    def _close(self) -> None:
        self._thread.shutdown()
        with self._lock:
            self._file.close()

    def _rewrite_if_large(self) -> None:
        if self._file.is_large:
            try:
                self._file.rewrite(map(_line, self._entries.values()))
            except OSError as error:
                _log.warning("%r cannot be rewritten and goes on growing: %s", self._file, error)


def _remove(root: Path) -> None:
    try:
        remove_execution(root)
    except OSError as error:
        told = "The folder of execution %s cannot be removed: %s"
        _log.warning(told, root.name, error, extra=about(execution=ExecutionId(root.name)))


def _line(entry: Entry) -> bytes:
    return line(entry.execution_id, encode_entry(entry))


def _log_failure(written: "asyncio.Future[None]") -> None:
    if not written.cancelled() and (error := written.exception()) is not None:
        _log.warning("The end of an execution cannot be written to the journal: %s", error)
