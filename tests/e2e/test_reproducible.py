"""A task that says so comes out the same on nodes that differ, in each engine; without it that is not so."""

import base64
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tarpon import SyncClient
from tests import wasm_modules as wasm
from tests.e2e.stack import Stack
from tests.engine import IMAGE, TestEngine
from tests.podman import PodmanEngine
from tests.sandbox import need_sandbox

PATHS = [{"Name": "outputs", "Path": "/outputs"}]
PUBLISHER = {"Type": "s3managed"}
TELLS = (
    "cd {}outputs; uname -n > host; date -d @0 > begin; umask > umask; echo $LANG $LC_ALL $SOURCE_DATE_EPOCH; mkdir f"
)
MODULE = wasm.opens(3, "made", flags=wasm.CREATE, rights=wasm.WRITE)
ODD = ["unshare", "--uts", "sh", "-c", 'hostname odd; umask 077; exec "$@"', "sh"]
"""A node whose machine has another name, for which root is needed."""


@pytest.fixture
def nodes(stack: Stack, docker_engine: TestEngine, podman_engine: PodmanEngine) -> Iterator[Stack]:
    need_sandbox()
    stack.start_orchestrator()
    for kind, engine in (("docker", docker_engine), ("podman", podman_engine)):
        usual: dict[str, Any] = {
            "Engines_Types_Docker_Socket": engine.url,
            "python": sys.executable,
        }
        stack.start_compute(f"{kind}-usual", connected=False, **usual)
        zone = {"TZ": "Asia/Tokyo", "LANG": "de_DE.UTF-8"}
        stack.start_compute(f"{kind}-odd", connected=False, become=ODD, variables=zone, **usual)
    for name in stack.computes:
        stack.wait_connected(name)
    yield stack
    for name in stack.computes:
        docker_engine.remove_containers(f"tarpon.node={name}")
        podman_engine.remove_containers(f"tarpon.node={name}")


def shell(kind: str) -> dict[str, Any]:
    params = {"Entrypoint": ["/bin/sh", "-c", TELLS.format("/" if kind == "docker" else "")]}
    return {"Engine": {"Type": kind, "Params": params | ({"Image": IMAGE} if kind == "docker" else {})}}


TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "process": ("docker", shell("process")),
    "docker": ("docker", shell("docker")),
    "podman": ("podman", shell("docker")),
    "wasm": (
        "podman",
        {
            "Engine": {"Type": "wasm", "Params": {"EntryModule": "/app/main.wasm"}},
            "InputSources": [
                {
                    "Source": {
                        "Type": "inline",
                        "Params": {"URL": f"data:application/wasm;base64,{base64.b64encode(MODULE).decode()}"},
                    },
                    "Target": "/app/main.wasm",
                }
            ],
        },
    ),
}


def job(task: dict[str, Any], node: str, *, reproducible: bool) -> dict[str, Any]:
    whole = {"Name": "main", "Publisher": PUBLISHER, "ResultPaths": PATHS, "Reproducible": reproducible, **task}
    return {"Constraints": [{"Key": "name", "Operator": "=", "Values": [node]}], "Tasks": [whole]}


def test_a_task_comes_out_the_same_on_nodes_that_differ(nodes: Stack) -> None:
    with SyncClient(nodes.api_url) as client:

        def on_both(name: str, *, reproducible: bool) -> tuple[str, str]:
            kind, task = TASKS[name]
            one, other = (job(task, f"{kind}-{which}", reproducible=reproducible) for which in ("usual", "odd"))
            return client.submit(one).job_id, client.submit(other).job_id

        same = {name: on_both(name, reproducible=True) for name in TASKS}
        usual = {name: on_both(name, reproducible=False) for name in TASKS}
        assert {name: differing(client, *jobs) for name, jobs in same.items()} == {name: set() for name in TASKS}
        assert {name: differing(client, *jobs) for name, jobs in usual.items()} == {
            "process": {*(f"outputs/{each}" for each in ("begin", "f", "host", "umask")), "stdout"},
            "docker": {"outputs/host"},
            "podman": {"outputs/host"},
            "wasm": {"outputs/made"},
        }


def differing(client: SyncClient, first: str, second: str) -> set[str]:
    """The paths that differ in what two jobs have left."""
    for each in (first, second):
        ended = client.wait(each)
        assert ended.status == "Completed", ended.state
    found = client.compare_results(first, second)
    return {each.path for result in found.results for each in result.differences}
