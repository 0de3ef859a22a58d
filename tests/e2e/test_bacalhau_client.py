"""The client that Bacalhau generated from its API description works with our API, as it was published."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.bacalhau_environment import bacalhau_python
from tests.e2e.stack import Stack
from tests.servers import HOST

PROGRAM = str(Path(__file__).with_name("bacalhau_calls.py"))
COMPLETED, STOPPED = 9, 2
"""Numbers of an execution's states on the wire."""


def call(stack: Stack, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    """What the client returned for each of these calls."""
    headers = {"Authorization": f"Bearer {stack.key}"} if stack.key else {}
    asked = {"host": f"http://{HOST}:{stack.api_port}", "headers": headers, "calls": calls}
    command = [str(bacalhau_python()), PROGRAM]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def submit(stack: Stack, script: str, name: str) -> str:
    job = {
        "name": name,
        "engine": "process",
        "params": {"Entrypoint": ["/bin/sh", "-c", script]},
        "publisher": "s3managed",
        "labels": {"by": "client"},
    }
    (answer,) = call(stack, ("orchestratorput_job", job))
    assert answer["warnings"] == []
    return str(answer["job_id"])


def test_a_job_is_submitted_listed_and_described(running: Stack) -> None:
    job = submit(running, "echo hello", "generated")
    running.wait_ended(job)
    listed, described, executions, history = call(
        running,
        ("orchestratorlist_jobs", {"limit": 5, "order_by": "created_at", "reverse": False, "namespace": "*"}),
        ("orchestratorget_job", {"id": job, "include": "history,executions", "limit": 10}),
        ("orchestratorjob_executions", {"id": job, "order_by": "create_time", "reverse": True, "limit": 5}),
        ("orchestratorjob_history", {"id": job, "event_type": "execution", "since": "0"}),
    )
    assert job in [each["id"] for each in listed["items"]]
    assert described["job"]["name"] == "generated"
    assert described["job"]["state"]["state_type"] == "Completed"
    assert described["job"]["labels"] == {"by": "client"}
    (execution,) = executions["items"]
    assert execution["compute_state"]["state_type"] == COMPLETED
    assert execution["desired_state"]["state_type"] == STOPPED
    assert execution["run_output"]["stdout"] == "hello\n"
    assert execution["allocated_resources"]["tasks"]["main"]["cpu"] == pytest.approx(0.1)
    assert execution["published_result"]["type"] == "s3managed"
    assert described["executions"]["items"] == executions["items"]
    assert {each["type"] for each in history["items"]} == {"ExecutionLevel"}
    assert len(described["history"]["items"]) > len(history["items"]) > 0


def test_a_result_is_found_with_its_url(running: Stack) -> None:
    job = submit(running, "echo result", "with-a-result")
    running.wait_ended(job)
    (results,) = call(running, ("orchestratorjob_results", {"id": job}))
    (item,) = results["items"]
    assert item["type"] == "s3PreSigned"
    assert item["params"]["PreSignedURL"].startswith("http")


def test_a_job_is_stopped(running: Stack) -> None:
    job = submit(running, "sleep 60", "to-be-stopped")
    running.wait_state(job, "Running")
    stopped, again = call(
        running,
        ("orchestratorstop_job", {"id": job, "reason": "enough"}),
        ("orchestratorstop_job", {"id": job}),
    )
    assert stopped["evaluation_id"]
    assert again["evaluation_id"] == ""
    described = running.wait_ended(job)
    assert described["Job"]["State"] == {"StateType": "Stopped", "Message": "Job stopped: enough", "Details": {}}


def test_the_orchestrator_is_described(running: Stack) -> None:
    alive, version, agent, live = call(
        running,
        ("agentalive", {}),
        ("agentversion", {}),
        ("agentnode", {}),
        ("livez", {}),
    )
    assert "OK" in alive
    assert "OK" in live
    assert version["git_version"].startswith("v")
    assert agent["node_type"] == "Requester"


def test_an_error_is_told_with_its_status_and_body(running: Stack) -> None:
    (missing,) = call(running, ("orchestratorget_job", {"id": "j-none"}))
    assert missing["status"] == 404
    assert missing["body"]["Code"] == "NotFound"


def test_nodes_arrive_and_the_client_looks_for_them_by_another_name(running: Stack) -> None:
    """Its description has `node` and `nodes` where Bacalhau's servers and ours send `Node` and `Nodes`."""
    one, some = call(
        running,
        ("orchestratorget_node", {"id": "node-a"}),
        ("orchestratorlist_nodes", {"filter_status": "connected", "filter_approval": "approved", "limit": 5}),
    )
    assert one == {"node": None}
    assert some == {"next_token": "", "nodes": None}


def test_a_key_is_shown_as_a_header_that_the_client_sends_with_each_call(stack: Stack) -> None:
    stack.start_asking_orchestrator()
    job = submit(stack, "echo hello", "keyed")
    (listed,) = call(stack, ("orchestratorlist_jobs", {}))
    assert [each["id"] for each in listed["items"]] == [job]
    stack.key = ""
    (refused,) = call(stack, ("orchestratorlist_jobs", {}))
    assert (refused["status"], refused["body"]["Code"]) == (401, "Unauthorized")
