"""Executions go to nodes that can run them, as evenly as possible, and never beyond what a node has."""

import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from orchestrator.nodes.reachability import unreachable_publishers
from orchestrator.rules import placement
from orchestrator.rules.fleet import Candidate, Fleet
from orchestrator.rules.location import Location
from orchestrator.rules.placement import MAX_REASONS, PATIENCE_SECONDS, Plan, Wanted
from orchestrator.rules.records import NodeRecord
from orchestrator.rules.shortfalls import REFUSED
from orchestrator.s3.bucket import Bucket
from shared.data.loopback_hosts import is_loopback
from shared.ids import JobId, NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.constraints import PREFERENCE_PREFIX
from shared.jobs.spec import Constraint, InputSource, Resources, SpecConfig, Task, Verification
from shared.protocol.messages import (
    COPIES_HARD_LINKS,
    PROTOCOL,
    RUNS_REPRODUCIBLY,
    SENDS_MANIFESTS,
    TAKES_SECRETS,
    NodeInfo,
)
from shared.runtime.loopback import loopback_id
from tests.builders import new_job

GIB = 1 << 30
NO_LIMIT = 1000


def node(name: str, *, cpu: float = 4.0, labels: dict[str, str] | None = None, **more: object) -> NodeInfo:
    info = NodeInfo(
        node_id=NodeId(name),
        version="0.1.0",
        labels=labels or {},
        engines=("noop", "process"),
        publishers=("s3managed", "noop"),
        capacity=Capacity(cpu=cpu, memory=8 * GIB),
    )
    return replace(info, **more)


def candidate(
    name: str = "n-1",
    *,
    cpu: float = 4.0,
    free: float | None = None,
    queue: int = 0,
    expected: bool = False,
    labels: dict[str, str] | None = None,
    **more: object,
) -> Candidate:
    info = node(name, cpu=cpu, labels=labels, **more)
    left = replace(info.capacity, cpu=cpu if free is None else free)
    return Candidate(info=info, free=left, queue_left=queue, expected=expected)


def wanted(
    name: str = "j-1",
    *,
    count: int = 1,
    cpu: float = 1.0,
    constraints: tuple[Constraint, ...] = (),
    engine: str = "noop",
    publisher: str = "",
    publisher_params: dict[str, str] | None = None,
    env: dict[str, str] | None = None,
    inputs: tuple[str, ...] = (),
    reproducible: bool = False,
    refused_by: Iterable[str] = (),
    failed_on: Iterable[str] = (),
) -> Wanted:
    task = Task(
        name="main",
        engine=SpecConfig(type=engine),
        publisher=SpecConfig(type=publisher, params=publisher_params or {}),
        env=env or {},
        input_sources=tuple(InputSource(source=SpecConfig(type=kind)) for kind in inputs),
        resources=Resources(cpu=str(cpu), memory="1GiB"),
        reproducible=reproducible,
    )
    return Wanted(
        job_id=JobId(name),
        version=1,
        job=new_job(name, count=count, tasks=(task,), constraints=constraints),
        resources=Capacity(cpu=cpu, memory=GIB),
        missing=tuple((partition, 0) for partition in range(count)),
        refused_by={NodeId(each): "it has no such engine" for each in refused_by},
        failed_on=frozenset(NodeId(each) for each in failed_on),
    )


def needs(key: str, operator: str, *values: str) -> Constraint:
    return Constraint(key=key, operator=operator, values=values)


def plan(wants: Iterable[Wanted], candidates: list[Candidate], *, limit: int) -> Plan:
    return placement.plan(wants, Fleet(candidates), limit=limit)


def unsuitable(job: Wanted, on: Candidate) -> str:
    return placement.unsuitable(job.shape, job.resources, on)


def where(found: Plan) -> list[str]:
    return [each.node_id for each in found.placements]


