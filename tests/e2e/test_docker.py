"""Jobs in containers, from the command line to the result, with nodes and engines that come and go."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import Stack, wait_until
from tests.engine import IMAGE, NewRegistry, TestEngine, publish

# The job of the managed publisher's documentation, word for word.
DOCUMENTED = """\
name: managed-publisher-job
type: batch
count: 1
tasks:
  - name: main
    engine:
      type: docker
      params:
        image: busybox:1.37.0
        entrypoint:
          - /bin/sh
        parameters:
          - -c
          - echo Hello, I was stored by Managed Publisher!
    publisher:
      type: s3managed
"""
NODE = "node-a"


@pytest.fixture
def with_docker(stack: Stack, docker_engine: TestEngine) -> Iterator[Stack]:
    """One node that has the engine; `with_docker.computes[NODE]` is its process."""
    stack.start_orchestrator()
    stack.start_compute(NODE, Engines_Types_Docker_Socket=docker_engine.url)
    yield stack
    docker_engine.remove_containers(f"tarpon.node={NODE}")


def docker_job(script: str, **task: Any) -> dict[str, Any]:
    params = {"Image": IMAGE, "Entrypoint": ["/bin/sh", "-c"], "Parameters": [script]}
    folder = [{"Name": "outputs", "Path": "/outputs"}]
    main = {"Name": "main", "Engine": {"Type": "docker", "Params": params}, "Publisher": {"Type": "s3managed"}}
    return {"Type": "batch", "Tasks": [{**main, "ResultPaths": folder, **task}]}


def engines(stack: Stack) -> list[str]:
    (node,) = stack.nodes()
    found: list[str] = node["Info"]["ComputeNodeInfo"]["ExecutionEngines"]
    return found


def executions(stack: Stack, job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.describe(job)["Executions"]["Items"]
    return found


def container_of(engine: TestEngine, job: str, stack: Stack) -> str:
    """The one container of the job, once its task runs."""
    stack.wait_state(job, "Running")
    (name,) = engine.containers(f"tarpon.execution={executions(stack, job)[0]['ID']}")
    return name


def is_running(engine: TestEngine, container: str) -> bool:
    return bool(engine.inspect(container)["State"]["Running"])


def result_folder(stack: Stack, job: str) -> Path:
    """Where the node keeps what the task writes."""
    (execution,) = executions(stack, job)
    return stack.root / NODE / "compute" / "executions" / str(execution["ID"]) / "workspace" / "outputs"


def test_the_documented_job_is_run_stored_and_fetched(
    with_docker: Stack, docker_engine: TestEngine, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(DOCUMENTED)
    job = with_docker.cli("job", "run", "--id-only", str(file)).stdout.strip()
    assert with_docker.wait_ended(job)["Job"]["State"]["StateType"] == "Completed"
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    with_docker.cli("job", "get", job, "--output-dir", str(fetched))
    assert (fetched / "stdout").read_text() == "Hello, I was stored by Managed Publisher!\n"
    assert (fetched / "stderr").read_text() == ""
    assert (fetched / "exitCode").read_text() == "0"
    wait_until(lambda: not docker_engine.containers("tarpon.node=node-a"), within=10, what="its container is removed")


def test_a_container_goes_on_while_its_node_is_killed_and_completes_once(
    with_docker: Stack, docker_engine: TestEngine, tmp_path: Path
) -> None:
    script = "echo begun; until [ -e /outputs/go ]; do sleep 0.05; done; echo done; echo x > /outputs/file; exit 3"
    job = with_docker.submit(docker_job(script))
    container = container_of(docker_engine, job, with_docker)
    with_docker.computes[NODE].kill()
    (result_folder(with_docker, job) / "go").touch()
    wait_until(lambda: not is_running(docker_engine, container), within=20, what="the task ends without its node")
    with_docker.computes[NODE].start()
    assert with_docker.wait_ended(job)["Job"]["State"]["StateType"] == "Completed"
    (execution,) = executions(with_docker, job)
    assert execution["RunOutput"]["ExitCode"] == 3
    assert len(with_docker.objects()) == 1
    with_docker.cli("job", "get", job, "--output-dir", str(tmp_path))
    assert (tmp_path / "stdout").read_text() == "begun\ndone\n"
    assert (tmp_path / "outputs" / "file").read_text() == "x\n"
    wait_until(lambda: container not in docker_engine.containers(), within=10, what="its container is removed")


def test_a_container_goes_on_while_its_node_is_stopped_and_started_again(
    with_docker: Stack, docker_engine: TestEngine
) -> None:
    job = with_docker.submit(docker_job("until [ -e /outputs/go ]; do sleep 0.05; done"))
    container = container_of(docker_engine, job, with_docker)
    assert with_docker.computes[NODE].stop() == 0
    assert is_running(docker_engine, container)
    with_docker.computes[NODE].start()
    with_docker.wait_connected(NODE)
    (result_folder(with_docker, job) / "go").touch()
    assert with_docker.wait_ended(job)["Job"]["State"]["StateType"] == "Completed"
    assert len(executions(with_docker, job)) == 1
    wait_until(lambda: container not in docker_engine.containers(), within=10, what="its container is removed")


def test_a_container_ends_with_its_node_where_the_operator_wants_that(stack: Stack, docker_engine: TestEngine) -> None:
    stack.start_orchestrator()
    stack.start_compute(NODE, Engines_Types_Docker_Socket=docker_engine.url, Engines_Types_Docker_KeepRunning="false")
    job = stack.submit(docker_job("trap 'exit 0' TERM; while :; do sleep 0.05; done"))
    container = container_of(docker_engine, job, stack)
    stack.computes[NODE].stop()
    assert container not in docker_engine.containers()


def test_a_running_container_is_adopted_and_can_be_stopped(with_docker: Stack, docker_engine: TestEngine) -> None:
    job = with_docker.submit(docker_job("trap 'exit 0' TERM; while :; do sleep 0.05; done"))
    container = container_of(docker_engine, job, with_docker)
    with_docker.computes[NODE].kill()
    with_docker.computes[NODE].start()
    with_docker.wait_connected(NODE)
    assert is_running(docker_engine, container)
    with_docker.cli("job", "stop", job)
    with_docker.wait_state(job, "Stopped")
    wait_until(lambda: container not in docker_engine.containers(), within=20, what="its container is removed")


def test_a_node_offers_what_answers(stack: Stack, docker_engine: TestEngine) -> None:
    stack.start_orchestrator()
    stack.start_compute(NODE, Engines_Types_Docker_Socket=docker_engine.url)
    assert "docker" in engines(stack)
    version = json.loads(docker_engine.request("GET", "/version"))["Version"]
    described = stack.cli("node", "describe", NODE).stdout
    assert f"Docker {version}, images in overlay2, runc, seccomp" in " ".join(described.split())
    stack.computes[NODE].stop()
    stack.start_compute(NODE, Engines_Types_Docker_Socket=f"unix://{stack.root}/none.sock", connected=False)
    wait_until(lambda: "docker" not in engines(stack), within=20, what="the node offers no containers")
    assert "there is no socket" in stack.computes[NODE].text()


def test_a_node_finds_its_engine_where_docker_would_and_refuses_one_of_another_machine(
    stack: Stack, docker_engine: TestEngine
) -> None:
    stack.start_orchestrator()
    stack.start_compute(NODE, variables={"DOCKER_HOST": docker_engine.url})
    assert "docker" in engines(stack)
    stack.computes[NODE].stop()
    stack.start_compute(NODE, variables={"DOCKER_HOST": "tcp://127.0.0.1:2376"}, connected=False)
    wait_until(lambda: "docker" not in engines(stack), within=20, what="the node offers no containers")
    described = " ".join(stack.cli("node", "describe", NODE).stdout.split())
    assert "DOCKER_HOST names one by 'tcp', and a node needs one on its own machine" in described


def test_the_history_tells_how_an_image_came(
    with_docker: Stack, docker_engine: TestEngine, new_registry: NewRegistry
) -> None:
    image, _ = publish(docker_engine, new_registry())
    job = docker_job("true")
    job["Tasks"][0]["Engine"]["Params"]["Image"] = image
    file = with_docker.root / "job.json"
    file.write_text(json.dumps(job))
    done = with_docker.cli("job", "run", str(file))
    (listed,) = with_docker.api("/orchestrator/jobs")["Items"]
    told = with_docker.cli("job", "history", listed["ID"]).stdout
    for shown in (done.stderr, told):
        assert f"Pulling image {image}" in shown
        assert f"Pulled image {image} in" in shown
        assert shown.index(f"Pulled image {image}") < shown.index("Running on node")


def test_what_went_wrong_is_told_to_the_user(with_docker: Stack) -> None:
    job = docker_job("true")
    job["Tasks"][0]["Engine"]["Params"] = {"Image": IMAGE, "Entrypoint": ["no-such-command"]}
    job_id = with_docker.submit(job)
    assert with_docker.wait_ended(job_id)["Job"]["State"]["StateType"] == "Failed"
    described = with_docker.cli("job", "describe", job_id).stdout
    assert "The command 'no-such-command' could not be started" in described
    assert len(executions(with_docker, job_id)) == 1
