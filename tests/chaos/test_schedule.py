"""What happens in a chaos run follows from its seed, and from nothing else."""

from itertools import pairwise

import pytest

from tests.chaos.jobs import SHARES, Shape, plan_jobs
from tests.chaos.schedule import GAP_SECONDS, NEEDS_CLOCK, NEEDS_DISK, Kind, plan_faults


def test_the_same_seed_gives_the_same_faults_and_jobs() -> None:
    assert plan_faults(7, 600, nodes=3) == plan_faults(7, 600, nodes=3)
    assert plan_faults(7, 600, nodes=3) != plan_faults(8, 600, nodes=3)
    assert plan_jobs(7, 600, per_second=3) == plan_jobs(7, 600, per_second=3)
    assert plan_jobs(7, 600, per_second=3) != plan_jobs(8, 600, per_second=3)


@pytest.mark.parametrize("seed", range(50))
def test_a_short_run_has_every_kind_of_fault(seed: int) -> None:
    assert {fault.kind for fault in plan_faults(seed, 35, nodes=3)} == set(Kind)


def test_an_hour_has_hundreds_of_faults_of_every_kind_and_ten_thousand_jobs() -> None:
    faults = plan_faults(1, 3600, nodes=3)
    assert len(faults) >= 600
    counts = [sum(fault.kind is kind for fault in faults) for kind in Kind]
    assert min(counts) >= 20
    jobs = plan_jobs(1, 3600, per_second=3.2)
    assert len(jobs) >= 10_000
    assert {job.shape for job in jobs} == set(SHARES) == set(Shape)


@pytest.mark.parametrize("seed", range(20))
def test_nobody_suffers_two_faults_at_once_and_all_are_healed_at_the_end(seed: int) -> None:
    faults = plan_faults(seed, 600, nodes=3)
    assert max(fault.until for fault in faults) <= 600
    for target in {fault.target for fault in faults}:
        for one, other in pairwise(each for each in faults if each.target == target):
            assert one.until + GAP_SECONDS <= other.at + 0.01


def test_some_faults_last_longer_than_the_silence_after_which_a_node_is_lost() -> None:
    assert sum(fault.seconds > 15 for fault in plan_faults(1, 3600, nodes=3)) > 50


def test_kinds_that_cannot_be_had_are_left_out() -> None:
    possible = frozenset(Kind) - NEEDS_CLOCK - NEEDS_DISK
    assert {fault.kind for fault in plan_faults(1, 600, nodes=2, kinds=possible)} == possible
    assert plan_faults(1, 600, nodes=2, kinds=()) == ()
