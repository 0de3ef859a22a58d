"""The commands `tarpon node drain` and `tarpon node undrain`."""

import asyncio
import time
from typing import TYPE_CHECKING

import click

from shared.errors import TarponError
from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.node_argument import node_argument
from tarpon.cli.console.output import output_option, show
from tarpon.cli.display.job_text import counted_in_words

if TYPE_CHECKING:
    from shared.protocol.rest_nodes import NodeState
    from tarpon.client import Client

LOOK_SECONDS = 0.5


class DrainNotOver(TarponError):
    def __init__(self, node: str, left: int, seconds: float) -> None:
        super().__init__(
            f"Node {node} still has {counted_in_words(left, 'execution')} after {seconds:g} s."
            " Nothing new is placed on it.",
            hint=f"Run the same command again to wait on, or `tarpon node undrain {node}`.",
        )


@click.command(cls=Command)
@node_argument
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the node is empty.")
@click.option(
    "--timeout",
    "wait_seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Wait no longer than this; the drain goes on, and the exit code is 1.",
)
@output_option
@with_client
async def drain(client: "Client", *, node_id: str, wait: bool, wait_seconds: float | None, output: str) -> None:
    """Empty a node, so that it can be stopped without loss.

    Nothing new is placed on it, what it has not begun goes elsewhere, and what runs there ends and publishes its
    results. It stays drained, also when it restarts, until `tarpon node undrain`.
    """
    if wait_seconds is not None and not wait:
        raise click.UsageError("--timeout limits a wait, so it cannot go with --no-wait.")
    node = (await client.node(node_id)).info.node_id
    await client.drain(node)
    state = await (_wait_empty(client, node, wait_seconds) if wait else client.node(node))
    left = state.live_executions
    told = f"{_are_left(left)} on it." if left else "Nothing is left on it."
    show(state, output, lambda: f"Node {node} is drained: nothing new is placed on it. {told}")


@click.command(cls=Command)
@node_argument
@output_option
@with_client
async def undrain(client: "Client", *, node_id: str, output: str) -> None:
    """Place work on a node again that was drained."""
    node = (await client.node(node_id)).info.node_id
    await client.undrain(node)
    show(await client.node(node), output, lambda: f"Node {node} is not drained any more.")


async def _wait_empty(client: "Client", node: str, within: float | None) -> "NodeState":
    """Raises DrainNotOver. Ctrl-C ends the waiting, not the drain."""
    try:
        return await _empty(client, node, within)
    except asyncio.CancelledError:
        told = "No longer waiting; it stays drained: nothing new is placed on it."
        click.echo(f"\n{told}\nTo end that: tarpon node undrain {node}", err=True)
        raise


def _are_left(executions: int) -> str:
    return f"{counted_in_words(executions, 'execution')} {'is' if executions == 1 else 'are'} left"


async def _empty(client: "Client", node: str, within: float | None) -> "NodeState":
    deadline = None if within is None else time.monotonic() + within
    told = -1
    while True:
        state = await client.node(node)
        if state.live_executions != told:
            told = state.live_executions
            click.echo(f"{_are_left(told)} on node {node}.", err=True)
        if not told:
            return state
        if deadline is not None and within is not None and time.monotonic() >= deadline:
            raise DrainNotOver(node, told, within)
        await asyncio.sleep(LOOK_SECONDS)
