"""What `tarpon node` shows of a node, beside what it can do."""

from datetime import UTC, datetime

from msgspec.structs import replace

from shared.rest_nodes import REQUESTER, ComputeNodeInfo, NodeInfoView, NodeState
from tarpon.cli.node import _description, _table

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NODE = NodeState(info=NodeInfoView(node_id="n-1"), connection="CONNECTED")
SUSPECT = replace(NODE, suspicion="It fails (GPUNotGiven: driver/library version mismatch)")


def test_a_suspect_node_is_told_from_the_others() -> None:
    assert "CONNECTED (suspect)" in _table([NODE, SUSPECT])
    assert "suspect" not in _table([NODE])


def test_why_a_node_is_suspect_is_shown_where_it_is() -> None:
    assert "(GPUNotGiven: driver/library version mismatch)" in _description(SUSPECT, NOW)
    assert "Suspect" not in _description(NODE, NOW)


def test_an_orchestrator_is_shown_by_its_type_and_without_what_it_never_does() -> None:
    info = NodeInfoView(node_id="o-1", node_type=REQUESTER, compute_node_info=ComputeNodeInfo())
    own = NodeState(info=info, connection="CONNECTED")
    assert _table([own]).splitlines()[-1].split() == ["o-1", "Requester", "APPROVED", "CONNECTED"]
    assert "Running" not in _description(own, NOW)