class TestSuitability:
    @pytest.mark.parametrize(
        ("job", "on", "reason"),
        [
            (
                wanted(),
                candidate(protocol_min=PROTOCOL + 1, protocol_max=PROTOCOL + 2),
                f"speaks protocol {PROTOCOL + 1} to {PROTOCOL + 2}, this orchestrator {PROTOCOL}",
            ),
            (wanted(refused_by=["n-1"]), candidate(), REFUSED),
            (wanted(engine="Docker"), candidate(), "does not support Docker"),
            (wanted(publisher="IPFS"), candidate(), "does not support publisher IPFS"),
            (wanted(inputs=("s3",)), candidate(), "does not support input source s3"),
            (
                wanted(constraints=(needs("zone", "in", "a", "b"),)),
                candidate(labels={"zone": "c"}),
                "its labels do not fulfil zone in a, b: its zone is 'c'",
            ),
            (wanted(cpu=5.0), candidate(), "has too little CPU for this job at all: 4 CPU in all, 5 asked for"),
            (
                wanted(publisher="s3managed", publisher_params={"HardLinks": "copy"}),
                candidate(publishers=("s3managed",)),
                "cannot copy hard links, because it runs version 0.1.0 of Tarpon; upgrade it",
            ),
            (
                wanted(publisher="s3managed", publisher_params={"HardLinks": "copy"}),
                candidate(publishers=("s3managed",), abilities=(COPIES_HARD_LINKS,)),
                "",
            ),
            (wanted(publisher="s3managed"), candidate(publishers=("s3managed",)), ""),
            (
                wanted(env={"A": "secret:b"}),
                candidate(),
                "cannot give tasks secrets, because it runs version 0.1.0 of Tarpon; upgrade it",
            ),
            (wanted(env={"A": "secret:b"}), candidate(abilities=(TAKES_SECRETS,)), ""),
            (
                wanted(reproducible=True),
                candidate(),
                "cannot run tasks reproducibly, because it runs version 0.1.0 of Tarpon; upgrade it",
            ),
            (wanted(reproducible=True), candidate(abilities=(RUNS_REPRODUCIBLY,)), ""),
        ],
    )
    def test_a_node_is_unsuitable_for_a_reason(self, job: Wanted, on: Candidate, reason: str) -> None:
        assert unsuitable(job, on) == reason

    def test_everything_that_a_node_has_too_little_of_is_named(self) -> None:
        large = replace(wanted(), resources=Capacity(cpu=9.0, memory=9 * GIB, disk=1, gpu=1))
        told = unsuitable(large, candidate())
        assert told.startswith(
            "has too little CPU and memory and disk and GPU for this job at all: 4 CPU in all, 9 asked for, 8.0 GiB"
        )

    def test_a_node_that_cannot_reach_the_store_is_unsuitable_for_that_publisher_alone(self) -> None:
        far = candidate()
        far.unreachable = {"s3managed": "cannot reach the S3 endpoint"}
        assert unsuitable(wanted(publisher="s3managed"), far) == "cannot reach the S3 endpoint"
        assert not unsuitable(wanted(), far)

    @pytest.mark.parametrize(
        "job",
        [
            wanted(engine="NOOP"),
            wanted(publisher="S3Managed"),
            wanted(cpu=4.0),
            wanted(failed_on=["n-1"]),
            wanted(refused_by=["n-2"]),
            wanted(constraints=(needs("zone", "notin", "a"), needs("gpu", "!"))),
            wanted(constraints=(needs("favour_zone", "=", "nowhere"),)),
        ],
    )
    def test_none_of_these_makes_a_node_unsuitable(self, job: Wanted) -> None:
        assert not unsuitable(job, candidate())

    def test_a_busy_node_is_suitable_all_the_same(self) -> None:
        assert not unsuitable(wanted(), candidate(free=0.0))


