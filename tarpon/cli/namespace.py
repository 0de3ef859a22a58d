"""The commands `tarpon namespace ...`: what namespaces have of the fleet, and what they have a right to."""

from typing import TYPE_CHECKING

import click

from tarpon.cli.console.commands import Group, with_client
from tarpon.cli.console.output import output_option, show, size, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.protocol.namespaces.rest_namespaces import NamespaceView
    from tarpon.client import Client


@click.group(cls=Group)
def namespace() -> None:
    """Show what namespaces run, and set how they share the nodes."""


@namespace.command("list")
@output_option
@with_client
async def list_namespaces(client: "Client", *, output: str) -> None:
    """List the namespaces that have jobs or a weight, with what they run."""
    found = await client.namespaces()
    show(found, output, lambda: _table(found))


@namespace.command("set")
@click.argument("name")
@click.option(
    "--weight",
    type=click.IntRange(min=1),
    required=True,
    help="How much of the nodes is its part where others wait too: twice as much with 2 as with 1, which all have.",
)
@output_option
@with_client
async def set_namespace(client: "Client", *, name: str, weight: int, output: str) -> None:
    """Set the weight of a namespace. Where nobody else waits, each may have everything."""
    stored = await client.set_namespace(name, weight=weight)
    show(stored, output, lambda: f"Namespace {stored.name} has the weight {stored.weight}.")


def _table(found: "Sequence[NamespaceView]") -> str:
    rows = [
        [
            each.name,
            str(each.weight),
            f"{each.jobs:,}",
            f"{each.waiting:,}",
            f"{each.running:,}",
            f"{each.held.cpu:g}",
            size(each.held.memory),
            str(each.held.gpu or ""),
        ]
        for each in found
    ]
    return table(["NAME", "WEIGHT", "JOBS", "WAITING", "RUNNING", "CPU", "MEMORY", "GPU"], rows)
