"""No job fails for good because an engine or a registry is away for a while, or one node of three fails everything."""

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.e2e.stack import TERMINAL, Stack, wait_until
from tests.engine import IMAGE, NewRegistry, TestEngine, publish

JOBS = 20
FLOOR = "200ms"
AWAY_SECONDS = 4.0
"""A fifth of what the defaults are made for, as the floor is a fifth of its default."""
MISMATCH = "driver/library version mismatch"

HOOK = f"""#!/bin/sh
echo 'initialization error: nvml error: {MISMATCH}' >&2
exit 1
"""
RUNTIME = """#!{python}
import json, os, sys
if "--bundle" in sys.argv:
    path = os.path.join(sys.argv[sys.argv.index("--bundle") + 1], "config.json")
    with open(path) as file:
        config = json.load(file)
    config.setdefault("hooks", {{}})["prestart"] = [{{"path": "{hook}"}}]
    with open(path, "w") as file:
        json.dump(config, file)
os.execvp("runc", ["runc", *sys.argv[1:]])
"""


@pytest.fixture
def engine_with_broken_hook() -> Iterator[TestEngine]:
    """As after an update of the GPU's driver: whatever it starts fails in a hook."""
    engine = TestEngine()
    hook, runtime = engine.folder / "hook", engine.folder / "broken-runtime"
    hook.write_text(HOOK)
    runtime.write_text(RUNTIME.format(python=sys.executable, hook=hook))
    for program in (hook, runtime):
        program.chmod(0o755)
    try:
        engine.start(f"--add-runtime=broken={runtime}", "--default-runtime=broken")
        engine.add_image()
        yield engine
    finally:
        engine.stop()


def start_node(stack: Stack, name: str, engine: TestEngine) -> None:
    stack.start_compute(name, Engines_Types_Docker_Socket=engine.url, Compute_AllocatedCapacity_CPU="1")


def start(stack: Stack, nodes: Mapping[str, TestEngine], floor: str) -> None:
    stack.start_orchestrator(publisher={}, Orchestrator_Scheduler_Backoff_Floor=floor)
    for name, engine in nodes.items():
        start_node(stack, name, engine)


def docker_job(image: str, script: str) -> dict[str, Any]:
    params = {"Image": image, "Entrypoint": ["/bin/sh", "-c"], "Parameters": [script]}
    return {"Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "docker", "Params": params}}]}


def attempts_when_all_have_ended(stack: Stack, jobs: list[str], within: float) -> list[int]:
    """How many attempts each job took; every one has to be Completed."""
    wait_until(lambda: all(stack.state(job) in TERMINAL for job in jobs), within=within, what="all jobs have ended")
    described = [stack.describe(job) for job in jobs]
    failed = [each["Job"]["State"] for each in described if each["Job"]["State"]["StateType"] != "Completed"]
    assert not failed, failed
    return [len(each["Executions"]["Items"]) for each in described]


def engine_restarts(stack: Stack, engine: TestEngine, jobs: int, away_seconds: float) -> list[int]:
    """In good order, as its package manager does it, while jobs run; so its containers end."""
    submitted = [stack.submit(docker_job(IMAGE, "sleep 0.2")) for _ in range(jobs)]
    wait_until(lambda: "Running" in map(stack.state, submitted), within=30, what="a job runs")
    engine.terminate()
    time.sleep(away_seconds)
    engine.start()
    return attempts_when_all_have_ended(stack, submitted, within=120)


def registry_is_away(stack: Stack, image: str, registry: Any, jobs: int, away_seconds: float) -> list[int]:
    registry.stop()
    submitted = [stack.submit(docker_job(image, "true")) for _ in range(jobs)]
    time.sleep(away_seconds)
    registry.start()
    return attempts_when_all_have_ended(stack, submitted, within=120)


def one_of_three_fails_everything(stack: Stack, jobs: int) -> list[int]:
    """The others have something to do meanwhile, so that it alone has room."""
    submitted = [stack.submit(docker_job(IMAGE, "sleep 1")) for _ in range(jobs)]
    return attempts_when_all_have_ended(stack, submitted, within=120)


def test_no_job_fails_because_an_engine_is_restarted(stack: Stack, docker_engine: TestEngine) -> None:
    start(stack, {"node-a": docker_engine}, FLOOR)
    assert max(engine_restarts(stack, docker_engine, JOBS, AWAY_SECONDS)) <= 5


def test_no_job_fails_because_a_registry_is_away(
    stack: Stack, docker_engine: TestEngine, new_registry: NewRegistry
) -> None:
    registry = new_registry()
    image, _ = publish(docker_engine, registry)
    start(stack, {"node-a": docker_engine}, FLOOR)
    assert max(registry_is_away(stack, image, registry, JOBS, AWAY_SECONDS)) <= 5


def test_no_job_fails_because_one_node_of_three_has_a_broken_hook(
    stack: Stack, docker_engine: TestEngine, engine_with_broken_hook: TestEngine
) -> None:
    start(stack, {"node-a": docker_engine, "node-b": docker_engine, "hole": engine_with_broken_hook}, FLOOR)
    attempts = one_of_three_fails_everything(stack, JOBS)
    assert 1 < max(attempts) <= 5