class TestChoice:
    def test_the_partitions_of_a_job_are_spread(self) -> None:
        found = plan([wanted(count=4)], [candidate("n-1", cpu=16.0), candidate("n-2", cpu=4.0)], limit=NO_LIMIT)
        assert sorted(where(found)) == ["n-1", "n-1", "n-2", "n-2"]

    def test_the_node_with_the_largest_free_share_is_taken(self) -> None:
        candidates = [candidate("n-1", cpu=16.0, free=4.0), candidate("n-2", cpu=4.0, free=2.0)]
        assert where(plan([wanted()], candidates, limit=NO_LIMIT)) == ["n-2"]

    def test_a_favoured_node_is_taken_before_an_idle_one(self) -> None:
        job = wanted(constraints=(needs("favour_zone", "=", "a"),))
        candidates = [candidate("n-1"), candidate("n-2", free=1.0, labels={"zone": "a"})]
        assert where(plan([job], candidates, limit=NO_LIMIT)) == ["n-2"]

    def test_of_several_preferences_more_are_better(self) -> None:
        job = wanted(constraints=(needs("favour_zone", "=", "a"), needs("favour_disk", "exists")))
        candidates = [candidate("n-1", labels={"zone": "a"}), candidate("n-2", labels={"zone": "a", "disk": "ssd"})]
        assert where(plan([job], candidates, limit=NO_LIMIT)) == ["n-2"]

    def test_a_preference_never_makes_a_job_wait(self) -> None:
        job = wanted(constraints=(needs("favour_zone", "=", "a"),))
        candidates = [candidate("n-1"), candidate("n-2", free=0.0, labels={"zone": "a"})]
        assert where(plan([job], candidates, limit=NO_LIMIT)) == ["n-1"]

    def test_where_a_job_did_not_do_well_it_goes_last(self) -> None:
        candidates = [candidate("n-1"), candidate("n-2", free=1.0)]
        assert where(plan([wanted(failed_on=["n-1"])], candidates, limit=NO_LIMIT)) == ["n-2"]
        assert where(plan([wanted(failed_on=["n-1"])], [candidate("n-1")], limit=NO_LIMIT)) == ["n-1"]

    def test_a_node_with_free_capacity_is_taken_before_one_with_a_queue(self) -> None:
        candidates = [candidate("n-1", free=0.9, queue=9), candidate("n-2", cpu=16.0, free=1.0)]
        assert where(plan([wanted()], candidates, limit=NO_LIMIT)) == ["n-2"]

    def test_a_queue_is_used_when_nothing_is_free(self) -> None:
        only = candidate(free=1.0, queue=2)
        found = plan([wanted(count=4)], [only], limit=NO_LIMIT)
        assert (len(found.placements), only.queue_left, only.free.cpu) == (3, 0, 0.0)
        assert list(found.waiting) == ["j-1"]

    def test_nothing_overtakes_what_is_queued_on_a_node(self) -> None:
        only = candidate(cpu=4.0, free=2.0, queue=1)
        found = plan([wanted("j-1", cpu=3.0), wanted("j-2", cpu=1.0)], [only], limit=NO_LIMIT)
        assert [each.job_id for each in found.placements] == ["j-1"]

    def test_what_is_placed_is_taken_off_what_is_free(self) -> None:
        only = candidate(cpu=4.0)
        plan([wanted(count=3)], [only], limit=NO_LIMIT)
        assert only.free == Capacity(cpu=1.0, memory=5 * GIB)

    def test_thousandths_of_a_core_add_up(self) -> None:
        job = replace(wanted(count=10), resources=Capacity(cpu=0.1))
        found = plan([job], [candidate(cpu=1.0)], limit=NO_LIMIT)
        assert len(found.placements) == 10

    def test_a_placement_says_all_that_decides_the_execution(self) -> None:
        retry = replace(wanted(), version=7, missing=((3, 2),))
        (placed,) = plan([retry], [candidate()], limit=NO_LIMIT).placements
        assert (placed.job_id, placed.version, placed.partition, placed.attempt) == ("j-1", 7, 3, 2)
        assert placed.resources == retry.resources


