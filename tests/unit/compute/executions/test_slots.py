"""Slots are given in order of arrival, as far as the node's capacity reaches."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute.executions.slots import Slot, Slots
from shared.jobs.capacity import Capacity

GIB = 1 << 30


def one_cpu() -> Capacity:
    return Capacity(cpu=1.0, memory=GIB)


def admitted(slots: Slots, wanted: Capacity) -> Slot:
    slot = slots.admit(wanted)
    assert slot is not None
    return slot


@pytest.fixture
def slots() -> Slots:
    return Slots(Capacity(cpu=2.0, memory=8 * GIB), queue_capacity=2)


def test_what_fits_runs_at_once_and_the_rest_waits(slots: Slots) -> None:
    granted = [admitted(slots, one_cpu()).is_granted for _ in range(4)]
    assert granted == [True, True, False, False]
    assert (slots.running, slots.queued) == (2, 2)


def test_the_queue_is_bounded(slots: Slots) -> None:
    for _ in range(4):
        admitted(slots, one_cpu())
    assert slots.admit(one_cpu()) is None


def test_a_node_without_queue_takes_only_what_runs_at_once() -> None:
    slots = Slots(Capacity(cpu=1.0), queue_capacity=0)
    assert admitted(slots, Capacity(cpu=1.0)).is_granted
    assert slots.admit(Capacity(cpu=1.0)) is None


async def test_whoever_waits_runs_when_a_slot_is_given_back(slots: Slots) -> None:
    first, _, third = (admitted(slots, one_cpu()) for _ in range(3))
    first.release()
    async with asyncio.timeout(1):
        await third.granted()


def test_a_small_one_does_not_overtake_a_large_one(slots: Slots) -> None:
    first = admitted(slots, one_cpu())
    large, small = admitted(slots, Capacity(cpu=2.0)), admitted(slots, one_cpu())
    assert not small.is_granted
    first.release()
    assert large.is_granted
    assert not small.is_granted


def test_a_slot_given_back_twice_counts_once(slots: Slots) -> None:
    first, _ = admitted(slots, one_cpu()), admitted(slots, one_cpu())
    first.release()
    first.release()
    assert slots.free.cpu == 1.0


def test_who_stops_waiting_leaves_the_queue_and_lets_the_next_one_through(slots: Slots) -> None:
    admitted(slots, one_cpu())
    large, small = admitted(slots, Capacity(cpu=2.0)), admitted(slots, one_cpu())
    large.release()
    assert small.is_granted


@given(
    st.lists(
        st.tuples(st.sampled_from(["admit", "release"]), st.floats(0.1, 2.0), st.integers(0, 9)),
        min_size=1,
        max_size=60,
    )
)
def test_whatever_happens_no_more_is_given_than_there_is(events: list[tuple[str, float, int]]) -> None:
    slots = Slots(Capacity(cpu=2.0), queue_capacity=3)
    taken: list[Slot] = []
    for what, cpu, index in events:
        if what == "admit":
            slot = slots.admit(Capacity(cpu=cpu))
            taken += [slot] if slot is not None else []
        elif index < len(taken):
            taken.pop(index).release()
        running = [slot.wanted.cpu for slot in taken if slot.is_granted]
        assert sum(running) <= 2.0 + 0.001 * len(running)
        assert len(running) == slots.running
        assert len(taken) - len(running) == slots.queued <= 3
        assert running or not taken, "something waits although nothing runs"
