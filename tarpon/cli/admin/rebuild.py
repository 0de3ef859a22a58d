"""The command `tarpon admin rebuild`: a state out of the records beside the results."""

from typing import TYPE_CHECKING

import click

from tarpon.cli.admin.with_state import ProgressLine, check_installed, run
from tarpon.cli.console.commands import Command, given
from tarpon.cli.console.output import output_option, pairs, show, table

if TYPE_CHECKING:
    from orchestrator.backups.rebuild import Rebuilt


@click.command(cls=Command)
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
    check_installed()
    from orchestrator.backups.rebuild import rebuild as put_together

    with ProgressLine("of {:,} results") as progress:
        rebuilt = run(put_together(given().config(), signed_by=keys, progress=progress))
    show(rebuilt, output, lambda: _rebuilt_text(rebuilt))
    if rebuilt.refused_total:
        click.get_current_context().exit(1)


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
