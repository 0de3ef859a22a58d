"""Namespaces share one node's slots, whoever came first and however urgent their jobs are said to be."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import Stack, process_job, wait_until

NODE = "node-a"
MANY = 40


@pytest.fixture
def with_two_slots(stack: Stack) -> Stack:
    stack.start_orchestrator()
    stack.start_compute(NODE, Compute_AllocatedCapacity_CPU="2", Compute_QueueCapacity="0")
    return stack


def short_job(namespace: str, count: int, **more: Any) -> dict[str, Any]:
    job = process_job("sleep 0.2", Publisher={"Type": ""}, Resources={"CPU": "1", "Memory": "1Mb"})
    return {**job, "Namespace": namespace, "Count": count, **more}


@pytest.mark.parametrize("priority", [0, 100])
def test_who_comes_later_does_not_wait_for_all_that_another_namespace_wants(
    with_two_slots: Stack, priority: int
) -> None:
    first = with_two_slots.submit(short_job("first", MANY, Priority=priority))
    with_two_slots.wait_state(first, "Running")
    second = with_two_slots.submit(short_job("second", 4))
    assert with_two_slots.wait_ended(second, within=60)["Job"]["State"]["StateType"] == "Completed"
    assert with_two_slots.state(first) == "Running"
    done = with_two_slots.api(f"/orchestrator/jobs/{first}/executions")["Items"]
    assert len(done) < MANY, "each had its turn"


def test_the_weight_of_a_namespace_is_set_and_shown_with_what_it_runs(with_two_slots: Stack) -> None:
    stack = with_two_slots
    stack.submit(process_job("sleep 60", Publisher={"Type": ""}, Resources={"CPU": "2"}) | {"Namespace": "team-a"})
    stack.submit(short_job("team-b", 1))
    told = stack.cli("namespace", "set", "team-c", "--weight", "3").stdout
    assert told == "Namespace team-c has the weight 3.\n"

    def listed() -> dict[str, Any]:
        found = json.loads(stack.cli("namespace", "list", "--output", "json").stdout)
        return {each["Name"]: each for each in found}

    wait_until(lambda: listed()["team-b"]["Waiting"] == 1, within=20, what="one runs and one waits")
    found = listed()
    assert [found[name]["Weight"] for name in ("team-a", "team-b", "team-c")] == [1, 1, 3]
    assert [found[name]["Jobs"] for name in ("team-a", "team-b", "team-c")] == [1, 1, 0]
    assert (found["team-a"]["Running"], found["team-a"]["Held"]["CPU"]) == (1, 2.0)
    assert "team-c  3" in stack.cli("namespace", "list").stdout
    stack.cli("namespace", "set", "team-c", "--weight", "1")
    assert "team-c" not in listed()


def test_results_of_a_namespace_are_in_a_folder_of_its_own_and_are_fetched_like_any(
    running: Stack, tmp_path: Path
) -> None:
    own = running.submit({**process_job("echo of the team"), "Namespace": "team-a"})
    plain = running.submit(process_job("echo of all"))
    for job in (own, plain):
        assert running.wait_ended(job)["Job"]["State"]["StateType"] == "Completed"
    keys = {key.split("/")[-2]: key for key in running.objects()}
    assert keys[own].startswith(f"results/namespaces/team-a/{own}/")
    assert keys[plain].startswith(f"results/{plain}/")
    running.cli("job", "get", own, "--output-dir", str(tmp_path))
    assert (tmp_path / "stdout").read_text() == "of the team\n"


@pytest.mark.parametrize("weight", [0, -1, 1001])
def test_a_weight_that_is_none_is_refused(running: Stack, weight: int) -> None:
    done = running.cli("namespace", "set", "team-a", "--weight", str(weight), check=False)
    assert done.returncode == 2
    assert "weight" in done.stderr
