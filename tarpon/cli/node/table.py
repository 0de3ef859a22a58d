"""The table of `tarpon node list`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from shared.data.plain_text import printable
from shared.ids import short
from shared.runtime.automatic_labels import NAME, OS_ARCH, OS_TYPE
from tarpon.cli.console.output import size, table

if TYPE_CHECKING:
    from shared.protocol.rest_nodes import ComputeNodeInfo, NodeState

_AUTOMATIC = frozenset({NAME, OS_TYPE, OS_ARCH})
"""Every node has them by itself, so that they tell little."""


def nodes_table(nodes: "Sequence[NodeState]", *, wide: bool = False) -> str:
    headings = ["ID", "HOST", "TYPE", "STATUS", "ENGINES", "RUNS+QUEUE"]
    if wide:
        headings += ["CPU", "MEMORY", "DISK", "GPU", "VERSION"]
    rows = [[*_row(each), *(_more(each) if wide else ()), _labels(each.info.labels, every=wide)] for each in nodes]
    return table([*headings, "LABELS"], rows)


def warning_lines(nodes: "Sequence[NodeState]") -> str:
    """What an operator should see to, a line each with its code; nothing where all is well."""
    return "\n".join(
        printable(f"{short(node.info.node_id)}: {warning.message} {warning.hint} [{warning.code}]")
        for node in nodes
        for warning in node.warnings
    )


def _row(node: "NodeState") -> list[str]:
    info = node.info.compute_node_info if node.is_compute else None
    return [
        short(node.info.node_id),
        node.info.host,
        node.info.node_type,
        _status(node),
        "" if info is None else ",".join(info.execution_engines),
        "" if info is None else f"{info.running_executions}+{info.enqueued_executions}",
    ]


def _status(node: "NodeState") -> str:
    """That a node is approved goes without saying."""
    marks = {"drained": node.draining, "suspect": bool(node.suspicion)}
    status = node.connection if node.membership == "APPROVED" else node.membership
    return " ".join([status, *(f"({mark})" for mark, is_so in marks.items() if is_so)])


def _more(node: "NodeState") -> list[str]:
    """What is free of how much, and the version."""
    info = node.info.compute_node_info if node.is_compute else None
    return [*(["", "", "", ""] if info is None else _free(info)), node.info.version.git_version]


def _free(info: "ComputeNodeInfo") -> list[str]:
    free, most = info.available_capacity, info.max_capacity
    return [
        f"{free.cpu:g}/{most.cpu:g}",
        f"{size(free.memory)}/{size(most.memory)}",
        f"{size(free.disk)}/{size(most.disk)}",
        f"{free.gpu}/{most.gpu}" if most.gpu else "",
    ]


def _labels(labels: Mapping[str, str], *, every: bool) -> str:
    shown = {name: value for name, value in labels.items() if every or name not in _AUTOMATIC}
    return ",".join(f"{name}={value}" for name, value in sorted(shown.items()))
