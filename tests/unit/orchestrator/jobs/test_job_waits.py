"""What a job waits for is told of every node, with what it lacks, and of its parts."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from orchestrator.jobs.waits import MOST_NODES, JobWaits
from orchestrator.nodes.presence import Nodes
from orchestrator.rules.records import BindingRecord, ExecutionRecord, Failure, NodeRecord
from orchestrator.state.model import Model
from shared.ids import JobId, NodeId, execution_key
from shared.jobs.capacity import Capacity
from shared.jobs.spec import Constraint, InputSource, Job, Resources, SpecConfig
from shared.jobs.states import DesiredState, ExecutionState
from shared.protocol import subjects
from shared.protocol.jobs.rest_waits import PartCounts, WaitsResponse
from shared.protocol.messages import PROTOCOL, Heartbeat, NodeInfo, Registration
from tests.builders import new_execution, new_job, new_job_record, new_task

S = ExecutionState
GIB = 1 << 30
JOB = JobId("j-1")
TASK = new_task(engine="docker", publisher="s3managed", resources=Resources(cpu="2", memory="1GiB"))
SPEC = new_job("sweep", count=3, tasks=(TASK,), constraints=(Constraint(key="zone", operator="=", values=("a",)),))
INFO = NodeInfo(
    node_id=NodeId("n-1"),
    version="0.1.0",
    labels={"zone": "a"},
    engines=("docker",),
    publishers=("s3managed",),
    capacity=Capacity(cpu=4.0, memory=8 * GIB),
)
START = 1_800_000_000.0


class Cluster:
    """Nodes that are there unless a test says otherwise, and one job of three parts."""

    def __init__(self, spec: Job = SPEC, *, leads: bool = True) -> None:
        self.now = START
        self.model = Model(max_attempts=3)
        self.nodes = Nodes(
            self.model, disconnect_seconds=60.0, return_seconds=30.0, clock=lambda: self.now, wall=lambda: self.wall
        )
        self.unreachable: dict[NodeId, Mapping[str, str]] = {}
        self.looks = 0
        self.waits = JobWaits(
            self.model, self.nodes, unreachable=self._look, leads=lambda: leads, clock=lambda: self.now
        )
        self.revision = 0
        self.job(spec)

    def _look(self) -> Mapping[NodeId, Mapping[str, str]]:
        """Asked for once in each look at all nodes."""
        self.looks += 1
        return self.unreachable

    @property
    def wall(self) -> int:
        return int(self.now * 1e9)

    def feed(self, key: str, record: Any) -> None:
        self.revision += 1
        self.model.apply(key, record, self.revision)

    def job(self, spec: Job, **more: Any) -> None:
        record = new_job_record(name="sweep", first=spec, **more)
        self.feed(subjects.job_record(JOB), record)

    def node(self, name: str, *, there: bool = True, record: NodeRecord | None = None, **more: Any) -> NodeId:
        node = NodeId(name)
        info = replace(INFO, node_id=node, **more)
        self.feed(subjects.node_record(node), replace(record, info=info) if record else NodeRecord(info=info))
        if there:
            self.nodes.on_registration(node, Registration(info=info, session="s-1", inventory=1))
        return node

    def execution(
        self, part: int, state: ExecutionState, *, on: str = "n-1", cpu: float = 2.0, failure: Failure | None = None
    ) -> ExecutionRecord:
        key = execution_key(JOB, 1, part, 0)
        record = new_execution(state, partition=part, on=on, resources=Capacity(cpu=cpu), failure=failure)
        self.feed(subjects.execution_record(key), record)
        return record

    def asked(self, most: int = 100) -> WaitsResponse:
        return asyncio.run(self.waits.of(self.model.jobs[JOB], most))

    def only(self) -> tuple[str, tuple[str, ...]]:
        (node,) = self.asked().nodes
        return node.standing, node.lacks


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.mark.parametrize(
    ("more", "standing", "lacks"),
    [
        ({}, "ready", ()),
        ({"labels": {"zone": "b"}}, "unfit-labels", ("its labels do not fulfil zone = a: its zone is 'b'",)),
        ({"labels": {}}, "unfit-labels", ("its labels do not fulfil zone = a: it has no zone",)),
        ({"engines": ("noop",)}, "no-engine", ("does not support docker",)),
        ({"publishers": ()}, "no-publisher", ("does not support publisher s3managed",)),
        (
            {"protocol_min": PROTOCOL + 1, "protocol_max": PROTOCOL + 1},
            "other-protocol",
            (f"speaks protocol {PROTOCOL + 1} to {PROTOCOL + 1}, this orchestrator {PROTOCOL}",),
        ),
        (
            {"engines": ("noop",), "labels": {}},
            "no-engine",
            ("does not support docker", "its labels do not fulfil zone = a: it has no zone"),
        ),
    ],
)
def test_a_node_is_told_with_all_that_it_lacks(
    cluster: Cluster, more: dict[str, Any], standing: str, lacks: tuple[str, ...]
) -> None:
    cluster.node("n-1", **more)
    assert cluster.only() == (standing, lacks)


def test_a_node_that_is_too_small_is_told_with_what_it_has_in_all(cluster: Cluster) -> None:
    cluster.node("n-1", capacity=Capacity(cpu=1.0, memory=8 * GIB))
    standing, lacks = cluster.only()
    assert (standing, lacks[0]) == ("too-small", "has too little CPU for this job at all: 1 CPU in all, 2 asked for")


def test_a_busy_node_is_told_with_what_is_free_of_how_much(cluster: Cluster) -> None:
    cluster.node("n-1")
    cluster.execution(0, S.RUNNING, cpu=3.5)
    found = cluster.asked()
    assert found.nodes[0].lacks == ("0.5 of 4 CPU free, 2 asked for",)
    assert (found.nodes[0].standing, found.nodes[0].free.cpu, found.nodes[0].total.cpu) == ("busy", 0.5, 4.0)
    assert found.parts == PartCounts(total=3, to_place=2, running=1)
    assert found.asks == "2 CPU, 1.0 GiB memory, engine docker, publisher s3managed, zone = a"


def test_a_drained_node_is_told_as_drained(cluster: Cluster) -> None:
    cluster.node("n-1", record=NodeRecord(info=INFO, draining=True))
    assert cluster.only() == ("drained", ("is drained: nothing new is placed on it",))


def test_a_node_that_rests_is_told_with_why_and_until_when(cluster: Cluster) -> None:
    cluster.node("n-1")
    cluster.nodes.on_failure(cluster.execution(0, S.FAILED, failure=Failure(reason="DiskFull", retryable=True)))
    assert cluster.only() == ("resting", ("rests until 2027-01-15 08:00:01 UTC, whose disk was full",))


def test_a_node_that_is_gone_is_told_as_not_connected(cluster: Cluster) -> None:
    cluster.node("n-1")
    cluster.now += 3600
    cluster.nodes.sweep()
    standing, lacks = cluster.only()
    assert standing == "disconnected"
    assert lacks[0].startswith("is not connected since 20")


def test_a_node_that_has_not_registered_yet_is_joining(cluster: Cluster) -> None:
    node = cluster.node("n-1", there=False)
    cluster.nodes.on_heartbeat(node, Heartbeat(session="s-1"))
    assert cluster.only()[0] == "joining"


def test_a_node_that_stops_is_told_as_stopping(cluster: Cluster) -> None:
    node = cluster.node("n-1")
    cluster.nodes.on_heartbeat(node, Heartbeat(session="s-1", leaving=True))
    assert cluster.only() == ("stopping", ("is stopping",))


def test_a_rejected_node_is_told_as_rejected(cluster: Cluster) -> None:
    cluster.node("n-1")
    cluster.feed("binding.n-1", BindingRecord(public_key="U", rejected=1))
    assert cluster.only()[0] == "rejected"


def test_an_engine_that_is_away_and_waited_for_is_told(cluster: Cluster) -> None:
    cluster.node("n-1", engines=(), record=NodeRecord(info=INFO, engines_away={"docker": cluster.wall}))
    assert cluster.only() == ("engine-away", ("its engine docker is away, and waited for",))


def test_a_store_that_a_node_cannot_reach_is_told(cluster: Cluster) -> None:
    cluster.unreachable[cluster.node("n-1")] = {"s3managed": "cannot reach the S3 endpoint"}
    assert cluster.only() == ("store-unreachable", ("cannot reach the S3 endpoint",))


def test_a_node_that_refused_the_job_is_told_with_its_words(cluster: Cluster) -> None:
    cluster.node("n-1")
    cluster.execution(0, S.REJECTED, failure=Failure(reason="NotAllowed", detail="not on my disk"))
    assert cluster.only() == ("refused", ("refused this job: not on my disk",))


def test_an_input_that_a_node_cannot_have_is_told() -> None:
    source = InputSource(source=SpecConfig(type="s3"))
    cluster = Cluster(replace(SPEC, tasks=(replace(TASK, input_sources=(source,)),)))
    cluster.node("n-1")
    assert cluster.only() == ("no-input", ("does not support input source s3",))


def test_all_nodes_are_counted_by_how_they_stand_the_likeliest_first(cluster: Cluster) -> None:
    cluster.node("n-4", engines=())
    cluster.node("n-3", record=NodeRecord(info=INFO, draining=True))
    cluster.node("n-2")
    cluster.node("n-1")
    for part, node in enumerate(["n-1", "n-2"]):
        cluster.execution(part, S.RUNNING, on=node, cpu=4.0)
    found = cluster.asked(most=2)
    assert found.summary == "2 nodes busy, 1 drained, 1 without its engine"
    assert [(each.standing, each.nodes) for each in found.standings] == [("busy", 2), ("drained", 1), ("no-engine", 1)]
    assert ([each.node_id for each in found.nodes], found.nodes_total) == (["n-1", "n-2"], 4)


def test_without_nodes_it_is_told_how_to_start_one(cluster: Cluster) -> None:
    assert "tarpon serve --compute" in cluster.asked().summary


def test_what_an_orchestrator_cannot_know_it_says() -> None:
    cluster = Cluster(leads=False)
    node = cluster.node("n-1", there=False)
    cluster.nodes.on_heartbeat(node, Heartbeat(session="s-1"))
    found = cluster.asked()
    assert found.nodes[0].standing == "ready"
    assert any("does not lead" in note for note in found.notes)


def test_of_a_job_that_is_placed_it_is_told_where_its_parts_are(cluster: Cluster) -> None:
    cluster.node("n-1")
    for part, state in enumerate([S.RUNNING, S.PUBLISHING, S.COMPLETED]):
        cluster.execution(part, state)
    found = cluster.asked()
    assert found.summary == "it waits for no node: of 3 parts 1 running, 1 publishing, 1 completed"
    assert found.nodes == ()


def test_parts_that_wait_for_others_of_their_job_are_told_apart(cluster: Cluster) -> None:
    cluster.job(replace(SPEC, max_parallel=2))
    cluster.node("n-1")
    cluster.execution(0, S.RUNNING)
    assert cluster.asked().parts == PartCounts(total=3, to_place=1, held_back=1, running=1)
    cluster.execution(1, S.RUNNING)
    told = cluster.asked()
    assert told.summary == "it waits for no node: of 3 parts 1 waiting for others to end (MaxParallel), 2 running"
    assert told.nodes == ()


def test_a_job_that_has_ended_waits_for_nothing(cluster: Cluster) -> None:
    cluster.job(SPEC, desired=DesiredState.STOPPED)
    assert cluster.asked().summary == "it has ended (Stopped), and waits for nothing"


def test_of_a_job_that_has_ended_it_is_told_how_its_parts_did(cluster: Cluster) -> None:
    cluster.job(replace(SPEC, count=6), failure="Not ended within its total time-out")
    broken = Failure(reason="OutOfMemory", detail="It needed more memory.")
    for part, state in enumerate([S.COMPLETED, S.FAILED, S.FAILED, S.CANCELLED]):
        cluster.execution(part, state, failure=broken if state is S.FAILED else None)
    found = cluster.asked()
    assert found.parts == PartCounts(total=6, completed=1, failed=2, stopped=1, never_begun=2)
    assert found.notes == ("OutOfMemory: It needed more memory. (2 parts)",)
    assert found.state.state_type == "Failed"


async def test_many_nodes_are_looked_at_once_for_many_who_ask(cluster: Cluster) -> None:
    for number in range(2 * MOST_NODES):
        cluster.node(f"n-{number:04}", record=NodeRecord(info=INFO, draining=True))
    async with asyncio.TaskGroup() as group:
        asks = [group.create_task(cluster.waits.of(cluster.model.jobs[JOB], MOST_NODES)) for _ in range(50)]
    assert cluster.looks == 1
    found = asks[-1].result()
    assert (found.summary, len(found.nodes)) == (f"{2 * MOST_NODES:,} nodes drained", MOST_NODES)


def test_an_ops_job_waits_for_its_own_nodes_alone() -> None:
    spec = new_job("sweep", type="ops", count=0, tasks=(TASK,))
    cluster = Cluster(spec)
    for name in ("n-1", "n-2", "n-3"):
        cluster.node(name)
    cluster.job(spec, targets=(NodeId("n-1"), NodeId("n-2")))
    cluster.execution(0, S.RUNNING)
    cluster.node("n-2", record=NodeRecord(info=INFO, draining=True))
    told = cluster.asked()
    assert [(each.node_id, each.standing) for each in told.nodes] == [("n-2", "drained")]
    assert (told.parts.total, told.parts.to_place, told.parts.running) == (2, 1, 1)
