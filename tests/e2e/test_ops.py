"""Ops jobs on real nodes: each that matches runs it once, whichever is drained, dies, comes back or is gone."""

import json
from pathlib import Path
from typing import Any

from shared.jobs.states import FailureReason
from tests.e2e.stack import NO_SANDBOX, Stack, process_job, wait_until

NODES = ("node-a", "node-b", "node-c", "node-d", "node-e")
NAME = "name=$TARPON_NODE_ID"


def ops_job(script: str, *, max_parallel: int = 0, **task: Any) -> dict[str, Any]:
    return process_job(script, **task) | {"Type": "ops", "Count": 0, "MaxParallel": max_parallel}


def held_up(folder: Path) -> str:
    """A task that writes its node's name, and waits until it may end."""
    return f"{NAME}; touch {folder}/begun-$name; while ! [ -e {folder}/go ]; do sleep 0.05; done; echo $name"


def begun(folder: Path) -> set[str]:
    return {each.name.removeprefix("begun-") for each in folder.glob("begun-*")}


def attempts(described: dict[str, Any]) -> dict[str, list[str]]:
    """How the executions ended on each node, the first before the second."""
    found: dict[str, list[str]] = {}
    for each in described["Executions"]["Items"]:
        found.setdefault(each["NodeID"], []).append(each["ComputeState"].get("Message", ""))
    return found


def start(stack: Stack, *nodes: str, is_patient: bool = True) -> None:
    """One that is not patient takes a node that is away for gone very soon."""
    if is_patient:
        stack.start_orchestrator()
    else:
        stack.start_orchestrator(
            Orchestrator_NodeManager_DisconnectTimeout="3s", Orchestrator_NodeManager_ReturnTimeout="4s"
        )
    for name in nodes:
        stack.start_compute(name, connected=False, Engines_Types_Process_Sandbox=NO_SANDBOX)
    for name in nodes:
        stack.wait_connected(name)


def test_a_drained_node_has_no_part_and_one_that_dies_for_good_fails_its_own_alone(
    stack: Stack, tmp_path: Path
) -> None:
    start(stack, *NODES, is_patient=False)
    stack.cli("node", "drain", "node-b")
    job = stack.submit(ops_job(held_up(tmp_path)))
    four = {"node-a", "node-c", "node-d", "node-e"}
    wait_until(lambda: begun(tmp_path) == four, within=30, what="it runs on each but the drained one")
    stack.computes["node-d"].kill()
    (tmp_path / "go").touch()

    described = stack.wait_ended(job, within=60)
    view = described["Job"]
    assert view["Targets"] == sorted(four)
    assert view["State"]["StateType"] == "Failed"
    assert "Failed on 1 of 4 nodes: node-d." in view["State"]["Message"]
    assert set(attempts(described)) == four
    codes = [each["Event"].get("Details", {}).get("ErrorCode") for each in described["History"]["Items"]]
    assert {code for code in codes if code} == {FailureReason.NODE_LOST, FailureReason.NODE_GONE}

    stack.cli("job", "get", job, "--output-dir", str(tmp_path / "got"))
    got = {each.name: (each / "stdout").read_text().strip() for each in (tmp_path / "got").iterdir()}
    assert got == {name: name for name in four - {"node-d"}}, "each by the name of its node"


def test_a_node_that_comes_back_runs_its_part_again_and_the_others_do_not(stack: Stack, tmp_path: Path) -> None:
    start(stack, *NODES[:3])
    job = stack.submit(ops_job(held_up(tmp_path)))
    wait_until(lambda: begun(tmp_path) == set(NODES[:3]), within=30, what="it runs on each")
    stack.computes["node-b"].kill()
    assert stack.orchestrator is not None
    stack.orchestrator.kill()
    (tmp_path / "go").touch()
    stack.orchestrator.start()
    stack.wait_ready()
    stack.computes["node-b"].start()

    described = stack.wait_ended(job, within=60)
    assert described["Job"]["State"]["StateType"] == "Completed", described["Job"]["State"]
    assert {node: len(ends) for node, ends in attempts(described).items()} == dict.fromkeys(NODES[:3], 1) | {
        "node-b": 2
    }


def test_what_failed_on_one_node_is_run_again_there_alone(stack: Stack, tmp_path: Path) -> None:
    start(stack, *NODES[:3])
    script = f"{NAME}; [ $name != node-b ] || [ -e {tmp_path}/mended ]"
    job = stack.submit(ops_job(script, max_parallel=1, FailOnExitCode=True) | {"Name": "patch"})
    described = stack.wait_ended(job)
    assert described["Job"]["State"]["Message"].startswith("Failed on 1 of 3 nodes: node-b.")
    (tmp_path / "mended").touch()
    stack.start_compute("node-x", Engines_Types_Process_Sandbox=NO_SANDBOX)
    stack.cli("job", "rerun", "patch", "--failed")
    view = json.loads(stack.cli("job", "describe", "patch", "--output", "json").stdout)
    assert view["Job"]["State"]["StateType"] == "Completed"
    again = [each["NodeID"] for each in view["Executions"]["Items"] if each["JobVersion"] == 2]
    assert again == ["node-b"]


def test_a_job_that_no_node_matches_fails_at_once_and_says_why(stack: Stack) -> None:
    start(stack, "node-a")
    stack.cli("node", "drain", "node-a")
    job = stack.submit(ops_job("true"))
    view = stack.wait_ended(job)["Job"]
    assert view["State"]["StateType"] == "Failed"
    assert "suitable: 0" in view["State"]["Message"]
    assert "Node node-a: is drained" in view["State"]["Message"]
