"""The command `tarpon node set-owner`."""

from typing import TYPE_CHECKING

import click

from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.node_argument import node_argument
from tarpon.cli.node.delete import whole_id

if TYPE_CHECKING:
    from tarpon.client import Client


@click.command("set-owner", cls=Command)
@node_argument
@click.argument("owner", metavar="OWNER")
@with_client
async def set_owner(client: "Client", *, node_id: str, owner: str) -> None:
    """Say whose a node is from now on, whatever its join token said; "" is nobody's.

    What it signed before stays signed under its owner of then. A node without an owner gets no replicas of jobs with
    `Verification`.
    """
    node = await whole_id(client, node_id)
    await client.set_node_owner(node, owner)
    click.echo(f"Node {node} is {owner}'s." if owner else f"Node {node} is nobody's.")
