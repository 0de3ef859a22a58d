"""The commands `tarpon node ...`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from tarpon.cli.console.commands import Group, given, with_client
from tarpon.cli.console.local_secrets import local_secrets, nats_addresses
from tarpon.cli.console.node_argument import node_argument
from tarpon.cli.console.output import moment, output_option, pairs, show, size
from tarpon.cli.node.delete import delete
from tarpon.cli.node.drain import drain, undrain
from tarpon.cli.node.reject import approve, reject
from tarpon.cli.node.table import nodes_table

if TYPE_CHECKING:
    from shared.protocol.rest_nodes import ComputeNodeInfo, ContainerEngineView, NodeState
    from tarpon.client import Client


@click.group(cls=Group)
def node() -> None:
    """Show nodes, drain, reject and delete them, and show how a new one joins."""


node.add_command(delete)
node.add_command(drain)
node.add_command(undrain)
node.add_command(reject)
node.add_command(approve)


@node.command("list")
@click.option("--wide", is_flag=True, help="Also what is free on each, its version, and labels that it gave itself.")
@output_option
@with_client
async def list_nodes(client: "Client", *, wide: bool, output: str) -> None:
    """List the nodes that the orchestrator knows, with their hosts and labels."""
    nodes = (await client.nodes()).nodes
    show(nodes, output, lambda: nodes_table(nodes, wide=wide))


@node.command()
@node_argument
@output_option
@with_client
async def describe(client: "Client", node_id: str, output: str) -> None:
    """Show all about one node."""
    found = await client.node(node_id)
    show(found, output, lambda: _description(found, datetime.now(UTC)))


@node.group(cls=Group)
def token() -> None:
    """The secret with which nodes join."""


@token.command("show")
def show_token() -> None:
    """Print the line that starts a node. It holds the join secret; run this where the orchestrator runs."""
    config = given().config()
    secrets = local_secrets(config)
    from orchestrator.admission.secret_files import join_line

    click.echo(join_line(secrets.join_secret, nats_addresses(config)))


def _description(node: "NodeState", now: datetime) -> str:
    info, state = node.info.compute_node_info if node.is_compute else None, node.connection_state
    values = {
        "ID": node.info.node_id,
        "Host": node.info.host,
        "Type": node.info.node_type,
        "Approval": node.membership,
        "Status": node.connection,
        "Drained": "yes: nothing new is placed on it" if node.draining else "no",
        "Suspect": node.suspicion,
        "Placed on it": f"{node.live_executions} executions",
        "Over its budget": ", ".join(f"{count:,} {kind}" for kind, count in sorted(node.over_budget.items())),
        "Last error": state.last_error,
        "Last heartbeat": "" if state.last_heartbeat is None else moment(state.last_heartbeat, now),
        "Connected since": "" if state.connected_since is None else moment(state.connected_since, now),
        "Disconnected since": "" if state.disconnected_since is None else moment(state.disconnected_since, now),
        "Version": node.info.version.git_version,
        "Labels": ", ".join(f"{name}={value}" for name, value in sorted(node.info.labels.items())),
    }
    if info is not None:
        free, most = info.available_capacity, info.max_capacity
        values |= {
            "Engines": ", ".join(info.execution_engines),
            "Container engine": _container_engine(info.container_engine) if info.container_engine else "",
            "Publishers": ", ".join(info.publishers),
            "Inputs": ", ".join(info.storage_sources),
            "Running": str(info.running_executions),
            "Queued": str(info.enqueued_executions),
            "Publishing": _publishing(info),
            "CPU free": f"{free.cpu:g} of {most.cpu:g}",
            "Memory free": f"{size(free.memory)} of {size(most.memory)}",
            "Disk free": f"{size(free.disk)} of {size(most.disk)}",
            "GPU free": f"{free.gpu} of {most.gpu}" if most.gpu else "",
            "Problems": "; ".join(info.problems),
        }
    return pairs(values)


def _container_engine(engine: "ContainerEngineView") -> str:
    parts = [f"{engine.name} {engine.version}".strip(), "rootless" if engine.rootless else ""]
    store = f"images in {engine.store}" if engine.store else ""
    return ", ".join(part for part in (*parts, store, *engine.isolation) if part)


def _publishing(info: "ComputeNodeInfo") -> str:
    waiting = f", of which {info.waiting_executions} wait for S3" if info.waiting_executions else ""
    return f"{info.publishing_executions}{waiting}"
