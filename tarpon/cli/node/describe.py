"""The command `tarpon node describe`, and how it shows a node."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.node_argument import node_argument
from tarpon.cli.console.output import moment, output_option, pairs, show, size

if TYPE_CHECKING:
    from shared.protocol.rest_nodes import ComputeNodeInfo, ContainerEngineView, GPUView, NodeState
    from tarpon.client import Client


@click.command(cls=Command)
@node_argument
@output_option
@with_client
async def describe(client: "Client", node_id: str, output: str) -> None:
    """Show all about one node."""
    found = await client.node(node_id)
    show(found, output, lambda: description(found, datetime.now(UTC)))


def description(node: "NodeState", now: datetime) -> str:
    info, state = node.info.compute_node_info if node.is_compute else None, node.connection_state
    values = {
        "ID": node.info.node_id,
        "Host": node.info.host,
        "Type": node.info.node_type,
        "Approval": node.membership,
        "Namespaces": ", ".join(node.namespaces) or "all",
        "Owner": node.owner,
        "Joined with": f"join token {node.join_token}" if node.join_token else "",
        "Status": node.connection,
        "Drained": "yes: nothing new is placed on it" if node.draining else "no",
        "Suspect": node.suspicion,
        "Differed": _differed(node, now),
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
            "Engines": ", ".join(_engine(name, info) for name in info.execution_engines),
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
            "GPUs": ", ".join(map(_gpu, info.gpus)),
            "Problems": "; ".join(info.problems),
        }
    if node.warnings:
        values["Warnings"] = "; ".join(f"{each.message} {each.hint} [{each.code}]" for each in node.warnings)
    return pairs(values)


def _differed(node: "NodeState", now: datetime) -> str:
    """From what other nodes agree about."""
    if not node.differed:
        return ""
    last = next(iter(node.differences), None)
    of = f", last in job {last.job_id}, {moment(last.time, now)}: {last.detail}" if last is not None else ""
    return f"{node.differed:,} times from what others agree about{of}"


def _engine(name: str, info: "ComputeNodeInfo") -> str:
    isolation = f"isolation: {info.isolation[name]}" if name in info.isolation else ""
    about = ", ".join(part for part in (info.runtimes.get(name, ""), isolation) if part)
    return f"{name} ({about})" if about else name


def _gpu(gpu: "GPUView") -> str:
    return f"{gpu.index}: {gpu.name or gpu.vendor}" + (f" ({gpu.memory:,} MiB)" if gpu.memory else "")


def _container_engine(engine: "ContainerEngineView") -> str:
    parts = [f"{engine.name} {engine.version}".strip(), "rootless" if engine.rootless else ""]
    store = f"images in {engine.store}" if engine.store else ""
    return ", ".join(part for part in (*parts, store, *engine.isolation) if part)


def _publishing(info: "ComputeNodeInfo") -> str:
    waiting = f", of which {info.waiting_executions} wait for S3" if info.waiting_executions else ""
    return f"{info.publishing_executions}{waiting}"
