"""What `tarpon node` shows of a node, beside what it can do."""

from datetime import UTC, datetime

from msgspec.structs import replace

from shared.jobs.capacity import Capacity
from shared.protocol.rest_nodes import (
    DELETED,
    REQUESTER,
    ComputeNodeInfo,
    NodeInfoView,
    NodeKeyView,
    NodeState,
    Problem,
)
from tarpon.cli.node.describe import description
from tarpon.cli.node.keys import keys_table
from tarpon.cli.node.table import nodes_table, warning_lines

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NODE = NodeState(info=NodeInfoView(node_id="n-1"), connection="CONNECTED")
SUSPECT = replace(NODE, suspicion="It fails (GPUNotGiven: driver/library version mismatch)")
LABELLED = replace(
    NODE,
    info=NodeInfoView(
        node_id="build-01-3f2a9c81",
        host="build-01.example.com",
        labels={"zone": "a", "gpu": "h100", "name": "build-01-3f2a9c81", "os_type": "linux"},
        compute_node_info=ComputeNodeInfo(
            execution_engines=("docker", "noop"),
            max_capacity=Capacity(cpu=8.0, memory=16 << 30, disk=1 << 40),
            available_capacity=Capacity(cpu=2.5, memory=4 << 30, disk=1 << 39),
        ),
    ),
)


def test_a_suspect_node_is_told_from_the_others() -> None:
    assert "CONNECTED (suspect)" in nodes_table([NODE, SUSPECT])
    assert "suspect" not in nodes_table([NODE])


def test_why_a_node_is_suspect_is_shown_where_it_is() -> None:
    assert "(GPUNotGiven: driver/library version mismatch)" in description(SUSPECT, NOW)
    assert "Suspect" not in description(NODE, NOW)


def test_what_an_operator_should_see_to_is_told_with_its_code() -> None:
    warned = replace(NODE, warnings=(Problem(code="NodeClockOff", message="Its clock is off.", hint="Set it."),))
    assert warning_lines([NODE, warned]) == "n-1: Its clock is off. Set it. [NodeClockOff]"
    assert "Its clock is off. Set it. [NodeClockOff]" in description(warned, NOW)
    assert not warning_lines([NODE])


def test_an_orchestrator_is_shown_by_its_type_and_without_what_it_never_does() -> None:
    info = NodeInfoView(node_id="o-1", node_type=REQUESTER, compute_node_info=ComputeNodeInfo())
    own = NodeState(info=info, connection="CONNECTED")
    assert nodes_table([own]).splitlines()[-1].split() == ["o-1", "Requester", "CONNECTED"]
    assert "Running" not in description(own, NOW)


def test_nodes_are_listed_with_their_hosts_and_the_labels_that_they_were_given() -> None:
    (_, line) = nodes_table([LABELLED]).splitlines()
    assert line.split("  ")[:2] == ["build-01-3f2a9c81", "build-01.example.com"]
    assert line.endswith("  gpu=h100,zone=a")
    assert "Host          build-01.example.com" in description(LABELLED, NOW)


def test_a_wide_list_has_what_is_free_and_all_labels() -> None:
    told = nodes_table([LABELLED], wide=True)
    assert "2.5/8  4.0 GiB/16.0 GiB  512.0 GiB/1.0 TiB" in told
    assert told.endswith("gpu=h100,name=build-01-3f2a9c81,os_type=linux,zone=a")


def test_a_rejected_node_is_told_as_that() -> None:
    assert "REJECTED" in nodes_table([replace(NODE, membership="REJECTED")])


def test_times_of_keys_are_shown_as_other_times_are() -> None:
    begun = NOW.astimezone().replace(hour=9, minute=5)
    gone = NodeKeyView(key="U1", state=DELETED, since=datetime(2025, 6, 1).astimezone(), until=begun, owner="maria")
    lines = keys_table({"n-1": (NodeKeyView(key="U2", since=begun), gone)}, NOW).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["n-1", "U2", "Current", "09:05:00"],
        ["n-1", "U1", "Deleted", "2025-06-01", "00:00:00", "09:05:00", "maria"],
    ]
