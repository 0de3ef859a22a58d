"""Tasks in the sandbox of a whole node, as its operator and the authors of jobs see it."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import Stack, process_job, wait_until
from tests.sandbox import need_sandbox

NODE = "node-a"
DEMANDED = {"Constraints": [{"Key": "isolation_process", "Operator": "=", "Values": ["bubblewrap"]}]}


@pytest.fixture
def sandboxed(stack: Stack) -> Stack:
    need_sandbox()
    stack.start_orchestrator()
    stack.start_compute(NODE, Engines_Types_Process_ReadOnlyPaths="", Engines_Disabled="docker")
    return stack


def _output(described: dict[str, Any]) -> str:
    assert described["Job"]["State"]["StateType"] == "Completed", described["Job"]["State"]
    return str(described["Executions"]["Items"][0]["RunOutput"]["Stdout"])


def _tasks() -> list[int]:
    """Processes of sleeping tasks."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().endswith(b"sleep\x001234.5\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_a_job_gets_the_isolation_that_it_demands(sandboxed: Stack) -> None:
    (node,) = sandboxed.nodes()
    assert node["Info"]["ComputeNodeInfo"]["Isolation"] == {"process": "bubblewrap"}
    assert "process (isolation: bubblewrap)" in sandboxed.cli("node", "describe", NODE).stdout
    key = sandboxed.root / NODE / "compute" / "node.nkey"
    assert key.exists()
    script = f"cat {key} || echo none; ls -A {sandboxed.root / NODE}/compute"
    told = _output(sandboxed.wait_ended(sandboxed.submit(process_job(script) | DEMANDED)))
    assert told.splitlines() == ["none", "executions"]


def test_a_job_that_wants_no_network_has_none(sandboxed: Stack) -> None:
    script = f"(exec 3<> /dev/tcp/127.0.0.1/{sandboxed.api_port}) 2> /dev/null && echo reached || echo alone"
    params = {"Entrypoint": ["/bin/bash", "-c", script]}
    job = process_job("", Engine={"Type": "process", "Params": params}, Network={"Type": "None"})
    assert _output(sandboxed.wait_ended(sandboxed.submit(job))) == "alone\n"


def test_a_node_that_is_killed_ends_its_sandboxes_when_it_is_back(sandboxed: Stack) -> None:
    sandboxed.submit(process_job("sleep 1234.5 & setsid sleep 1234.5 & exec sleep 1234.5"))
    wait_until(lambda: len(_tasks()) == 3, within=30, what="the task runs")
    before = set(_tasks())
    sandboxed.computes[NODE].kill()
    assert set(_tasks()) == before
    sandboxed.computes[NODE].start()
    wait_until(lambda: not before & set(_tasks()), within=30, what="what was left has ended")


def test_a_node_without_bubblewrap_says_so_and_runs_no_task_without(stack: Stack) -> None:
    stack.start_orchestrator()
    node = stack.start_compute(
        NODE,
        Engines_Types_Process_Sandbox="require",
        Engines_Types_Process_ReadOnlyPaths="",
        variables={"PATH": str(stack.root)},
    )
    assert "Tasks cannot be kept in their place on this machine" in node.log.read_text()
    (known,) = stack.nodes()
    info = known["Info"]["ComputeNodeInfo"]
    assert "process" not in info["ExecutionEngines"]
    assert any("no program bwrap" in problem and "Sandbox=off" in problem for problem in info["Problems"])
    refused = stack.wait_ended(stack.submit(process_job("true")))
    assert "does not support process" in refused["Job"]["State"]["Message"]
