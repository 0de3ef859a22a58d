"""The command `tarpon node keys`: the public keys of nodes, and when they were theirs."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from tarpon.cli.console import completed_names
from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.output import moment, output_option, show, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.protocol.rest_nodes import NodeKeyView
    from tarpon.client import Client


@click.command(cls=Command)
@click.argument("node_id", metavar="[NODE]", required=False, shell_complete=completed_names.nodes)
@output_option
@with_client
async def keys(client: "Client", node_id: str | None, output: str) -> None:
    """Show the public keys with which nodes sign results: of all nodes, or of one, also by the id of a deleted one."""
    found = (
        await _of_one(client, node_id)
        if node_id
        else {each.info.node_id: each.keys for each in (await client.nodes()).nodes if each.keys}
    )
    show(found, output, lambda: keys_table(found, datetime.now(UTC)))


async def _of_one(client: "Client", node: str) -> "dict[str, tuple[NodeKeyView, ...]]":
    found = await client.node_keys(node)
    return {found.node_id: found.keys}


def keys_table(found: "Mapping[str, Sequence[NodeKeyView]]", now: datetime) -> str:
    rows = [
        [
            node,
            key.key,
            key.state,
            moment(key.since, now) if key.since else "",
            moment(key.until, now) if key.until else "",
            key.owner,
        ]
        for node, keys in found.items()
        for key in keys
    ]
    return table(["NODE", "KEY", "STATE", "SINCE", "UNTIL", "OWNER"], rows)
