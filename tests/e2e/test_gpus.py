"""GPUs of a node, from how they are found to who sees which.

No GPU is here. Stand-ins are the tool that tells of two, and the hook by which Docker gives a container its own: Docker
calls it as it calls NVIDIA's, and it writes down in the container what it was told to show.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ended
from tests.e2e.stack import Stack, process_job, wait_until
from tests.engine import IMAGE, REQUIRED, CannotStart, TestEngine, is_required, start_engine
from tests.servers import S3Server

NODE = "node-a"
TOOL = """#!/bin/sh
echo '0, Tesla T4, 15360, 00000000:3B:00.0'
echo '1, Tesla T4, 15360, 00000000:AF:00.0'
"""
HOOK = """#!/usr/bin/env python3
import json, pathlib, sys
assert sys.argv[1:] == ["prestart"], sys.argv
bundle = pathlib.Path(json.load(sys.stdin)["bundle"])
config = json.loads((bundle / "config.json").read_text())
shown = dict(each.split("=", 1) for each in config["process"]["env"])["NVIDIA_VISIBLE_DEVICES"]
(bundle / config["root"]["path"] / "shown").write_text(shown + "\\n")
"""


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture(scope="module")
def engine_with_hook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestEngine]:
    """Docker looks for the hook when it starts."""
    folder = tmp_path_factory.mktemp("hook")
    _write_program(folder / "nvidia-container-runtime-hook", HOOK)
    try:
        engine = start_engine({"PATH": f"{folder}:{os.environ['PATH']}"})
    except CannotStart as error:
        if is_required():
            pytest.fail(f"{REQUIRED} is set, but there is no container engine: {error}")
        pytest.skip(f"no container engine: {error}")
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def stack(
    s3_server: S3Server, engine_with_hook: TestEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    made, tools = Stack(tmp_path_factory.mktemp("gpus"), s3_server), tmp_path_factory.mktemp("tools")
    _write_program(tools / "nvidia-smi", TOOL)
    made.start_orchestrator()
    made.start_compute(
        NODE,
        variables={"PATH": f"{tools}:{os.environ['PATH']}"},
        Engines_Types_Docker_Socket=engine_with_hook.url,
        Compute_AllocatedCapacity_CPU="8",
    )
    yield made
    ended(made)


def container_job(script: str) -> dict[str, Any]:
    params = {"Image": IMAGE, "Entrypoint": ["/bin/sh", "-c", script]}
    return {"Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "docker", "Params": params}}]}


def with_gpu(job: dict[str, Any]) -> dict[str, Any]:
    job["Tasks"][0]["Resources"] = {"GPU": "1", "CPU": "0.1", "Memory": "64Mb"}
    return job


def test_gpus_that_are_found_are_told_with_their_names(stack: Stack) -> None:
    told = stack.cli("node", "describe", NODE).stdout
    assert "0: Tesla T4 (15,360 MiB), 1: Tesla T4 (15,360 MiB)" in told
    assert "2 of 2" in told
    (node,) = stack.nodes()
    assert node["Info"]["Labels"]["GPU-1"] == "Tesla-T4"
    found = node["Info"]["ComputeNodeInfo"]
    assert (found["MaxCapacity"]["GPU"], [each["Index"] for each in found["GPUs"]]) == (2, [0, 1])


@pytest.mark.parametrize(
    ("shows", "make"),
    [("cat /shown", container_job), ("echo $CUDA_VISIBLE_DEVICES", process_job)],
    ids=["docker", "process"],
)
def test_two_jobs_see_different_gpus_and_a_third_waits(stack: Stack, shows: str, make: Any) -> None:
    script = f"{shows}; while true; do sleep 0.1; done"
    first, second = (stack.submit(with_gpu(make(script))) for _ in range(2))

    def seen() -> list[str]:
        return sorted(stack.cli("job", "logs", job, check=False).stdout.strip() for job in (first, second))

    wait_until(lambda: seen() == ["0", "1"], within=40, what="each has a GPU of its own")
    (of_first,) = stack.describe(first)["Executions"]["Items"]
    assert of_first["GPUs"] == [stack.cli("job", "logs", first).stdout.strip()]
    third = stack.submit(with_gpu(make(shows)))
    assert not any(each["ComputeState"] == 6 for each in stack.describe(third)["Executions"]["Items"])
    for job in (first, second):
        stack.cli("job", "stop", job)
    (execution,) = stack.wait_ended(third)["Executions"]["Items"]
    assert execution["RunOutput"]["Stdout"].strip() in {"0", "1"}
