"""The command `tarpon admin backup`: the state into a file, while everything goes on."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from shared.data.plain_text import printable
from tarpon.cli.admin.with_state import FILE, ProgressLine, check_installed, run
from tarpon.cli.console.commands import Command, given
from tarpon.cli.console.output import output_option, pairs, show, size

if TYPE_CHECKING:
    from orchestrator.backups.backup import BackupTaken


@click.command(cls=Command)
@FILE
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
    check_installed()
    from orchestrator.backups.backup import take_backup

    with ProgressLine() as progress:
        taken = run(take_backup(given().config(), file, with_secrets=with_secrets, progress=progress))
    if not taken.noted:
        click.echo(
            "Warning: The backup is whole, but NATS did not take down that there is one: the metric of the last backup"
            " tells of the one before.",
            err=True,
        )
    show(taken, output, lambda: _taken_text(taken))


def _taken_text(taken: "BackupTaken") -> str:
    rows = {
        "File": printable(taken.file),
        "Records": f"{taken.records:,}",
        "Size": size(taken.size_bytes),
        "Secrets": "in it: keep it as you keep them" if taken.with_secrets else "not in it (--secrets)",
    }
    return pairs(rows)
