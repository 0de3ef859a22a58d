"""Results kept on this node: those that were synced may be published after its machine went down.

A task's files are not synced when it ends. While the machine goes on that does not matter, whatever happens to the
node. After a power cut some may be empty or torn, and nobody can tell which, so the task has to run again. A node that
is stopped in order syncs the results that it keeps, so that a machine can be restarted without that.
"""

import logging
import os
from pathlib import Path

from msgspec.structs import replace

from compute.disk.mounts import mounts_in
from compute.journal.entry import Entry, Phase
from compute.journal.journal import Journal
from shared.runtime.durable import boot_id
from shared.runtime.log_lines import about

_log = logging.getLogger(__name__)


def may_be_torn(entry: Entry) -> bool:
    """Whether a result is not what the task has left, because the machine went down before it was synced."""
    return _waits(entry) and entry.boot_id not in {"", boot_id()}


def sync_results(journal: Journal) -> None:
    """Sync what still has to be published. Blocks; meant for the end, when nothing else is written to the journal."""
    for entry in journal.entries():
        if not (_waits(entry) and entry.boot_id):
            continue
        try:
            workspace = journal.workspace(entry)
            if mounts_in(workspace.result):
                continue  # what it shows may be gone after the machine's next start
            _sync_tree(workspace.result, but=workspace.folder)
            journal.put_through(replace(entry, boot_id=""))
        except OSError as error:
            told = "The result of execution %s cannot be synced: %s"
            _log.warning(told, entry.execution_id, error, extra=about(execution=entry.execution_id))


def _waits(entry: Entry) -> bool:
    return entry.phase is Phase.ENDED and entry.publishes


def _sync_tree(root: Path, *, but: Path) -> None:
    """Links, sockets and devices have no content of their own. Raises OSError also where a task let nobody read."""
    for folder, folders, names in os.walk(root, onerror=_raise):
        folders[:] = [each for each in folders if Path(folder, each) != but]
        for path in (Path(folder, name) for name in names):
            if path.is_file() and not path.is_symlink():
                _sync(path)
        _sync(Path(folder))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise(error: OSError) -> None:
    raise error
