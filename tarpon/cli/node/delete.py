"""The command `tarpon node delete`."""

from typing import TYPE_CHECKING

import click

from shared.errors import NodeNotFound, RemoteError
from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.node_argument import node_argument

if TYPE_CHECKING:
    from tarpon.client import Client


@click.command(cls=Command)
@node_argument
@click.option("-m", "--message", default="", metavar="TEXT", help="Why, for the log of the orchestrator.")
@click.option("--force", is_flag=True, help="Reject it first, so that it may be connected and hold executions.")
@with_client
async def delete(client: "Client", *, node_id: str, message: str, force: bool) -> None:
    """Forget a node that is gone.

    It has to be stopped, and nothing that was placed on it may go on: see `tarpon node drain`. Its name is free then. A
    node that comes under it with a join token is a new one; but the key of a rejected node stays shut out,
    until `tarpon node approve` or until it is deleted once more by its whole name.
    """
    node = await whole_id(client, node_id)
    warning = await client.delete_node(node, message=message, force=force)
    if warning:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(f"Node {node} is deleted.")


async def whole_id(client: "Client", text: str) -> str:
    """Of a node that has joined and never registered, the key alone is known, by the whole of its name."""
    try:
        return (await client.node(text)).info.node_id
    except RemoteError as error:
        if error.remote_code != NodeNotFound.code:
            raise
        return text
