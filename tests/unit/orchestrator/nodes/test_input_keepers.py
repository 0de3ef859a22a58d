"""Which nodes have which inputs is what each of them said last, and is forgotten in time."""

import msgspec
import pytest

from orchestrator.nodes.input_keepers import InputKeepers
from shared.ids import NodeId
from shared.protocol import messages
from shared.protocol.messages import UnknownMessage
from shared.protocol.nodes.inputs import MOST_HELD_INPUTS

ONE, OTHER = NodeId("n-1"), NodeId("n-2")


def test_what_a_node_says_takes_the_place_of_what_it_said_before() -> None:
    keepers = InputKeepers()
    keepers.learn(ONE, ["a", "b"])
    keepers.learn(OTHER, ["b"])
    assert (set(keepers.of("a")), set(keepers.of("b"))) == ({ONE}, {ONE, OTHER})
    keepers.learn(ONE, ["a"])
    assert (set(keepers.of("a")), set(keepers.of("b"))) == ({ONE}, {OTHER})
    for node in (ONE, OTHER):
        keepers.learn(node, [])
    assert not keepers.are_any


def test_of_so_many_nodes_and_no_more_it_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.nodes.input_keepers.MOST_NODES", 2)
    keepers = InputKeepers()
    for number in range(4):
        keepers.learn(NodeId(f"n-{number}"), ["a"])
    assert set(keepers.of("a")) == {"n-2", "n-3"}


@pytest.mark.parametrize("told", [["a"] * (MOST_HELD_INPUTS + 1), ["a" * 17], [7], "a"])
def test_a_heartbeat_that_tells_more_than_there_may_be_is_set_aside(told: object) -> None:
    beat = msgspec.json.encode({"type": "Heartbeat", "session": "s", "inputs": told})
    with pytest.raises(UnknownMessage):
        messages.decode_of_node(messages.heartbeats, beat)
