"""The node that is chosen is the best at that moment, however many changed, came and went since the last choice."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.rules.fleet import SPARE_CHANGES, Candidate, Fleet, Lane, shape_of
from shared.ids import NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.spec import Job, Task
from shared.protocol.messages import NodeInfo

ONE = Capacity(cpu=1.0)
SHAPE = shape_of(Job(tasks=(Task(),)), frozenset())
NAMES = [NodeId(f"n-{number}") for number in range(5)]


def candidate(node: NodeId, cpu: float, queue_left: int, *, zone: str = "", expected: bool = False) -> Candidate:
    info = NodeInfo(node_id=node, version="1", capacity=Capacity(cpu=4.0), labels={"zone": zone})
    return Candidate(info=info, free=Capacity(cpu=cpu), queue_left=queue_left, expected=expected)


def lane_of(fleet: Fleet) -> Lane:
    def make() -> Lane:
        return Lane(fleet, ONE, lambda each: each.info.labels["zone"] and "is elsewhere", lambda _: 0)

    return fleet.lane(SHAPE, make)


def best(fleet: Fleet, failed_on: set[NodeId], taken: Mapping[NodeId, int]) -> tuple[object, ...] | None:
    """What a node is chosen by, of the one that a look at every node finds."""
    usable = [each for each in fleet.nodes.values() if not each.expected and not each.info.labels["zone"]]
    usable = [each for each in usable if ONE.fits_in(each.free)] or [each for each in usable if each.queue_left > 0]
    return min((worth(each, failed_on, taken) for each in usable), default=None)


def worth(each: Candidate, failed_on: set[NodeId], taken: Mapping[NodeId, int]) -> tuple[object, ...]:
    node = each.info.node_id
    waits = not ONE.fits_in(each.free)
    return waits, node in failed_on, taken.get(node, 0), -each.free.cpu, -each.queue_left


changes = st.tuples(
    st.sampled_from(NAMES),
    st.one_of(
        st.none(),
        st.tuples(
            st.sampled_from([0.0, 0.5, 1.0, 3.0]), st.integers(0, 2), st.sampled_from(["", "", "b"]), st.booleans()
        ),
    ),
)


@given(
    st.lists(st.tuples(st.lists(changes, max_size=4), st.booleans()), max_size=12),
    st.sets(st.sampled_from(NAMES), max_size=2),
    st.dictionaries(st.sampled_from(NAMES), st.integers(1, 2), max_size=3),
)
def test_the_choice_is_what_a_look_at_every_node_would_find(
    rounds: list[tuple[list[tuple[NodeId, tuple[float, int, str, bool] | None]], bool]],
    failed_on: set[NodeId],
    taken: dict[NodeId, int],
) -> None:
    fleet = Fleet()
    for changed, places in rounds:
        for node, now in changed:
            if now is None:
                fleet.drop(node)
            else:
                fleet.put(candidate(node, now[0], now[1], zone=now[2], expected=now[3]))
        lane = lane_of(fleet)
        chosen = lane.choose(failed_on, taken)
        expected = best(fleet, failed_on, taken)
        assert (worth(chosen, failed_on, taken) if chosen else None) == expected
        assert set(lane.suitable) | set(lane.reasons) == set(fleet.nodes)
        assert fleet.has_room == any(each.has_room for each in fleet.nodes.values())
        if chosen is not None and places:
            chosen.take(ONE)
            fleet.put(chosen)


def test_a_lane_that_was_not_asked_for_long_knows_everything_again() -> None:
    fleet = Fleet([candidate(NAMES[0], 4.0, 0)])
    assert lane_of(fleet).choose((), {}) is not None
    for _ in range(3 * SPARE_CHANGES):
        fleet.put(candidate(NAMES[1], 4.0, 0))
    fleet.put(candidate(NAMES[0], 0.0, 0))
    chosen = lane_of(fleet).choose((), {})
    assert chosen is not None
    assert chosen.info.node_id == NAMES[1]


def test_nodes_that_are_alike_are_chosen_in_the_order_in_which_they_came() -> None:
    fleet = Fleet([candidate(node, 4.0, 0) for node in NAMES])
    taken: dict[NodeId, int] = {}
    for node in NAMES:
        chosen = lane_of(fleet).choose((), taken)
        assert chosen is not None
        assert chosen.info.node_id == node
        taken[node] = 1
