"""The commands `tarpon node ...`."""

from typing import TYPE_CHECKING

import click

from tarpon.cli.console.commands import Group, with_client
from tarpon.cli.console.output import output_option, show
from tarpon.cli.node.delete import delete
from tarpon.cli.node.describe import describe
from tarpon.cli.node.drain import drain, undrain
from tarpon.cli.node.keys import keys
from tarpon.cli.node.owner import set_owner
from tarpon.cli.node.reject import approve, reject
from tarpon.cli.node.table import nodes_table, warning_lines
from tarpon.cli.node.token import rekey, token

if TYPE_CHECKING:
    from tarpon.client import Client


@click.group(cls=Group)
def node() -> None:
    """Show nodes, drain, reject and delete them, and show how a new one joins."""


node.add_command(delete)
node.add_command(describe)
node.add_command(drain)
node.add_command(undrain)
node.add_command(reject)
node.add_command(approve)
node.add_command(rekey)
node.add_command(token)
node.add_command(keys)
node.add_command(set_owner)


@node.command("list")
@click.option("--wide", is_flag=True, help="Also what is free on each, its version, and labels that it gave itself.")
@output_option
@with_client
async def list_nodes(client: "Client", *, wide: bool, output: str) -> None:
    """List the nodes that the orchestrator knows, with their hosts and labels, and what to see to, on stderr."""
    nodes = (await client.nodes()).nodes
    show(nodes, output, lambda: nodes_table(nodes, wide=wide))
    if output == "table" and (told := warning_lines(nodes)):
        click.echo(f"\n{told}", err=True)
