"""The command `tarpon admin check`: what of the state and the bucket does not fit together."""

from typing import TYPE_CHECKING

import click

from shared.data.plain_text import printable
from tarpon.cli.admin.with_state import ProgressLine, check_installed, run
from tarpon.cli.console.commands import Command, given
from tarpon.cli.console.output import output_option, show, table

if TYPE_CHECKING:
    from orchestrator.backups.check import Checked


@click.command(cls=Command)
@output_option
def check(output: str) -> None:
    """Tell what of the state and the bucket does not fit together, while everything goes on; it changes nothing.

    It ends with 1 where something does not fit. To find objects that no record leads to it has to list the bucket.
    """
    check_installed()
    from orchestrator.backups.check import check as compare

    with ProgressLine("objects, beside {:,} results") as progress:
        checked = run(compare(given().config(), progress=progress))
    show(checked, output, lambda: _checked_text(checked))
    if checked.misfits:
        click.get_current_context().exit(1)


def _checked_text(checked: "Checked") -> str:
    rows = [[each.kind, each.key, each.message] for each in checked.misfits]
    told = [table(["WHAT", "KEY", "MEANING"], rows), ""] if rows else []
    told += [f"Not looked at: {printable(each)}" for each in checked.left_out]
    looked = f"{checked.records:,} records, {checked.results:,} results and {checked.objects:,} objects were compared"
    count = sum(checked.counts.values())
    told.append(f"{looked}: {f'{count:,} do not fit' if count else 'all fit'}.")
    return "\n".join(told)
