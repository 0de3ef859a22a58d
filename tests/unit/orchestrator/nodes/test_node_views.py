"""What clients of the reference read of a node, by its names and in its spelling."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from orchestrator.nodes.presence import Nodes
from orchestrator.nodes.views import node_state, version_view
from orchestrator.rules.records import NodeDifference, NodeRecord
from orchestrator.state.model import Model
from shared.ids import ExecutionId, JobId, NodeId, execution_key
from shared.jobs.capacity import Capacity
from shared.jobs.states import ExecutionState
from shared.protocol import subjects
from shared.protocol.messages import ContainerEngine, Heartbeat, NodeInfo, Registration
from tests.builders import new_execution

NODE = NodeId("n-1")


def on_the_wire(value: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


INFO = NodeInfo(
    node_id=NODE,
    version="1.2.3",
    labels={"zone": "a"},
    engines=("noop",),
    publishers=("s3managed",),
    input_sources=("inline",),
    capacity=Capacity(cpu=4.0, memory=8192),
)


@pytest.fixture
def model() -> Model:
    model = Model(max_attempts=3)
    for attempt, state in enumerate((ExecutionState.RUNNING, ExecutionState.PUBLISHING)):
        record = new_execution(state, attempt=attempt, resources=Capacity(cpu=0.5, memory=512))
        key = execution_key(record.job_id, record.job_version, record.partition, record.attempt)
        model.apply(subjects.execution_record(key), record, 1 + attempt)
    model.apply(subjects.node_record(NODE), NodeRecord(info=INFO), 100)
    return model


def test_its_fields_have_the_names_of_the_reference(model: Model) -> None:
    shown = on_the_wire(node_state(model, Nodes(model, disconnect_seconds=60), NODE))
    assert shown == {
        "Info": {
            "NodeID": "n-1",
            "NodeType": "Compute",
            "Host": "",
            "Labels": {"zone": "a"},
            "SupportedProtocols": ["tarpon/v1"],
            "ComputeNodeInfo": {
                "ExecutionEngines": ["noop"],
                "Publishers": ["s3managed"],
                "StorageSources": ["inline"],
                "MaxCapacity": {"CPU": 4.0, "Memory": 8192},
                "QueueCapacity": {},
                "AvailableCapacity": {"CPU": 3.5, "Memory": 7680},
                "MaxJobRequirements": {"CPU": 4.0, "Memory": 8192},
                "RunningExecutions": 1,
                "EnqueuedExecutions": 0,
                "PublishingExecutions": 0,
                "WaitingExecutions": 0,
                "Problems": [],
                "ContainerEngine": None,
                "Isolation": {},
                "Runtimes": {},
                "GPUs": [],
                "address": "",
            },
            "BacalhauVersion": {
                "Major": "1",
                "Minor": "2",
                "GitVersion": "v1.2.3",
                "GitCommit": "",
                "BuildDate": "0001-01-01T00:00:00Z",
                "GOOS": "linux",
                "GOARCH": "",
            },
        },
        "Membership": "APPROVED",
        "Connection": "DISCONNECTED",
        "ConnectionState": {
            "Status": "DISCONNECTED",
            "LastHeartbeat": None,
            "ConnectedSince": None,
            "DisconnectedSince": None,
            "LastError": "",
        },
        "Draining": False,
        "LiveExecutions": 2,
        "Suspicion": "",
        "Namespaces": [],
        "Differed": 0,
        "Differences": [],
        "Owner": "",
        "JoinToken": "",
        "Keys": [],
        "OverBudget": {},
        "Warnings": [],
    }


def test_a_replica_that_has_answered_is_not_its_any_more_so_that_it_can_be_drained(model: Model) -> None:
    waiting = new_execution(ExecutionState.PUBLISHING, attempt=2, answer="a")
    model.apply(waiting.key, waiting, 3)
    assert node_state(model, Nodes(model, disconnect_seconds=60), NODE).live_executions == 2


def test_how_it_differed_from_others_is_told_to_who_sees_all_namespaces_the_newest_first(model: Model) -> None:
    told = [
        NodeDifference(execution=ExecutionId(f"e-{each}"), job=JobId("j-1"), time=each, detail="d") for each in (1, 2)
    ]
    model.apply(subjects.node_record(NODE), NodeRecord(info=INFO, differences=tuple(told), differed=9), 101)
    nodes = Nodes(model, disconnect_seconds=60, rest_after_differences=9)
    seen = node_state(model, nodes, NODE)
    assert (seen.differed, [each.execution_id for each in seen.differences]) == (9, ["e-2", "e-1"])
    hidden = node_state(model, nodes, NODE, sees=lambda _: True)
    assert (hidden.differed, hidden.differences) == (0, ())
    assert nodes.differs_too_often(NODE)
    assert not Nodes(model, disconnect_seconds=60, rest_after_differences=10).differs_too_often(NODE)
    assert not Nodes(model, disconnect_seconds=60, rest_after_differences=0).differs_too_often(NODE)


def test_its_problems_are_told_within_bounds(model: Model) -> None:
    info = replace(INFO, problems=("x" * 10_000,) * 1000)
    model.apply(subjects.node_record(NODE), NodeRecord(info=info), 101)
    (compute,) = [node_state(model, Nodes(model, disconnect_seconds=60), NODE).info.compute_node_info]
    assert compute is not None
    assert compute.problems == ("x" * 500,) * 10


def test_what_keeps_its_tasks_in_their_place_is_told_within_bounds(model: Model) -> None:
    said = {"process": "bubblewrap", **{f"engine-{number}": "x" * 10_000 for number in range(1000)}}
    model.apply(subjects.node_record(NODE), NodeRecord(info=replace(INFO, isolation=said)), 101)
    (compute,) = [node_state(model, Nodes(model, disconnect_seconds=60), NODE).info.compute_node_info]
    assert compute is not None
    assert compute.isolation["process"] == "bubblewrap"
    assert (len(compute.isolation), len(compute.isolation["engine-1"])) == (20, 100)


def test_what_it_says_of_its_container_engine_is_told_within_bounds(model: Model) -> None:
    long = "x" * 10_000
    said = ContainerEngine(name=long, version="4.3.1", store=long, rootless=True, isolation=(long,) * 1000)
    info = replace(INFO, container_engine=said)
    model.apply(subjects.node_record(NODE), NodeRecord(info=info), 101)
    (compute,) = [node_state(model, Nodes(model, disconnect_seconds=60), NODE).info.compute_node_info]
    assert compute is not None
    assert on_the_wire(compute.container_engine) == {
        "Name": "x" * 100,
        "Version": "4.3.1",
        "Store": "x" * 100,
        "Rootless": True,
        "Isolation": ["x" * 100] * 20,
    }


def test_a_connected_one_tells_its_own_numbers_and_since_when(model: Model) -> None:
    nodes = Nodes(model, disconnect_seconds=60)
    nodes.on_registration(NODE, Registration(info=INFO, session="s", inventory=1))
    nodes.on_heartbeat(NODE, Heartbeat(session="s", running=7, queued=8))
    shown = node_state(model, nodes, NODE)
    assert (shown.connection, shown.connection_state.status) == ("CONNECTED", "CONNECTED")
    assert shown.connection_state.connected_since is not None
    assert shown.connection_state.disconnected_since is None
    assert shown.info.compute_node_info is not None
    assert shown.info.compute_node_info.running_executions == 7
    assert shown.info.compute_node_info.enqueued_executions == 8


@pytest.mark.parametrize(
    ("version", "parts"), [("1.2.3", ("1", "2", "v1.2.3")), ("7", ("7", "", "v7")), ("", ("", "", "v"))]
)
def test_its_version_is_taken_apart_whatever_it_says(version: str, parts: tuple[str, str, str]) -> None:
    shown = version_view(version)
    assert (shown.major, shown.minor, shown.git_version) == parts
