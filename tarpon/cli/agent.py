"""The commands `tarpon agent ...`: what the orchestrator says about itself."""

from typing import TYPE_CHECKING

import click

from tarpon.cli.commands import Group, with_client
from tarpon.cli.output import output_option, pairs, show

if TYPE_CHECKING:
    from tarpon.client import Client


@click.group(cls=Group)
def agent() -> None:
    """Ask the orchestrator about itself."""


@agent.command()
@output_option
@with_client
async def alive(client: "Client", output: str) -> None:
    """Tell whether the orchestrator answers."""
    answer = await client.alive()
    show(answer, output, lambda: f"Status: {answer.status}")


@agent.command()
@output_option
@with_client
async def version(client: "Client", output: str) -> None:
    """Show the orchestrator's version."""
    answer = await client.version()
    show(answer, output, lambda: f"Tarpon {answer.git_version}")


@agent.command()
@output_option
@with_client
async def node(client: "Client", output: str) -> None:
    """Show the orchestrator as a node, and whether results can be published."""
    answer = await client.agent_node()
    health = answer.publishers.s3managed
    if health is None:
        publisher = "not configured"
    elif health.problem is not None:
        publisher = f"not ready: {health.problem.message} [{health.problem.code}]"
    else:
        publisher = "ready" if health.ready else "being probed"
    rows = {
        "Node": answer.node_id,
        "Type": answer.node_type,
        "Version": answer.version.git_version,
        "s3managed": publisher,
        "Hint": health.problem.hint if health is not None and health.problem is not None else "",
        "Create-only": "" if health is None or health.create_only is None else "yes" if health.create_only else "no",
    }
    show(answer, output, lambda: pairs(rows))