class TestWaiting:
    def test_nothing_is_placed_on_a_node_that_is_not_connected_but_its_job_waits_for_it(self) -> None:
        found = plan([wanted()], [candidate(expected=True, queue=5)], limit=NO_LIMIT)
        assert found == Plan(waiting={JobId("j-1"): "Waiting for node n-1 to connect."})

    def test_what_is_waited_for_of_a_node_is_said(self) -> None:
        resting, away = candidate("n-1", expected=True), candidate("n-2", expected=True)
        resting.resting = ", whose disk was full"
        found = plan([wanted()], [resting, away], limit=NO_LIMIT)
        assert found.waiting == {"j-1": "Waiting for node n-1, whose disk was full."}

    def test_a_job_waits_for_an_engine_that_answered_not_long_ago(self) -> None:
        away = candidate("n-1", engines=())
        away.away = {"noop": True}
        found = plan([wanted()], [away, candidate("n-2", engines=())], limit=NO_LIMIT)
        assert found == Plan(waiting={JobId("j-1"): "Waiting for node n-1, whose engine is away."})

    def test_it_goes_to_another_node_whose_engine_is_there(self) -> None:
        away = candidate("n-1", engines=())
        away.away = {"noop": True}
        assert where(plan([wanted()], [away, candidate("n-2", free=1.0)], limit=NO_LIMIT)) == ["n-2"]

    def test_an_engine_that_is_away_for_too_long_is_not_waited_for(self) -> None:
        away = candidate("n-1", engines=())
        away.away = {"noop": False}
        found = plan([wanted()], [away], limit=NO_LIMIT)
        assert "Node n-1: its engine noop is away, and was so for longer than" in found.impossible[JobId("j-1")]

    def test_nothing_is_kept_free_on_a_node_whose_engine_is_away(self) -> None:
        away = candidate("n-1", engines=("process",))
        away.away = {"noop": True}
        long, other = wanted("j-1"), wanted("j-2", engine="process")
        found = plan([replace(long, waiting_seconds=PATIENCE_SECONDS + 1), other], [away], limit=NO_LIMIT)
        assert where(found) == ["n-1"]

    def test_a_job_that_waits_for_capacity_says_which(self) -> None:
        candidates = [candidate("n-1", free=0.0), candidate("n-2", free=0.5), candidate("n-3", engines=())]
        found = plan([wanted()], candidates, limit=NO_LIMIT)
        assert found.waiting == {"j-1": "Waiting for free CPU on 2 suitable node(s)."}

    def test_a_node_that_may_be_back_is_waited_for_rather_than_a_drained_one(self) -> None:
        drained = candidate("n-1", expected=True)
        drained.draining = True
        found = plan([wanted()], [drained, candidate("n-2", expected=True)], limit=NO_LIMIT)
        assert found.waiting == {"j-1": "Waiting for node n-2 to connect."}

    def test_a_drained_node_counts_as_suitable_for_nothing(self) -> None:
        drained = candidate("n-2", expected=True)
        drained.draining, drained.free = True, Capacity()
        found = plan([wanted()], [candidate("n-1", free=0.0), drained], limit=NO_LIMIT)
        assert found.waiting == {"j-1": "Waiting for free CPU on 1 suitable node(s)."}

    def test_jobs_of_a_shape_that_waits_wait_too_and_others_go_on(self) -> None:
        jobs = [wanted("j-1", cpu=4.0), wanted("j-2", cpu=4.0), wanted("j-3", cpu=1.0)]
        found = plan(jobs, [candidate(free=2.0)], limit=NO_LIMIT)
        assert where(found) == ["n-1"]
        assert found.waiting == dict.fromkeys(["j-1", "j-2"], "Waiting for free CPU on 1 suitable node(s).")

    def test_when_all_nodes_are_full_the_rest_is_not_looked_at(self) -> None:
        jobs = iter([wanted("j-1", count=5), wanted("j-2"), wanted("j-3")])
        found = plan(jobs, [candidate(cpu=4.0)], limit=NO_LIMIT)
        assert (len(found.placements), list(found.waiting)) == (4, ["j-1"])
        assert next(jobs).job_id == "j-2"

    def test_a_limit_holds_within_one_job_too(self) -> None:
        jobs = [wanted("j-1", count=3), wanted("j-2", count=9, cpu=0.1)]
        found = plan(jobs, [candidate(cpu=4.0)], limit=5)
        assert [(each.job_id, each.partition) for each in found.placements] == [
            ("j-1", 0),
            ("j-1", 1),
            ("j-1", 2),
            ("j-2", 0),
            ("j-2", 1),
        ]
        assert not found.waiting, "what is cut by the limit does not wait for capacity"


class TestImpossible:
    def test_without_nodes_the_message_says_how_to_get_one(self) -> None:
        found = plan([wanted(count=2)], [], limit=NO_LIMIT)
        assert found.impossible == {
            "j-1": "not enough nodes to run job. requested: 2, available: 0, suitable: 0. No compute node is connected;"
            " start one with `tarpon serve --compute`."
        }

    def test_every_node_has_its_reason(self) -> None:
        found = plan([wanted(engine="docker")], [candidate("n-1"), candidate("n-2", protocol_min=9)], limit=NO_LIMIT)
        assert found.impossible == {
            "j-1": "not enough nodes to run job. requested: 1, available: 2, suitable: 0."
            "\n- Node n-1: does not support docker"
            f"\n- Node n-2: speaks protocol 9 to {PROTOCOL}, this orchestrator {PROTOCOL}"
        }

    def test_a_long_list_of_reasons_is_cut(self) -> None:
        candidates = [candidate(f"n-{number}") for number in range(MAX_REASONS + 3)]
        message = plan([wanted(engine="docker")], candidates, limit=NO_LIMIT).impossible[JobId("j-1")]
        assert message.count("\n- Node ") == MAX_REASONS
        assert message.endswith("\n- ... and 3 more")

    def test_of_jobs_of_one_shape_each_is_told_what_nodes_said_to_it(self) -> None:
        ours = replace(wanted("j-1"), refused_by={NodeId("n-1"): "no image registry.example/secret-project"})
        theirs = replace(wanted("j-2"), refused_by={NodeId("n-1"): "no command 'train'"})
        found = plan([ours, theirs], [candidate()], limit=NO_LIMIT).impossible
        assert found[JobId("j-1")].endswith("- Node n-1: refused this job: no image registry.example/secret-project")
        assert found[JobId("j-2")].endswith("- Node n-1: refused this job: no command 'train'")

    def test_a_job_is_told_in_its_own_spelling(self) -> None:
        jobs = [wanted("j-1", engine="Docker", inputs=("S3",)), wanted("j-2", engine="docker", inputs=("s3",))]
        found = plan(jobs, [candidate("n-1"), candidate("n-2", engines=("docker",))], limit=NO_LIMIT).impossible
        assert [text.splitlines()[1:] for text in found.values()] == [
            ["- Node n-1: does not support Docker", "- Node n-2: does not support input source S3"],
            ["- Node n-1: does not support docker", "- Node n-2: does not support input source s3"],
        ]

    def test_what_a_node_said_later_is_told_though_the_lane_is_known(self) -> None:
        fleet = Fleet([candidate()])
        first, then = (replace(wanted(), refused_by={NodeId("n-1"): said}) for said in ("first", "then"))
        placement.plan([first], fleet, limit=NO_LIMIT)
        assert placement.plan([then], fleet, limit=NO_LIMIT).impossible[JobId("j-1")].endswith("refused this job: then")

    def test_an_impossible_job_is_not_kept_waiting_by_another_of_its_shape(self) -> None:
        jobs = [wanted("j-1", engine="docker"), wanted("j-2", engine="docker", count=3), wanted("j-3")]
        found = plan(jobs, [candidate()], limit=NO_LIMIT)
        assert (where(found), found.waiting) == (["n-1"], {})
        assert "requested: 1," in found.impossible[JobId("j-1")]
        assert "requested: 3," in found.impossible[JobId("j-2")]

    def test_who_was_refused_does_not_keep_back_who_was_not(self) -> None:
        found = plan([wanted("j-1", refused_by=["n-1"]), wanted("j-2")], [candidate()], limit=NO_LIMIT)
        assert list(found.impossible) == ["j-1"]
        assert [each.job_id for each in found.placements] == ["j-2"]

    def test_a_job_is_possible_while_a_suitable_node_may_come_back(self) -> None:
        candidates = [candidate("n-1", engines=()), candidate("n-2", expected=True)]
        found = plan([wanted()], candidates, limit=NO_LIMIT)
        assert (found.impossible, list(found.waiting)) == ({}, ["j-1"])


