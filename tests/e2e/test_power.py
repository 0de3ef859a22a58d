"""The power of the orchestrator's machine is cut under load: what was told to a user before is so afterwards."""

import logging
import os
import random
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from tests.e2e.power import REQUIRED, CannotCut, Disk, Users, cut_power, read_token, states
from tests.e2e.stack import TERMINAL, Stack, wait_until

_log = logging.getLogger(__name__)

CUTS = int(os.environ.get("TESTS_POWER_CUTS", "2"))
ALL_SECONDS = 60.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk.ext4", tmp_path / "disk")
    try:
        made.make()
    except CannotCut as error:
        (pytest.fail if os.environ.get(REQUIRED) == "1" else pytest.skip)(f"the power cannot be cut here: {error}")
    yield made
    made.unmount()


@pytest.fixture
def powered(disk: Disk, stack: Stack) -> Stack:
    """All that the orchestrator and its NATS server keep is on the disk. The stack ends before the disk does."""
    (stack.root / "orchestrator").symlink_to(disk.place)
    return stack


def test_a_disk_whose_power_is_cut_has_what_was_synced_and_nothing_else(disk: Disk) -> None:
    for name, is_synced in (("synced", True), ("unsynced", False)):
        with (disk.place / name).open("w") as file:
            file.write("content")
            file.flush()
            if is_synced:
                os.fsync(file.fileno())
    disk.cut()
    disk.come_back()
    assert (disk.place / "synced").read_text() == "content"
    assert not (disk.place / "unsynced").exists()


def test_what_was_told_to_a_user_is_so_after_every_power_cut(disk: Disk, powered: Stack) -> None:
    seed = int(os.environ.get("TESTS_SEED", time.time_ns() % 1_000_000))
    _log.warning("The power is cut at moments that follow from TESTS_SEED=%d.", seed)
    chance = random.Random(seed)
    powered.start_orchestrator()
    powered.start_compute("node-a")
    users = Users(powered)
    for number in range(CUTS):
        _work_until_the_cut(users, f"{seed}-{number}", powered, disk, chance)
        _start_again(powered)
        found = states(powered)
        assert set(users.submitted.values()) <= set(found)
        assert {found[job] for job in users.completed} <= {"Completed"}
        users.ask_again()
    wait_until(lambda: set(states(powered).values()) <= TERMINAL, within=ALL_SECONDS, what="all jobs have ended")
    _assert_each_completed_once(powered, users.submitted)


def _work_until_the_cut(users: Users, name: str, stack: Stack, disk: Disk, chance: random.Random) -> None:
    """It comes when users were told so many things, or a little later: at any moment of some jobs' lives."""
    told: Collection[str]
    told, most = chance.choice([(users.submitted, 55), (users.completed, 40)])
    count = len(told) + chance.randint(1, most)
    with users.at_work(name):
        wait_until(lambda: len(told) >= count, within=ALL_SECONDS, what="the moment of the cut")
        time.sleep(chance.uniform(0, 0.1))
        cut_power(stack, disk)
    what = "Told so far: %d jobs submitted, %d completed; %d submits were not answered."
    _log.warning(what, len(users.submitted), len(users.completed), len(users.unanswered))


def _start_again(stack: Stack) -> None:
    assert stack.orchestrator is not None
    stack.orchestrator.start()
    stack.wait_ready()


def _assert_each_completed_once(stack: Stack, submitted: dict[str, str]) -> None:
    assert len(set(submitted.values())) == len(submitted)
    assert states(stack) == dict.fromkeys(submitted.values(), "Completed")
    for token, job in submitted.items():
        executions = stack.describe(job)["Executions"]["Items"]
        assert sum(each["ComputeState"]["StateType"] == 9 for each in executions) == 1
        assert read_token(stack, job) == token


def test_a_server_that_syncs_now_and_then_loses_what_was_told(disk: Disk, powered: Stack) -> None:
    powered.start_orchestrator(Orchestrator_NATS_SyncInterval="2m")
    users = Users(powered)
    with users.at_work("told", jobs_each=5):
        wait_until(lambda: len(users.submitted) >= 10, within=ALL_SECONDS, what="jobs were submitted")
        cut_power(powered, disk)
    _start_again(powered)
    assert set(users.submitted.values()) - set(states(powered))
