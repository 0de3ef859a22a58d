"""Nodes that are drained or stopped under load: every job completes, and none needs a second attempt."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.jobs.states import FailureReason
from tests.e2e.stack import Stack, process_job, wait_until
from tests.servers import HOST

JOBS = 40
SMALL = {"Resources": {"CPU": "0.25", "Memory": "16MB"}}


def small_jobs(stack: Stack, *, seconds: float = 1.0) -> list[str]:
    return [stack.submit(process_job(f"sleep {seconds}; echo {number}", **SMALL)) for number in range(JOBS)]


def node_of(stack: Stack, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stack.cli("node", "describe", name, "--output", "json").stdout)
    return found


def live_on(stack: Stack, name: str) -> int:
    return int(stack.api(f"/orchestrator/nodes/{name}")["Node"]["LiveExecutions"])


def check_all_completed(stack: Stack, jobs: list[str], *, free: set[str]) -> int:
    """Each by one attempt, beside those that cost nothing. How many of these there were."""
    handed_back = 0
    for job in jobs:
        found = stack.wait_ended(job, within=60)
        assert found["Job"]["State"]["StateType"] == "Completed", found["Job"]["State"]
        codes = [each["Event"]["Details"].get("ErrorCode") for each in found["History"]["Items"]]
        failures = [code for code in codes if code]
        assert set(failures) <= free, failures
        assert len(found["Executions"]["Items"]) == 1 + len(failures)
        handed_back += len(failures)
    assert len(stack.objects()) == len(jobs)
    return handed_back


@pytest.fixture
def two_nodes(stack: Stack) -> Stack:
    stack.start_orchestrator()
    for name in ("node-a", "node-b"):
        stack.start_compute(name, Compute_DrainTimeout="20s")
    return stack


def test_a_node_is_drained_under_load_and_stopped_without_loss(two_nodes: Stack) -> None:
    jobs = small_jobs(two_nodes)
    wait_until(lambda: live_on(two_nodes, "node-a"), within=20, what="it has work")
    done = two_nodes.cli("node", "drain", "node-a", "--timeout", "60")
    assert "Node node-a is drained" in done.stdout
    assert "Nothing is left on it." in done.stdout
    assert "executions are left on node node-a" in done.stderr
    assert two_nodes.computes["node-a"].stop() == 0
    check_all_completed(two_nodes, jobs, free={FailureReason.HANDED_BACK})
    assert "(drained)" in two_nodes.cli("node", "list").stdout


def test_a_drain_outlives_orchestrator_and_node_until_it_is_ended(stack: Stack) -> None:
    orchestrator = stack.start_orchestrator()
    node = stack.start_compute("node-a")
    stack.cli("node", "drain", "node-a", "--no-wait")
    orchestrator.kill()
    node.kill()
    orchestrator.start()
    stack.wait_ready()
    node.start()
    stack.wait_connected("node-a")
    assert node_of(stack, "node-a")["Draining"]
    job = stack.submit(process_job("echo hello"))
    stack.wait_state(job, "Queued")
    stack.cli("node", "undrain", "node-a")
    assert stack.wait_ended(job)["Job"]["State"]["StateType"] == "Completed"


def test_a_drain_that_takes_too_long_or_is_not_waited_for_says_what_is_left(two_nodes: Stack, tmp_path: Path) -> None:
    job = two_nodes.submit(process_job("sleep 1000"))
    two_nodes.wait_state(job, "Running")
    name = two_nodes.describe(job)["Executions"]["Items"][0]["NodeID"]
    done = two_nodes.cli("node", "drain", name, "--timeout", "0.5", check=False)
    assert done.returncode == 1
    assert f"1 execution is left on node {name}." in done.stderr
    assert "still has 1 execution after" in done.stderr
    assert "[DrainNotOver]" in done.stderr
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "tarpon", "node", "drain", name],
            env={"TARPON_API_HOST": HOST, "TARPON_API_PORT": str(two_nodes.api_port), "PYTHONUNBUFFERED": "1"},
            stderr=err,
        )
    wait_until(lambda: "is left" in (tmp_path / "err").read_text(), within=20, what="it waits")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert (
        f"it stays drained: nothing new is placed on it.\nTo end that: tarpon node undrain {name}"
        in (tmp_path / "err").read_text()
    )
    two_nodes.cli("job", "stop", job)
    two_nodes.cli("node", "drain", name, "--timeout", "30")


def test_a_node_that_gets_sigterm_under_load_ends_what_runs_and_loses_nothing(two_nodes: Stack) -> None:
    jobs = small_jobs(two_nodes)
    wait_until(lambda: live_on(two_nodes, "node-a"), within=20, what="it has work")
    assert two_nodes.computes["node-a"].stop() == 0
    check_all_completed(two_nodes, jobs, free={FailureReason.HANDED_BACK, "NodeStopping"})


def test_a_task_that_outlasts_the_grace_runs_again_elsewhere(two_nodes: Stack, tmp_path: Any) -> None:
    go = tmp_path / "go"
    two_nodes.computes["node-b"].stop()
    job = two_nodes.submit(process_job(f"test -e {go} || sleep 1000"))
    two_nodes.computes["node-a"].stop()
    two_nodes.start_compute("node-c", Compute_DrainTimeout="0s")
    two_nodes.wait_state(job, "Running")
    go.touch()
    two_nodes.start_compute("node-d")
    two_nodes.computes["node-c"].stop()
    found = two_nodes.wait_ended(job)
    assert found["Job"]["State"]["StateType"] == "Completed"
    codes = [each["Event"]["Details"].get("ErrorCode") for each in found["History"]["Items"]]
    assert FailureReason.NODE_RESTARTED in codes


def test_a_node_that_was_drained_and_stopped_is_deleted_and_joins_anew(two_nodes: Stack) -> None:
    refused = two_nodes.cli("node", "delete", "node-a", check=False)
    assert (refused.returncode, "[NodeConnected]" in refused.stderr) == (1, True)
    two_nodes.cli("node", "drain", "node-a")
    assert two_nodes.computes["node-a"].stop() == 0
    done = two_nodes.cli("node", "delete", "node-a", "-m", "replaced")
    assert done.stdout == "Node node-a is deleted.\n"
    assert "node-a" not in two_nodes.cli("node", "list").stdout
    two_nodes.computes["node-a"].start()
    two_nodes.wait_connected("node-a")
    assert "node-a" in two_nodes.cli("node", "list").stdout
    assert not node_of(two_nodes, "node-a")["Draining"]
    unknown = two_nodes.cli("node", "delete", "node-z", check=False)
    assert (unknown.returncode, "[NodeNotFound]" in unknown.stderr) == (1, True)


def test_a_node_is_rejected_with_its_work_and_its_key_and_comes_back_when_it_is_approved(two_nodes: Stack) -> None:
    rejected = two_nodes.computes["node-a"]
    jobs = small_jobs(two_nodes)
    wait_until(lambda: live_on(two_nodes, "node-a"), within=20, what="it has work")
    assert two_nodes.cli("node", "reject", "node-a", "-m", "it lies").stdout == "Node node-a is rejected.\n"
    ended = [two_nodes.wait_ended(job, within=60)["Job"]["State"]["StateType"] for job in jobs]
    assert set(ended) == {"Completed"}
    assert node_of(two_nodes, "node-a")["Membership"] == "REJECTED"
    assert "REJECTED" in two_nodes.cli("node", "list").stdout
    told = "node node-a was rejected by an operator (it lies). `tarpon node approve node-a` lets it in again."
    wait_until(lambda: told in rejected.text(), within=20, what="the node says why it is out")
    rejected.stop()
    two_nodes.cli("node", "approve", "node-a")
    rejected.start()
    two_nodes.wait_connected("node-a")
