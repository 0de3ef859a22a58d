"""The command `tarpon admin restore`: a state out of a file."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tarpon.cli.admin.with_state import FILE, ProgressLine, check_installed, run
from tarpon.cli.console.commands import Command, given
from tarpon.cli.console.output import output_option, pairs, show

if TYPE_CHECKING:
    from orchestrator.backups.backup import Restored


@click.command(cls=Command)
@FILE
@output_option
def restore(file: Path, output: str) -> None:
    """Put the backup in FILE into a state that is empty, and its secrets, if it has some, where there are none.

    No orchestrator may run meanwhile. The next start goes on from there: what ran at the time of the backup runs again,
    unless its node is still there and has it.
    """
    check_installed()
    from orchestrator.backups.backup import restore as put_back

    with ProgressLine() as progress:
        restored = run(put_back(given().config(), file, progress=progress))
    if not restored.knows_nodes:
        click.echo(
            "Warning: This orchestrator has other secrets than the one of the backup: nodes and programs have to be"
            " given new lines to join with, and the secrets of tasks put again.",
            err=True,
        )
    show(restored, output, lambda: _restored_text(restored))


def _restored_text(restored: "Restored") -> str:
    rows = {
        "Records": f"{restored.records:,}",
        "Of": datetime.fromtimestamp(restored.taken / 1e9, UTC).isoformat(sep=" ", timespec="seconds"),
        "Incarnation": restored.incarnation,
        "Secrets": ", ".join(restored.secrets),
        "Next": "tarpon serve --orchestrator",
    }
    return pairs(rows)
