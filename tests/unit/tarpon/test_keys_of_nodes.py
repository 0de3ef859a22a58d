"""Keys of nodes, as a verification asks for them: it goes on without those that are not to be had."""

from typing import Any

import pytest

from shared.errors import RemoteError
from shared.protocol.rest_nodes import NodeInfoView, NodeKeysResponse, NodeKeyView, NodeState
from tarpon.verification.verify import _keys_of


class Answering:
    """An orchestrator that answers with an error."""

    def __init__(self, code: str, status: int) -> None:
        self._error = RemoteError(code, "No.", status=status)

    async def node_keys(self, node: str) -> None:
        raise self._error


class Earlier(Answering):
    """An orchestrator of an earlier version, which knows the keys of nodes that are there."""

    def __init__(self) -> None:
        super().__init__("NotFound", 404)

    async def node(self, node: str) -> NodeState:
        return NodeState(info=NodeInfoView(node_id=node), keys=(NodeKeyView(key="U"),))


@pytest.mark.parametrize(("code", "status"), [("NodeNotFound", 404), ("MultipleNodesFound", 409), ("Forbidden", 403)])
async def test_a_node_that_nobody_knows_and_one_that_may_not_be_seen_has_none(code: str, status: int) -> None:
    client: Any = Answering(code, status)
    assert await _keys_of(client, "n-1") == NodeKeysResponse()


async def test_an_orchestrator_of_an_earlier_version_is_asked_for_the_node() -> None:
    client: Any = Earlier()
    assert (await _keys_of(client, "n-1")).keys == (NodeKeyView(key="U"),)


async def test_that_nobody_could_be_asked_is_told() -> None:
    client: Any = Answering("Unavailable", 503)
    with pytest.raises(RemoteError):
        await _keys_of(client, "n-1")
