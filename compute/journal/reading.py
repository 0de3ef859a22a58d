"""Reading of the journal that an earlier process of this node wrote, and what of it is damaged."""

import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

from compute.disk import private_file
from compute.disk.removal import remove_tree
from compute.journal.entry import DamagedEntry, Entry, decode_entry
from compute.journal.file import FORGOTTEN, JournalLine
from shared.ids import ExecutionId, is_safe_id

_log = logging.getLogger(__name__)

EARLIER_FILE = "journal.json"
"""In an execution's folder, where earlier versions had its entry."""
DAMAGED = "damaged"
"""Beside the executions' folders: what cannot be read."""
LINE_FILE = "journal.jsonl"


class JournalRead:
    """What lines say about executions whose folders are below `root`. All methods block."""

    def __init__(self, root: Path) -> None:
        self.entries: dict[ExecutionId, Entry] = {}
        self._root = root
        self._unreadable: dict[ExecutionId, tuple[str, bytes]] = {}
        self._earlier: list[Path] = []
        self.damaged: list[DamagedEntry] = []

    def __repr__(self) -> str:
        return f"<JournalRead {len(self.entries)} entries, {len(self.damaged)} damaged>"

    def take(self, line: JournalLine) -> None:
        name, content = ExecutionId(line.name), line.content
        if not is_safe_id(name):
            _log.error("A line of %d bytes in the journal names no execution and is dropped.", len(content))
            return
        self.entries.pop(name, None)
        self._unreadable.pop(name, None)
        if content != FORGOTTEN:
            self._take_entry(name, content)

    def take_earlier(self) -> None:
        """Where the journal itself says nothing, what an earlier version left in an execution's folder counts."""
        for path in sorted(self._root.glob(f"*/{EARLIER_FILE}")):
            name = ExecutionId(path.parent.name)
            self._earlier.append(path)
            if is_safe_id(name) and name not in self.entries and name not in self._unreadable:
                self._take_entry(name, path.read_bytes())

    def set_aside(self) -> None:
        """What cannot be read goes to a folder of its own, with all that its execution left."""
        for name, (why, content) in self._unreadable.items():
            aside = self._root.with_name(DAMAGED) / name
            private_file.make_folder(aside.parent)
            with contextlib.suppress(OSError):
                remove_tree(aside)
            folder = self._root / name
            if folder.is_dir():
                folder.rename(aside)
            private_file.make_folder(aside)
            private_file.replace(aside / LINE_FILE, content)
            _log.error("The journal of execution %s cannot be read (%s) and was moved to %s.", name, why, aside)
            self.damaged.append(DamagedEntry(name, why))

    def forget_earlier(self) -> None:
        """When everything is in the journal itself."""
        for path in self._earlier:
            path.unlink(missing_ok=True)

    def _take_entry(self, name: ExecutionId, content: bytes) -> None:
        try:
            entry = decode_entry(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._unreadable[name] = str(error), content
            return
        if entry.execution_id != name:
            self._unreadable[name] = "the entry is of another execution", content
            return
        self.entries[name] = entry


def read_journal(lines: Iterable[JournalLine], root: Path) -> JournalRead:
    """Damaged entries have been set aside."""
    read = JournalRead(root)
    for line in lines:
        read.take(line)
    read.take_earlier()
    read.set_aside()
    return read
