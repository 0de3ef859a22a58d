"""Heartbeats of nodes; those that the leader does not know are asked to register."""

from collections.abc import Callable

from orchestrator.nodes.input_keepers import InputKeepers
from orchestrator.nodes.presence import Nodes
from shared.ids import NodeId
from shared.messaging.transport import Connection
from shared.protocol import messages, subjects
from shared.protocol.messages import UnknownMessage


async def take_heartbeats(
    connection: Connection, nodes: Nodes, keepers: InputKeepers, on_unknown: Callable[[NodeId], None]
) -> None:
    """Listen until cancelled, also while another orchestrator leads, so that every one can tell who is connected.

    `on_unknown` is called for a node whose session has not registered here.
    """
    async with connection.subscribe(subjects.ALL_NODE_HEARTBEATS) as received:
        async for each in received:
            sender = subjects.sender(each.subject)
            if sender is None or nodes.is_rejected(sender):
                continue
            try:
                beat = messages.decode_of_node(messages.heartbeats, each.payload)
            except UnknownMessage:
                continue
            if not nodes.on_heartbeat(sender, beat):
                on_unknown(sender)
            if beat.inputs is not None:
                keepers.learn(sender, beat.inputs)
