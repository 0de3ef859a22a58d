"""Jobs wait in the order of their priority and arrival, each once, whatever their shapes."""

from collections.abc import Container, Iterator
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.state.waiting_jobs import WaitingJobs
from shared.ids import JobId


def walk(pending: WaitingJobs, blocked: Container[str] = ()) -> Iterator[JobId]:
    return chain.from_iterable(pending.lines(blocked).values())


JOBS = [JobId(f"j-{number}") for number in range(6)]
steps = st.lists(
    st.tuples(st.sampled_from(JOBS), st.one_of(st.none(), st.tuples(st.integers(-1, 1), st.sampled_from("abc")))),
    max_size=30,
)


@given(steps, st.sets(st.sampled_from("abc")))
def test_the_order_is_that_of_priority_and_arrival(
    taken: list[tuple[JobId, tuple[int, str] | None]], blocked: set[str]
) -> None:
    pending, shape_of = WaitingJobs(), dict[JobId, str]()
    expected: dict[JobId, tuple[int, int]] = {}
    for number, (job, place) in enumerate(taken):
        if place is None:
            pending.drop(job)
            expected.pop(job, None)
        elif job not in expected or (expected[job][0] == -place[0] and shape_of[job] == place[1]):
            pending.put(job, priority=place[0], shape=place[1])
            expected.setdefault(job, (-place[0], number))
            shape_of[job] = place[1]
        elif expected[job][0] != -place[0]:
            pending.put(job, priority=place[0], shape=place[1])
            expected[job], shape_of[job] = (-place[0], number), place[1]
    ordered = sorted(expected, key=lambda job: expected[job])
    assert list(walk(pending)) == ordered
    assert list(walk(pending, blocked)) == [job for job in ordered if shape_of[job] not in blocked]
    assert len(pending) == len(expected)
    assert all((job in pending) == (job in expected) for job in JOBS)


def test_a_shape_that_becomes_blocked_on_the_way_is_left_out_from_then_on() -> None:
    pending, blocked, seen = WaitingJobs(), set[str](), []
    for number, shape in enumerate("abab"):
        pending.put(JOBS[number], priority=0, shape=shape)
    for job in walk(pending, blocked):
        seen.append(job)
        blocked.add("a")
    assert seen == [JOBS[0], JOBS[1], JOBS[3]]


def test_a_job_that_gets_another_shape_does_not_lose_its_turn_to_later_shapes() -> None:
    pending = WaitingJobs()
    for job in JOBS[:2]:
        pending.put(job, priority=0, shape="a")
    pending.put(JOBS[0], priority=0, shape="b")
    assert list(walk(pending)) == JOBS[:2]


def test_each_job_is_explained_once_while_it_waits() -> None:
    pending = WaitingJobs()
    for job in JOBS:
        pending.put(job, priority=0, shape="a")
    pending.drop(JOBS[0])
    assert pending.take_unexplained("a", 3) == JOBS[1:4]
    assert pending.take_unexplained("a", 3) == JOBS[4:]
    assert pending.take_unexplained("a", 3) == []
    pending.drop(JOBS[1])
    pending.put(JOBS[1], priority=0, shape="a")
    assert pending.take_unexplained("a", 3) == [JOBS[1]]


def test_a_job_that_is_submitted_anew_is_explained_again_and_keeps_its_place() -> None:
    pending = WaitingJobs()
    for job in JOBS[:2]:
        pending.put(job, priority=0, shape="a")
    pending.take_unexplained("a", 9)
    pending.renew(JOBS[0])
    pending.renew(JOBS[5])
    pending.put(JOBS[0], priority=0, shape="a")
    assert pending.take_unexplained("a", 9) == [JOBS[0]]
    assert list(walk(pending)) == JOBS[:2]
