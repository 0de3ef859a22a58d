"""The commands `tarpon node token ...` and `tarpon node rekey`: what nodes join with."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from tarpon.cli.console.commands import Command, Group, given, with_client
from tarpon.cli.console.local_secrets import local_secrets, nats_addresses, nats_trust
from tarpon.cli.console.node_argument import node_argument
from tarpon.cli.console.output import moment, output_option, show, table
from tarpon.cli.node.delete import whole_id

if TYPE_CHECKING:
    from shared.protocol.rest_tokens import TokenCreated, TokenView
    from tarpon.client import Client

VARIABLE = "TARPON_COMPUTE_AUTH_TOKEN"


@click.group(cls=Group)
def token() -> None:
    """Make, list and revoke the tokens with which nodes join."""


@token.command("create", cls=Command)
@click.option(
    "--uses", type=click.IntRange(0, 1000), default=1, show_default=True, help="How many nodes; 0: any number."
)
@click.option("--expires", default="24h", show_default=True, metavar="DURATION", help="After how long, or never.")
@click.option("-l", "--label", "labels", multiple=True, metavar="NAME=VALUE", help="A label that its nodes have.")
@click.option("--namespace", "namespaces", multiple=True, metavar="NAME", help="Its nodes get jobs of this one alone.")
@click.option("--approval", is_flag=True, help="Its nodes get nothing until `tarpon node approve NODE`.")
@click.option("--owner", default="", metavar="NAME", help="Whose its nodes are.")
@output_option
@with_client
async def create(
    client: "Client",
    *,
    uses: int,
    expires: str,
    labels: tuple[str, ...],
    namespaces: tuple[str, ...],
    approval: bool,
    owner: str,
    output: str,
) -> None:
    """Make a join token, and print the line that starts a node with it.

    Run the line on the machine that is to be the node. The token in it is shown this once. A node that has joined
    comes back by its own key, whatever becomes of the token. A label holds whatever the node says of itself. With
    --namespace, given once or several times, a node is given no job of another, and hears of none. With --owner it is
    known whose node it is, also where it says nothing of that.
    """
    made = await client.create_join_token(
        uses=uses,
        expires_seconds=_seconds(expires),
        labels=dict(_pair(each) for each in labels),
        namespaces=namespaces,
        approval=approval,
        owner=owner.strip().lower(),
    )
    show_created(made, output)


@token.command("list", cls=Command)
@output_option
@with_client
async def list_tokens(client: "Client", *, output: str) -> None:
    """List the join tokens; of those that ended, those of the last week."""
    tokens = await client.join_tokens()
    show(tokens, output, lambda: _table(tokens, datetime.now(UTC)))


@token.command("revoke", cls=Command)
@click.argument("token_id", metavar="TOKEN")
@with_client
async def revoke(client: "Client", *, token_id: str) -> None:
    """Let no more nodes in with a join token.

    Nodes that have joined with it stay; `tarpon node reject` cuts one off.
    """
    await client.revoke_join_token(token_id)
    click.echo(f"Join token {token_id} is revoked.")


@token.command("show")
def show_token() -> None:
    """Print the line that starts a node which has joined, with where to go and whom to trust.

    Where there is a join secret, because Orchestrator.Auth.Token or TokenFile sets one or an earlier version has made
    it, the line has it and starts any node. Run this where the orchestrator runs.
    """
    config = given().config()
    secrets = local_secrets(config)
    from orchestrator.admission.secret_files import join_line

    if not secrets.join_secret:
        told = "There is no join secret, so this line starts a node again that has joined before."
        click.echo(f"{told} `tarpon node token create` prints the one for a new node.", err=True)
    click.echo(join_line(secrets.join_secret, nats_addresses(config), nats_trust(config, secrets)))


@click.command(cls=Command)
@node_argument
@click.option("--expires", default="24h", show_default=True, metavar="DURATION", help="Of the token: when, or never.")
@output_option
@with_client
async def rekey(client: "Client", *, node_id: str, expires: str, output: str) -> None:
    """Give a node a new key under its name, where its old one is lost or known to others.

    It is cut off at once, and what was placed on it goes to other nodes. It comes back with the line that is printed,
    and keeps its labels and namespaces. To make a new key, remove `compute/node.nkey` in the node's DataDir before.
    `tarpon node approve NODE` lets the old key in again instead.
    """
    node = await whole_id(client, node_id)
    made = await client.rekey(node, expires_seconds=_seconds(expires))
    if made.warning:
        click.echo(f"Warning: {made.warning}", err=True)
    show_created(made, output)


def show_created(made: "TokenCreated", output: str) -> None:
    """On stdout the line alone, so that it can be piped to where it belongs."""
    show(made, output, lambda: f"{VARIABLE}={made.text} tarpon serve --compute")
    until = f" until {moment(made.token.expires, datetime.now(UTC))}" if made.token.expires else ""
    click.echo(f"Join token {made.token.id} is for {_nodes(made.token)}{until}. It is not shown again.", err=True)


def _nodes(token: "TokenView") -> str:
    if token.rekeys:
        return f"a new key of node {token.rekeys}"
    return {0: "any number of nodes", 1: "one node"}.get(token.uses, f"{token.uses:,} nodes")


def _table(tokens: "Sequence[TokenView]", now: datetime) -> str:
    rows = [
        [
            each.id,
            each.state,
            f"{each.used} of {each.uses}" if each.uses else "any number",
            moment(each.expires, now) if each.expires else "never",
            ",".join(each.namespaces) or "all",
            "needed" if each.approval else "",
            each.owner,
            ",".join(f"{name}={value}" for name, value in sorted(each.labels.items())),
            ",".join(each.nodes),
        ]
        for each in tokens
    ]
    return table(["ID", "STATE", "USED", "EXPIRES", "NAMESPACES", "APPROVAL", "OWNER", "LABELS", "NODES"], rows)


def _seconds(text: str) -> int:
    """0 for never. Raises InvalidDuration, UsageError."""
    from shared.jobs.durations import parse_duration

    if text.strip().lower() == "never":
        return 0
    seconds = parse_duration(text)
    if seconds < 1:
        raise click.UsageError("--expires takes at least one second, or never.")
    return int(seconds)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise click.UsageError(f"--label takes NAME=VALUE, and {text[:80]!r} is none.")
    return name, value