class TestReach:
    @pytest.mark.parametrize(
        ("url", "local"),
        [
            ("http://127.0.0.1:9000", True),
            ("http://127.8.9.10", True),
            ("http://[::1]:9000", True),
            ("https://LOCALHOST:1", True),
            ("http://s3.localhost", True),
            ("http://10.0.0.1:9000", False),
            ("https://localhost.example.com", False),
            ("https://s3.example.com", False),
            ("", False),
        ],
    )
    def test_a_loopback_endpoint_is_known(self, url: str, *, local: bool) -> None:
        assert is_loopback(url) is local

    @staticmethod
    def bucket(endpoint: str, public_endpoint: str = "") -> Bucket:
        return Bucket(
            Location(
                bucket="results",
                region="us-east-1",
                endpoint=endpoint,
                public_endpoint=public_endpoint,
            )
        )

    def test_nodes_on_other_machines_cannot_reach_an_endpoint_on_loopback(self) -> None:
        nodes = {
            NodeId("near"): NodeRecord(info=node("near", loopback_id=loopback_id())),
            NodeId("far"): NodeRecord(info=node("far", loopback_id="another boot")),
        }
        found = unreachable_publishers(nodes, self.bucket("http://127.0.0.1:9000"))
        assert list(found) == ["far"]
        assert "PublicEndpoint" in found[NodeId("far")]["s3managed"]
        assert unreachable_publishers(nodes, self.bucket("http://127.0.0.1:9000", "https://s3.example.com")) == {}
        assert unreachable_publishers(nodes, self.bucket("")) == {}
        assert unreachable_publishers(nodes, None) == {}


class TestCapacity:
    def test_what_fits_lacks_nothing(self) -> None:
        small, large = Capacity(cpu=1.0, memory=2, disk=3, gpu=4), Capacity(cpu=1.0, memory=2, disk=3, gpu=5)
        assert small.fits_in(large)
        assert small.lacks(large) == ()
        assert large.lacks(small) == ("GPU",)

    def test_what_is_left_is_never_below_zero(self) -> None:
        assert Capacity(cpu=1.0, memory=1).minus(Capacity(cpu=2.0, memory=2, disk=2, gpu=2)) == Capacity()

    def test_plus_and_minus_undo_each_other(self) -> None:
        one, other = Capacity(cpu=0.5, memory=2, disk=3, gpu=4), Capacity(cpu=1.0, memory=5, disk=6, gpu=7)
        assert one.plus(other).minus(other) == one


zones = st.sampled_from(["a", "b"])
amounts = st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0])


@st.composite
def nodes(draw: st.DrawFn) -> list[Candidate]:
    return [
        candidate(
            f"n-{number}",
            cpu=(cpu := draw(amounts)),
            free=draw(st.sampled_from([0.0, cpu / 2, cpu])),
            queue=draw(st.integers(0, 2)),
            expected=draw(st.booleans()),
            labels={"zone": draw(zones)},
            engines=draw(st.sampled_from([("noop",), ("noop", "process")])),
        )
        for number in range(draw(st.integers(0, 3)))
    ]


