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
from tarpon.cli.console.local_secrets import local_secrets
from tarpon.cli.console.output import output_option, pairs, show, size, table
from tarpon.cli.console.progress import LiveLine
from tarpon.import_names import shadowed

if TYPE_CHECKING:
    from orchestrator.backups.backup import BackupTaken, Restored
    from orchestrator.backups.check import Checked
    from orchestrator.backups.rebuild import Rebuilt

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


@admin.command()
@output_option
def check(output: str) -> None:
    """Tell what of the state and the bucket does not fit together, while everything goes on; it changes nothing.

    It ends with 1 where something does not fit. To find objects that no record leads to it has to list the bucket.
    """
    _check_installed()
    from orchestrator.backups.check import check as compare

    with _Progress("objects, beside {:,} results") as progress:
        checked = _run(compare(given().config(), progress=progress))
    show(checked, output, lambda: _checked_text(checked))
    if checked.misfits:
        click.get_current_context().exit(1)


@admin.command()
@click.option(
    "--signed-by",
    "keys",
    multiple=True,
    metavar="KEY",
    help="Believe records that were signed by this public key too, as `admin records-key` of the lost orchestrator"
    " printed it. Repeatable.",
)
@output_option
def rebuild(keys: tuple[str, ...], output: str) -> None:
    """Make a state out of the records beside the results in the bucket, where it was lost and there is no backup.

    It needs the secrets of the lost orchestrator, or --signed-by, an empty state, and the right to list the bucket.
    What jobs did is not known by that, only which there were and where their results are. It ends with 1 where a
    record does not count.
    """
    _check_installed()
    from orchestrator.backups.rebuild import rebuild as put_together

    with _Progress("of {:,} results") as progress:
        rebuilt = _run(put_together(given().config(), signed_by=keys, progress=progress))
    show(rebuilt, output, lambda: _rebuilt_text(rebuilt))
    if rebuilt.refused_total:
        click.get_current_context().exit(1)


@admin.command("records-key")
def records_key() -> None:
    """Print the public key of the records beside results; keep it where it outlives the orchestrator's secrets."""
    click.echo(local_secrets(given().config()).result_signer.public_key)


class _Progress:
    """How many records are done, on a terminal."""

    def __init__(self, what: str = "of {:,} records") -> None:
        self._line = LiveLine()
        self._what = what

    def __enter__(self) -> Self:
        return self

    def __call__(self, done: int, total: int) -> None:
        if self._line.is_due():
            self._line.draw(f"{done:,} {self._what.format(total)}")

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


def _checked_text(checked: "Checked") -> str:
    rows = [[each.kind, each.key, each.message] for each in checked.misfits]
    told = [table(["WHAT", "KEY", "MEANING"], rows), ""] if rows else []
    told += [f"Not looked at: {printable(each)}" for each in checked.left_out]
    looked = f"{checked.records:,} records, {checked.results:,} results and {checked.objects:,} objects were compared"
    count = sum(checked.counts.values())
    told.append(f"{looked}: {f'{count:,} do not fit' if count else 'all fit'}.")
    return "\n".join(told)


def _rebuilt_text(rebuilt: "Rebuilt") -> str:
    refused = table(["RECORD THAT DOES NOT COUNT", "WHY"], [[each.key, each.why] for each in rebuilt.refused])
    rows = {
        "Jobs": f"{rebuilt.jobs:,}",
        "Results": f"{rebuilt.results:,}",
        "Refused": f"{rebuilt.refused_total:,}" if rebuilt.refused_total else "",
        "Incarnation": rebuilt.incarnation,
        "Next": "tarpon serve --orchestrator" if rebuilt.jobs else "nothing was found, and nothing is stored",
    }
    return "\n".join([*([refused, ""] if rebuilt.refused else []), pairs(rows)])
