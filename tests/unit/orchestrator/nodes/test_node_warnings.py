"""Of what about a node its operator is warned, and when not."""

from typing import Any

import pytest
from msgspec.structs import replace

from orchestrator.nodes.presence import Nodes
from orchestrator.nodes.warnings import NodeWarning, warnings_about
from orchestrator.rules.records import NodeRecord, Suspicion
from orchestrator.state.model import Model
from shared.ids import NodeId
from shared.protocol import subjects
from shared.protocol.messages import Heartbeat, NodeInfo

NODE = NodeId("n-1")
NOW = 1_000_000_000.0
"""What the orchestrator's clock shows, in seconds since 1970."""
WELL = NodeRecord(info=NodeInfo(node_id=NODE, version="1.0", isolation={"process": "bubblewrap"}))
BEAT = Heartbeat(session="s", sent_at=NOW, disk_free=50, disk_size=100)


def codes(record: NodeRecord = WELL, beat: Heartbeat | None = BEAT) -> list[str]:
    model = Model(max_attempts=3)
    model.apply(subjects.node_record(NODE), record, 1)
    nodes = Nodes(model, disconnect_seconds=60, wall=lambda: int(NOW * 1e9))
    if beat is not None:
        nodes.on_heartbeat(NODE, beat)
    return [each.code for each in warnings_about(record, nodes, version="1.0")]


def of_info(**changes: Any) -> NodeRecord:
    return replace(WELL, info=replace(WELL.info, **changes))


def test_of_a_node_that_is_well_there_is_no_warning() -> None:
    assert codes() == []


@pytest.mark.parametrize(
    ("record", "beat", "code"),
    [
        (of_info(version="0.9"), BEAT, NodeWarning.VERSION_DIFFERS),
        (WELL, replace(BEAT, sent_at=NOW - 61), NodeWarning.CLOCK_OFF),
        (WELL, replace(BEAT, sent_at=NOW + 61), NodeWarning.CLOCK_OFF),
        (WELL, replace(BEAT, disk_free=4), NodeWarning.DISK_FULL),
        (replace(WELL, engines_away={"docker": 1}), BEAT, NodeWarning.ENGINE_AWAY),
        (of_info(isolation={"process": "none"}), BEAT, NodeWarning.NOT_ISOLATED),
        (replace(WELL, suspicion=Suspicion(since=1)), BEAT, NodeWarning.SUSPECT),
        (of_info(problems=("The disk is loose.",)), BEAT, NodeWarning.PROBLEM),
    ],
    ids=[*("version", "behind", "ahead", "disk", "engine", "walls", "suspect", "problem")],
)
def test_each_kind_of_trouble_has_its_own_code(record: NodeRecord, beat: Heartbeat, code: NodeWarning) -> None:
    assert codes(record, beat) == [code]


def test_a_minute_of_clock_and_a_twentieth_of_the_disk_are_left_alone() -> None:
    assert codes(beat=replace(BEAT, sent_at=NOW - 60, disk_free=5)) == []


def test_a_node_of_an_earlier_version_tells_neither_its_clock_nor_its_disk() -> None:
    assert codes(beat=Heartbeat(session="s")) == []


def test_of_a_node_that_is_away_nothing_else_counts() -> None:
    assert codes(of_info(version="0.9"), beat=None) == []


def test_what_a_node_says_of_itself_is_cut() -> None:
    record = of_info(problems=("x" * 10_000,), version="9" * 10_000)
    model = Model(max_attempts=3)
    model.apply(subjects.node_record(NODE), record, 1)
    nodes = Nodes(model, disconnect_seconds=60)
    nodes.on_heartbeat(NODE, Heartbeat(session="s"))
    assert all(len(each.message) < 500 for each in warnings_about(record, nodes, version="1.0"))