@st.composite
def jobs(draw: st.DrawFn) -> list[Wanted]:
    return [
        wanted(
            f"j-{number}",
            count=draw(st.integers(1, 4)),
            cpu=draw(amounts),
            constraints=draw(st.sampled_from([(), (needs("zone", "=", "a"),), (needs("favour_zone", "=", "b"),)])),
            engine=draw(st.sampled_from(["noop", "process"])),
            refused_by=draw(st.sampled_from([(), ("n-0",)])),
            failed_on=draw(st.sampled_from([(), ("n-1",)])),
        )
        for number in range(draw(st.integers(0, 4)))
    ]


def copied(candidates: list[Candidate]) -> list[Candidate]:
    return [replace(each) for each in candidates]


@settings(max_examples=60, deadline=None)
@given(wants=jobs(), before=nodes(), limit=st.integers(0, 8))
def test_a_plan_never_promises_what_is_not_there(wants: list[Wanted], before: list[Candidate], limit: int) -> None:
    after = copied(before)
    found = plan(wants, after, limit=limit)
    assert found == plan(wants, copied(before), limit=limit), "the same facts give the same plan"
    assert len(found.placements) <= limit
    by_job = {each.job_id: each for each in wants}
    decided = [(each.job_id, each.partition, each.attempt) for each in found.placements]
    assert len(set(decided)) == len(decided)
    for old, new in zip(before, after, strict=True):
        mine = [each for each in found.placements if each.node_id == old.info.node_id]
        assert not (mine and old.expected)
        assert not any(unsuitable(by_job[each.job_id], old) for each in mine)
        assert 0 <= new.queue_left <= old.queue_left
        queued = old.queue_left - new.queue_left
        running = mine[: len(mine) - queued]
        assert sum(each.resources.cpu for each in running) <= old.free.cpu
    for job in found.impossible:
        assert all(unsuitable(by_job[job], each) for each in before)
    for job in found.waiting:
        assert any(not unsuitable(by_job[job], each) for each in before)
        assert len([each for each in found.placements if each.job_id == job]) < len(by_job[job].missing)


class TestPatience:
    def test_what_fits_overtakes_what_does_not_at_first(self) -> None:
        big, small = wanted("big", cpu=4.0), wanted("small", cpu=1.0)
        assert [each.job_id for each in plan([big, small], [candidate(free=3.0)], limit=NO_LIMIT).placements] == [
            "small"
        ]

    def test_a_job_that_has_waited_long_has_a_node_kept_free(self) -> None:
        big = replace(wanted("big", cpu=4.0), waiting_seconds=PATIENCE_SECONDS + 1)
        small = wanted("small", count=9, cpu=1.0)
        near, far = candidate("near", free=3.0), candidate("far", free=2.0)
        found = plan([big, small], [near, far], limit=NO_LIMIT)
        assert [each.node_id for each in found.placements] == ["far", "far"]
        assert set(found.waiting) == {"big", "small"}

    def test_only_a_node_that_can_ever_run_it_is_kept(self) -> None:
        big = replace(wanted("big", cpu=4.0, refused_by=("a",)), waiting_seconds=PATIENCE_SECONDS + 1)
        candidates = [candidate("a", free=3.0), candidate("b", expected=True), candidate("c", free=0.0)]
        found = plan([big, wanted("small")], candidates, limit=NO_LIMIT)
        assert [each.node_id for each in found.placements] == ["a"]

    def test_jobs_of_one_kind_keep_one_node_together(self) -> None:
        bigs = [replace(wanted(f"b-{number}", cpu=4.0), waiting_seconds=1000.0) for number in range(5)]
        candidates = [candidate(f"n-{number}", free=2.0) for number in range(3)]
        found = plan([*bigs, wanted("small", count=9)], candidates, limit=NO_LIMIT)
        assert len(found.placements) == 4

    def test_the_more_urgent_still_come_first(self) -> None:
        big = replace(wanted("big", cpu=4.0), waiting_seconds=1000.0)
        found = plan([wanted("urgent"), big], [candidate(free=1.0)], limit=NO_LIMIT)
        assert [each.job_id for each in found.placements] == ["urgent"]


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0]), min_size=1, max_size=4), seed=st.integers(0, 2**32))
def test_small_jobs_without_end_never_keep_a_large_one_waiting_for_ever(sizes: list[float], seed: int) -> None:
    """Each round is ten seconds; small tasks take at most five rounds, and there are always more of them."""
    chance, longest = random.Random(seed), 5
    running: list[tuple[int, str, Capacity]] = []  # until which round, on which node
    bigs = {f"big-{number}": size for number, size in enumerate(sizes)}
    patience = int(PATIENCE_SECONDS / 10) + 1
    for now in range(patience + (longest + 1) * len(bigs) + 1):
        running = [each for each in running if each[0] > now]
        candidates = [candidate(f"n-{number}") for number in range(2)]
        for _, node_id, resources in running:
            (on,) = (each for each in candidates if each.info.node_id == node_id)
            on.free = on.free.minus(resources)
        large = [replace(wanted(name, cpu=size), waiting_seconds=now * 10.0) for name, size in bigs.items()]
        small = [wanted(f"small-{now}-{number}", cpu=chance.choice((0.5, 1.0))) for number in range(20)]
        for each in plan([*large, *small], candidates, limit=NO_LIMIT).placements:
            bigs.pop(str(each.job_id), None)
            running.append((now + chance.randint(1, longest), each.node_id, each.resources))
    assert not bigs


