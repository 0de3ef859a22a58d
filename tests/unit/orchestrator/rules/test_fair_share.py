"""Namespaces share what is free by their weights, and none of them waits for ever."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from orchestrator.rules.fair_share import HALF_LIFE_SECONDS, Held, Lately, Shares, in_turn
from orchestrator.rules.fleet import Candidate, Fleet, Shape
from orchestrator.rules.placement import PATIENCE_SECONDS, Plan, Wanted, plan
from shared.ids import JobId, NodeId
from shared.jobs.capacity import Capacity, sum_of
from shared.jobs.spec import Resources, Task
from shared.protocol.messages import NodeInfo
from tests.builders import new_job, new_task

NONE: Mapping[str, float] = {}
EVEN: Mapping[str, int] = {}


def fleet(*cores: float, memory: int = 1000, gpu: int = 0) -> Fleet:
    nodes = []
    for number, cpu in enumerate(cores):
        capacity = Capacity(cpu=cpu, memory=memory, gpu=gpu)
        info = NodeInfo(node_id=NodeId(f"n-{number}"), version="1", engines=("noop",), capacity=capacity)
        nodes.append(Candidate(info=info, free=capacity))
    return Fleet(nodes)


def job(namespace: str, count: int = 1, *, name: str = "j", waiting: float = 0.0, **amounts: float) -> Wanted:
    asked = Capacity(cpu=amounts.get("cpu", 1.0), memory=int(amounts.get("memory", 0)), gpu=int(amounts.get("gpu", 0)))
    resources = Resources(cpu=str(asked.cpu), memory=str(asked.memory), gpu=str(asked.gpu))
    task: Task = new_task(resources=resources)
    return Wanted(
        job_id=JobId(f"{namespace}-{name}"),
        version=1,
        job=new_job(f"{namespace}-{name}", count=count, tasks=(task,), namespace=namespace),
        resources=asked,
        missing=tuple((partition, 0) for partition in range(count)),
        waiting_seconds=waiting,
    )


def planned(
    nodes: Fleet,
    *jobs: Wanted,
    held: Mapping[str, Held] | None = None,
    weights: Mapping[str, int] = EVEN,
    lately: Mapping[str, float] = NONE,
    limit: int = 1000,
) -> Plan:
    lines: dict[str, list[Wanted]] = {}
    for each in jobs:
        lines.setdefault(each.job.namespace, []).append(each)
    shares, blocked = Shares(held or {}, nodes.total, weights, lately), dict[Shape, str]()
    ordered = in_turn({namespace: iter(each) for namespace, each in lines.items()}, shares)
    return plan(ordered, nodes, limit=limit, blocked=blocked, charge=shares.charge)


def parts(found: Plan) -> dict[str, int]:
    return dict(Counter(each.job_id.partition("-")[0] for each in found.placements))


def test_two_that_come_at_once_get_half_each_however_much_the_first_one_wants() -> None:
    assert parts(planned(fleet(10.0), job("a", 1000), job("b", 1000))) == {"a": 5, "b": 5}


def test_what_one_does_not_want_is_for_the_others() -> None:
    assert parts(planned(fleet(10.0), job("a", 1000), job("b", 2))) == {"a": 8, "b": 2}


def test_shares_are_by_weight() -> None:
    assert parts(planned(fleet(12.0), job("a", 99), job("b", 99), weights={"a": 3})) == {"a": 9, "b": 3}


def test_who_holds_much_already_waits_for_who_holds_little() -> None:
    held = {"a": Held(cpu=6.0, executions=6)}
    assert parts(planned(fleet(16.0), job("a", 99), job("b", 99), held=held, limit=6)) == {"b": 6}
    assert parts(planned(fleet(16.0), job("a", 99), job("b", 99), held=held, limit=10)) == {"a": 2, "b": 8}


def test_the_resource_counts_of_which_somebody_holds_most() -> None:
    """Half of the memory is as much as half of the cores."""
    jobs = job("a", 99, cpu=2.0, memory=10), job("b", 99, cpu=1.0, memory=20)
    found = planned(fleet(8.0, memory=80), *jobs, limit=4)
    assert parts(found) == {"a": 2, "b": 2}


def test_jobs_that_ask_for_nothing_take_turns_too() -> None:
    found = planned(fleet(1.0), job("a", 9, cpu=0.0), job("b", 9, cpu=0.0), limit=6)
    assert parts(found) == {"a": 3, "b": 3}


def test_priority_counts_within_a_namespace_alone() -> None:
    """Lines are given in order of priority; how urgent the jobs of another namespace are does not matter."""
    found = planned(fleet(2.0), job("a", 1, name="urgent"), job("a", 1, name="other"), job("b", 1, name="idle"))
    assert {each.job_id for each in found.placements} == {"a-urgent", "b-idle"}


def test_one_that_has_to_wait_does_not_hold_up_the_rest_of_its_namespace() -> None:
    found = planned(fleet(4.0, 4.0), job("a", 1, name="large", cpu=4.0), job("a", 1, name="wide", cpu=4.0), job("b", 1))
    assert parts(found) == {"a": 1, "b": 1}
    assert set(found.waiting) == {"a-wide"}


def test_one_that_has_waited_for_long_has_a_node_kept_free_whatever_others_ask_for() -> None:
    nodes = fleet(4.0)
    nodes.take(nodes.nodes[NodeId("n-0")], Capacity(cpu=1.0))
    found = planned(nodes, job("a", 1, cpu=4.0, waiting=PATIENCE_SECONDS + 1), job("b", 9), lately={"b": 0.5})
    assert parts(found) == {}


def test_what_is_told_of_a_job_that_no_node_can_run_names_all_its_parts() -> None:
    found = planned(fleet(1.0), job("a", 7, cpu=2.0), job("b", 1))
    assert "requested: 7" in found.impossible[JobId("a-j")]


def test_where_tasks_take_the_one_slot_one_after_another_both_get_their_time() -> None:
    """Nothing is held when the slot is free, so what counts is how it was lately."""
    lately, got, now = Lately(), Counter[str](), 0.0
    for _ in range(600):
        found = planned(fleet(1.0), job("a"), job("b"), weights={"a": 2}, lately=lately.of)
        (won,) = parts(found)
        got[won] += 1
        now += 1.0
        lately.look(now, {won: 1.0})
    assert 1.8 < got["a"] / got["b"] < 2.2


def test_who_holds_a_little_for_ever_does_not_lose_each_time_to_who_holds_nothing_just_then() -> None:
    lately, got, now = Lately(), Counter[str](), 0.0
    held = {"a": Held(cpu=1.0, executions=1)}
    for _ in range(400):
        nodes = fleet(100.0)
        nodes.take(nodes.nodes[NodeId("n-0")], Capacity(cpu=1.0))
        (won,) = parts(planned(nodes, job("a", cpu=99.0), job("b", cpu=99.0), held=held, lately=lately.of))
        got[won] += 1
        now += 1.0
        lately.look(now, {"a": 1.0 if won == "a" else 0.01, "b": 0.99 if won == "b" else 0.0})
    assert 0.8 < got["a"] / got["b"] < 1.25


def test_what_was_held_long_ago_counts_less_and_is_forgotten_in_the_end() -> None:
    lately = Lately()
    lately.look(0.0, {})
    lately.look(HALF_LIFE_SECONDS, {"a": 1.0})
    assert lately.of == {"a": pytest.approx(0.5)}
    lately.look(2 * HALF_LIFE_SECONDS, {})
    assert lately.of == {"a": pytest.approx(0.25)}
    lately.look(50 * HALF_LIFE_SECONDS, {})
    assert lately.of == {}


amounts = st.builds(Capacity, cpu=st.sampled_from([0.0, 0.5, 1.0, 3.0]), memory=st.sampled_from([0, 10, 70]))
wants = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 40), amounts), min_size=1, max_size=12)


def made(wanted: list[tuple[str, int, Capacity]]) -> Iterator[Wanted]:
    for number, (namespace, count, each) in enumerate(wanted):
        yield job(namespace, count, name=str(number), cpu=each.cpu, memory=each.memory)


@given(wants, st.dictionaries(st.sampled_from("abcd"), st.integers(1, 5)), st.lists(st.sampled_from([1.0, 4.0])))
def test_the_same_is_decided_each_time_and_nothing_is_left_that_fits(
    wanted: list[tuple[str, int, Capacity]], weights: dict[str, int], cores: list[float]
) -> None:
    nodes = fleet(*cores, 8.0, memory=200)
    found = planned(nodes, *made(wanted), weights=weights)
    assert found.placements == planned(fleet(*cores, 8.0, memory=200), *made(wanted), weights=weights).placements
    assert len({(each.job_id, each.partition) for each in found.placements}) == len(found.placements)
    done = Counter(each.job_id for each in found.placements)
    for each in made(wanted):
        rest = len(each.missing) - done[each.job_id]
        room = nodes.has_room and any(each.resources.fits_in(node.free) for node in nodes.nodes.values())
        assert not (rest and room), "something waits that has room"


@given(wants, st.dictionaries(st.sampled_from("abcd"), st.integers(1, 5)))
def test_nobody_gets_ahead_of_who_waits_by_more_than_one_part(
    wanted: list[tuple[str, int, Capacity]], weights: dict[str, int]
) -> None:
    """Of those whose parts are all alike: else one may not fit where another does."""
    alike = [(namespace, count, Capacity(cpu=1.0)) for namespace, count, _ in wanted]
    nodes = fleet(7.0, 6.0)
    found = planned(nodes, *made(alike), weights=weights)
    got = {namespace: 0 for namespace, _, _ in alike} | parts(found)
    asked = Counter(dict.fromkeys(got, 0))
    for namespace, count, _ in alike:
        asked[namespace] += count
    for waiting in (namespace for namespace in got if got[namespace] < asked[namespace]):
        for other in got:
            ahead = (got[other] - 1) / weights.get(other, 1)
            assert ahead <= got[waiting] / weights.get(waiting, 1) + 1e-9, (got, waiting, other)


@given(wants)
def test_one_namespace_alone_is_served_as_if_nothing_was_shared(wanted: list[tuple[str, int, Capacity]]) -> None:
    alone = [("a", count, each) for _, count, each in wanted]
    shared = planned(fleet(8.0, memory=200), *made(alone))
    blocked: dict[Shape, str] = {}
    unshared = plan(made(alone), fleet(8.0, memory=200), limit=1000, blocked=blocked)
    assert (shared.placements, shared.waiting) == (unshared.placements, unshared.waiting)


def test_a_turn_ends_where_another_one_is_next_and_has_at_least_one_part() -> None:
    shares = Shares({"a": Held(cpu=2.0, executions=2)}, Capacity(cpu=10.0), {}, {})
    wanted = job("a", 50)
    assert shares.turn(wanted, math.inf) >= 50
    assert shares.turn(wanted, 0.1) == 1
    assert shares.turn(wanted, 0.45) == 3
    shares.charge(wanted, 3)
    assert shares.of("a") == pytest.approx(0.5)
    assert shares.placed("a") == 3


def test_what_is_planned_changes_nothing_of_what_is_held() -> None:
    held = {"a": Held(cpu=2.0, executions=2)}
    planned(fleet(8.0), job("a", 2), job("b", 2), held=held)
    assert held == {"a": Held(cpu=2.0, executions=2)}


def test_the_fleet_knows_what_all_its_nodes_have_as_they_come_change_and_go() -> None:
    nodes = fleet(1.0, 2.5)
    assert nodes.total == sum_of([Capacity(cpu=1.0, memory=1000), Capacity(cpu=2.5, memory=1000)])
    first = nodes.nodes[NodeId("n-0")]
    nodes.take(first, Capacity(cpu=1.0))
    assert nodes.total.cpu == 3.5
    grown = replace(first.info, capacity=Capacity(cpu=4.0))
    nodes.put(Candidate(info=grown, free=grown.capacity))
    assert nodes.total.cpu == 6.5
    nodes.drop(NodeId("n-1"))
    assert nodes.total.cpu == 4.0
