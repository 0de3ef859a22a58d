"""The orchestrator that answers, as the node that it is: in the list of nodes, and asked for by itself.

It is stored nowhere and takes no task: placement, draining and deletion know compute nodes alone.
"""

import socket
from datetime import UTC, datetime

from orchestrator.nodes.views import version_view
from shared.errors import Conflict
from shared.protocol import rest_nodes
from shared.protocol.messages import PROTOCOL
from shared.protocol.rest_nodes import NodeInfoView, NodeState, VersionView
from shared.runtime.automatic_labels import with_automatic
from shared.runtime.commit import commit
from shared.runtime.version import architecture, build_date, operating_system, version_text
from shared.settings.config import Config


class NodeIsOrchestrator(Conflict):
    def __init__(self, node: str) -> None:
        super().__init__(
            f"Node {node} is the orchestrator, which runs no tasks: it is neither drained, rejected nor deleted.",
            hint="`tarpon node list` shows the compute nodes too.",
        )


class OwnNode:
    """`name` is its node id."""

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self.version = _own_version()
        self._labels = with_automatic(config.labels, name)
        self._host = socket.gethostname()
        self._since = datetime.now(UTC)

    def info(self) -> NodeInfoView:
        return NodeInfoView(
            node_id=self.name,
            node_type=rest_nodes.REQUESTER,
            host=self._host,
            labels=self._labels,
            supported_protocols=(f"tarpon/v{PROTOCOL}",),
            compute_node_info=rest_nodes.ComputeNodeInfo(),
            version=self.version,
        )

    def state(self) -> NodeState:
        """It is connected, as it answers."""
        return NodeState(
            info=self.info(),
            membership=rest_nodes.APPROVED,
            connection=rest_nodes.CONNECTED,
            connection_state=rest_nodes.ConnectionState(
                status=rest_nodes.CONNECTED, last_heartbeat=datetime.now(UTC), connected_since=self._since
            ),
        )

    def __repr__(self) -> str:
        return f"<OwnNode {self.name}>"


def _own_version() -> VersionView:
    """Of the program that answers. Blocks."""
    return version_view(
        version_text(),
        commit=commit(),
        built=build_date(),
        operating_system=operating_system(),
        architecture=architecture(),
    )