def of(namespace: str, name: str = "j-1") -> Wanted:
    job = wanted(name)
    return replace(job, job=replace(job.job, namespace=namespace))


class TestNamespaces:
    def test_a_node_gets_jobs_of_its_namespaces_alone(self) -> None:
        candidates = [
            replace(candidate("of-a", cpu=9), namespaces=("a",)),
            replace(candidate("of-b"), namespaces=("b",)),
        ]
        found = plan([of("b", "j-1"), of("a", "j-2"), of("b", "j-3")], candidates, limit=NO_LIMIT)
        assert where(found) == ["of-b", "of-a", "of-b"]

    def test_no_job_hears_of_a_node_that_does_not_serve_its_namespace(self) -> None:
        others = [replace(candidate(f"of-{name}"), namespaces=(name,)) for name in "bcd"]
        full = replace(candidate("full", free=0), namespaces=("a",))
        assert plan([of("a")], [*others, full], limit=NO_LIMIT).waiting[JobId("j-1")].endswith("on 1 suitable node(s).")
        impossible = plan([of("a")], others, limit=NO_LIMIT).impossible[JobId("j-1")]
        assert "available: 0, suitable: 0. No node may serve namespace a" in impossible
        assert "of-" not in impossible

    def test_what_is_found_for_one_namespace_is_not_told_to_another(self) -> None:
        fleet = Fleet([replace(candidate("of-a", free=0), namespaces=("a",))])
        found = placement.plan([of("a", "j-1"), of("b", "j-2")], fleet, limit=NO_LIMIT)
        fleet.put(replace(candidate("of-a"), namespaces=("a",)))
        found = placement.plan([of("a", "j-1"), of("b", "j-2")], fleet, limit=NO_LIMIT)
        assert where(found) == ["of-a"]
        assert "No node may serve namespace b" in found.impossible[JobId("j-2")]

    def test_a_node_that_serves_other_namespaces_from_now_on_leaves_the_lane(self) -> None:
        fleet = Fleet([candidate()])
        placement.plan([of("a")], fleet, limit=NO_LIMIT)
        fleet.put(replace(candidate(), namespaces=("b",)))
        assert "No node may serve" in placement.plan([of("a")], fleet, limit=NO_LIMIT).impossible[JobId("j-1")]

    def test_a_node_that_is_not_approved_is_told_as_such(self) -> None:
        fleet = Fleet([replace(candidate(), unapproved=True)])
        told = placement.plan([of("a")], fleet, limit=NO_LIMIT).impossible[JobId("j-1")]
        assert "Node n-1: has not been approved by an operator: `tarpon node approve n-1`" in told
        fleet.put(candidate())
        assert where(placement.plan([of("a")], fleet, limit=NO_LIMIT)) == ["n-1"]


def placed_with(fleet: Fleet, at_hand: Iterable[str], each: Wanted) -> list[str]:
    planned = placement.plan([each], fleet, limit=NO_LIMIT, at_hand=lambda _, __: [NodeId(name) for name in at_hand])
    return [placed.node_id for placed in planned.placements]


def test_a_node_that_has_the_inputs_is_preferred_though_it_is_less_empty() -> None:
    fleet = Fleet([candidate("n-1"), candidate("n-2", free=2.0), candidate("n-3", free=1.0)])
    assert placed_with(fleet, ["unknown", "n-2", "n-3"], wanted()) == ["n-2"]


@pytest.mark.parametrize(
    "has_inputs",
    [
        candidate("n-2", free=0.5),
        candidate("n-2", free=0.0, queue=9),
        candidate("n-2", expected=True),
        candidate("n-2", engines=("docker",)),
    ],
)
def test_inputs_are_not_waited_for(has_inputs: Candidate) -> None:
    assert placed_with(Fleet([candidate("n-1", free=1.0), has_inputs]), ["n-2"], wanted()) == ["n-1"]


