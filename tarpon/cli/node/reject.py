"""The commands `tarpon node reject` and `tarpon node approve`."""

from typing import TYPE_CHECKING

import click

from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.node_argument import node_argument
from tarpon.cli.node.delete import whole_id

if TYPE_CHECKING:
    from tarpon.client import Client


@click.command(cls=Command)
@node_argument
@click.option("-m", "--message", default="", metavar="TEXT", help="Why, for the node and for who lists the nodes.")
@with_client
async def reject(client: "Client", *, node_id: str, message: str) -> None:
    """Cut a node off at once, and let it in no more.

    What was placed on it goes to other nodes, and nothing counts that it says. It stays in the list until it is
    deleted, and shut out until `tarpon node approve NODE`. Who has the join secret can come back under another name:
    exchange the secret where you do not trust whoever runs the node.
    """
    node = await whole_id(client, node_id)
    warning = await client.reject(node, message=message)
    if warning:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(f"Node {node} is rejected.")


@click.command(cls=Command)
@node_argument
@with_client
async def approve(client: "Client", *, node_id: str) -> None:
    """Let a rejected node in again, which comes back by itself."""
    node = await whole_id(client, node_id)
    await client.approve(node)
    click.echo(f"Node {node} is approved.")
