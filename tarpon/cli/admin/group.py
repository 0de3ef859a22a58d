"""The commands `tarpon admin ...`: backups of the state, and what an operator does with it as a whole."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import click

from shared.data.plain_text import printable
from shared.errors import ExtraMissing
from tarpon.cli.admin.doctor import doctor
from tarpon.cli.console.commands import Group, given
from tarpon.cli.console.output import output_option, pairs, show, size
from tarpon.cli.console.progress import LiveLine
from tarpon.import_names import shadowed

if TYPE_CHECKING:
    from orchestrator.backups.backup import BackupTaken, Restored

T = TypeVar("T")
_FILE = click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))


@click.group(cls=Group)
def admin() -> None:
    """Find out what is wrong with a machine; back up, restore and check what is stored.

    All but `doctor` are run where the orchestrator runs, as its user and with its settings (-c), and speak with NATS
    and the bucket themselves.
    """


admin.add_command(doctor)


@admin.command()
@_FILE
@click.option(
    "--secrets",
    "with_secrets",
    is_flag=True,
    help="Put the orchestrator's secrets into it too: whoever has the file is the orchestrator then. Without them keep"
    " the folder orchestrator/secrets elsewhere: nodes and users are known by it.",
)
@output_option
def backup(file: Path, *, with_secrets: bool, output: str) -> None:
    """Write all that is stored at this moment into FILE, while everything goes on.

    It holds jobs, executions, users and nodes, but no results. Only its owner can read it; a file that exists is not
    replaced.
    """
    _check_installed()
    from orchestrator.backups.backup import take_backup

    with _Progress() as progress:
        taken = _run(take_backup(given().config(), file, with_secrets=with_secrets, progress=progress))
    show(taken, output, lambda: _taken_text(taken))


@admin.command()
@_FILE
@output_option
def restore(file: Path, output: str) -> None:
    """Put the backup in FILE into a state that is empty, and its secrets, if it has some, where there are none.

    No orchestrator may run meanwhile. The next start goes on from there: what ran at the time of the backup runs again,
    unless its node is still there and has it.
    """
    _check_installed()
    from orchestrator.backups.backup import restore as put_back

    with _Progress() as progress:
        restored = _run(put_back(given().config(), file, progress=progress))
    if not restored.knows_nodes:
        click.echo(
            "Warning: This orchestrator has other secrets than the one of the backup: nodes and programs have to be"
            " given new lines to join with, and the secrets of tasks put again.",
            err=True,
        )
    show(restored, output, lambda: _restored_text(restored))


class _Progress:
    """How many records are done, on a terminal."""

    def __init__(self) -> None:
        self._line = LiveLine()

    def __enter__(self) -> Self:
        return self

    def __call__(self, done: int, total: int) -> None:
        if self._line.is_due():
            self._line.draw(f"{done:,} of {max(done, total):,} records")

    def __exit__(self, *_: object) -> None:
        self._line.clear()


def _run(coro: Coroutine[Any, Any, T]) -> T:
    from shared.runtime.aio import first_leaf

    try:
        return asyncio.run(coro)
    except BaseExceptionGroup as errors:
        raise first_leaf(errors) from errors


def _check_installed() -> None:
    try:
        import orchestrator.service  # noqa: F401  # only whether it is there
    except ModuleNotFoundError as error:
        if shadowed("orchestrator"):
            raise
        raise ExtraMissing("The orchestrator", "orchestrator") from error


def _taken_text(taken: "BackupTaken") -> str:
    rows = {
        "File": printable(taken.file),
        "Records": f"{taken.records:,}",
        "Size": size(taken.size_bytes),
        "Secrets": "in it: keep it as you keep them" if taken.with_secrets else "not in it (--secrets)",
    }
    return pairs(rows)


def _restored_text(restored: "Restored") -> str:
    rows = {
        "Records": f"{restored.records:,}",
        "Of": datetime.fromtimestamp(restored.taken / 1e9, UTC).isoformat(sep=" ", timespec="seconds"),
        "Incarnation": restored.incarnation,
        "Secrets": ", ".join(restored.secrets),
        "Next": "tarpon serve --orchestrator",
    }
    return pairs(rows)