def test_inputs_lead_to_no_node_where_the_job_has_failed_or_was_refused() -> None:
    for job in (wanted(failed_on=["n-2"]), wanted(refused_by=["n-2"])):
        assert placed_with(Fleet([candidate("n-1", free=1.0), candidate("n-2")]), ["n-2"], job) == ["n-1"]


def test_a_job_s_own_preferences_and_the_spread_of_its_parts_come_before_its_inputs() -> None:
    fleet = Fleet([candidate("n-1", labels={"zone": "a"}), candidate("n-2")])
    prefers = needs(f"{PREFERENCE_PREFIX}zone", "=", "a")
    assert placed_with(fleet, ["n-2"], wanted(constraints=(prefers,))) == ["n-1"]
    both = placed_with(Fleet([candidate("n-1"), candidate("n-2")]), ["n-2"], wanted(count=4))
    assert both == ["n-2", "n-1", "n-2", "n-1"]


class TestReplicas:
    """Each of a part runs at another owner."""

    @staticmethod
    def of(replicas: int = 3, *, count: int = 1, **more: object) -> Wanted:
        plain = wanted(count=count)
        job = replace(plain.job, verification=Verification(replicas=replicas, quorum=replicas, of="result"))
        missing = tuple((part, attempt) for part in range(count) for attempt in range(replicas))
        return replace(plain, job=job, missing=missing, replicas=replicas, **more)

    @staticmethod
    def at(name: str, owner: str, **more: Any) -> Candidate:
        return replace(candidate(name, abilities=(SENDS_MANIFESTS,), **more), owner=owner)

    def test_no_owner_gets_two_of_a_part_however_many_nodes_it_has(self) -> None:
        nodes = [self.at(f"n-{each}", "a") for each in range(5)] + [self.at("n-b", "b"), self.at("n-c", "c")]
        found = plan([self.of(count=2)], nodes, limit=NO_LIMIT)
        for part in range(2):
            assert sorted(each.owner for each in found.placements if each.partition == part) == ["a", "b", "c"]

    def test_an_owner_that_has_one_gets_no_other(self) -> None:
        nodes = [self.at("n-a", "a"), self.at("n-b", "b"), self.at("n-c", "c")]
        one = replace(self.of(), missing=((0, 3),), owners={0: frozenset({"a", "c"})})
        assert where(plan([one], nodes, limit=NO_LIMIT)) == ["n-b"]
        none = replace(one, owners={0: frozenset({"a", "b", "c"})})
        assert "another owner than the 3" in plan([none], nodes, limit=NO_LIMIT).waiting[none.job_id]

    def test_nothing_is_begun_while_there_are_too_few_owners(self) -> None:
        nodes = [self.at("n-a", "a"), self.at("n-b", "b"), self.at("n-c", "b")]
        found = plan([self.of()], nodes, limit=NO_LIMIT)
        assert not found.placements
        assert "nodes of 3 owners" in found.waiting[self.of().job_id]
        assert "belong to 2 owners" in found.waiting[self.of().job_id]

    def test_a_job_waits_for_owners_also_where_no_node_has_one(self) -> None:
        job = self.of()
        found = plan([job], [self.at("n-1", ""), self.at("n-2", "")], limit=NO_LIMIT)
        assert "belong to 0 owners" in found.waiting[job.job_id]
        assert not found.impossible
        found = plan([job], [candidate("n-1"), candidate("n-2")], limit=NO_LIMIT)
        assert "cannot send manifests" in found.impossible[job.job_id]

    def test_one_that_waits_for_its_owner_holds_up_no_other_job(self) -> None:
        nodes = [self.at("n-a", "a"), self.at("n-b", "b"), self.at("n-c", "c", free=0.0)]
        other = replace(self.of(2), job_id=JobId("j-2"))
        found = plan([self.of(), other], nodes, limit=NO_LIMIT)
        assert sorted((each.job_id, each.owner) for each in found.placements) == [
            ("j-1", "a"),
            ("j-1", "b"),
            ("j-2", "a"),
            ("j-2", "b"),
        ]
        assert "other owners" in found.waiting[JobId("j-1")]

    def test_a_node_of_nobody_or_of_an_earlier_version_gets_none(self) -> None:
        assert "has no owner" in unsuitable(self.of(), self.at("n-1", ""))
        assert "cannot send manifests" in unsuitable(self.of(), replace(candidate(), owner="a"))
        assert unsuitable(wanted(), candidate()) == ""
