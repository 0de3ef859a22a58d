"""The commands `tarpon node reject` and `tarpon node approve`."""

from typing import TYPE_CHECKING

import click

from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.node_argument import node_argument
from tarpon.cli.node.delete import whole_id

if TYPE_CHECKING:
    from shared.protocol.rest_nodes import UpdateNodeResponse
    from tarpon.client import Client


@click.command(cls=Command)
@node_argument
@click.option("-m", "--message", default="", metavar="TEXT", help="Why, for the node and for who lists the nodes.")
@click.option("--revoke-token", is_flag=True, help="Revoke the join token too with which it came.")
@with_client
async def reject(client: "Client", *, node_id: str, message: str, revoke_token: bool) -> None:
    """Cut a node off at once, and let it in no more.

    What was placed on it goes to other nodes, and nothing counts that it says. It stays in the list until it is
    deleted, and shut out until `tarpon node approve NODE`. Where the join token with which it came lets more nodes in,
    its operator can come back under another name: that is told, and ended by --revoke-token.
    """
    node = await whole_id(client, node_id)
    done = await client.reject(node, message=message, revoke_token=revoke_token)
    if done.warning:
        click.echo(f"Warning: {done.warning}", err=True)
    click.echo(f"Node {node} is rejected.{_of_token(done, revoked=revoke_token)}")


def _of_token(done: "UpdateNodeResponse", *, revoked: bool) -> str:
    token = done.join_token
    if not token:
        return ""
    if done.token_is_usable:
        return f" It came with join token {token}, which lets more in: `tarpon node token revoke {token}` ends that."
    return f" It came with join token {token}, which {'is revoked' if revoked else 'lets nobody in any more'}."


@click.command(cls=Command)
@node_argument
@with_client
async def approve(client: "Client", *, node_id: str) -> None:
    """Let a rejected node in again, which comes back by itself, or give work to one that awaits approval."""
    node = await whole_id(client, node_id)
    await client.approve(node)
    click.echo(f"Node {node} is approved.")
