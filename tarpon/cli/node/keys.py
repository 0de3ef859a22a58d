"""The command `tarpon node keys`: the public keys of nodes, and when they were theirs."""

from typing import TYPE_CHECKING

import click

from tarpon.cli.console import completed_names
from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.output import output_option, show, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.protocol.rest_nodes import NodeState
    from tarpon.client import Client


@click.command(cls=Command)
@click.argument("node_id", metavar="[NODE]", required=False, shell_complete=completed_names.nodes)
@output_option
@with_client
async def keys(client: "Client", node_id: str | None, output: str) -> None:
    """Show the public keys with which nodes sign results: of all nodes, or of one."""
    nodes = [await client.node(node_id)] if node_id else [each for each in (await client.nodes()).nodes if each.keys]
    found = {each.info.node_id: each.keys for each in nodes}
    show(found, output, lambda: _table(nodes))


def _table(nodes: "Sequence[NodeState]") -> str:
    rows = [
        [
            node.info.node_id,
            key.key,
            key.state,
            key.since.isoformat(timespec="seconds") if key.since else "",
            key.until.isoformat(timespec="seconds") if key.until else "",
        ]
        for node in nodes
        for key in node.keys
    ]
    return table(["NODE", "KEY", "STATE", "SINCE", "UNTIL"], rows)
