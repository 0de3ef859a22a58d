"""Tasks in containers that try to harm their node, many in a row and several at once: nothing of them is left."""

import contextlib
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.stack import TERMINAL, Stack, wait_until
from tests.engine import IMAGE, NewRegistry, TestEngine
from tests.spares import is_empty_spare

NODE = "node-hostile"
ROUNDS = 2
RUN_SECONDS = 55.0
LEFT_SECONDS = 20.0
DEAF = "trap '' TERM INT HUP; while :; do sleep 0.2; done"


@dataclass(frozen=True)
class Hostile:
    """What a task does, and what its job comes to: one of `ends`, whose message has `words`."""

    name: str
    script: str = ""
    ends: tuple[str, ...] = ("Completed",)
    words: str = ""
    exit_code: int | None = None
    stop: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)


def _tasks(registry: str) -> tuple[Hostile, ...]:
    late = {"Timeouts": {"ExecutionTimeout": 1}}
    too_long = "time limit of 1 s"
    return (
        Hostile("fork bomb", f"b() {{ b | b & }}; b; {DEAF}", ("Completed", "Failed"), task=late),
        Hostile("daemons", f'for i in 1 2 3; do setsid sh -c "{DEAF}" & done; exit 4', exit_code=4),
        Hostile(
            "memory",
            "tail /dev/zero",
            ("Failed",),
            "needed more memory",
            task={"Resources": {"Memory": "20mb", "CPU": "0.25"}},
        ),
        Hostile("deaf", DEAF, ("Failed",), too_long, task=late),
        Hostile("frozen", "kill -STOP $$", ("Failed",), too_long, task=late),
        Hostile("flood", "yes & yes >&2", ("Failed",), too_long, task=late),
        Hostile(
            "odd output",
            "cd /outputs; mkfifo fifo; mknod device c 1 3; ln -s /etc/shadow link; touch \"$(printf 'a\\nb')\"; "
            "touch \"$(printf 'a\\377b')\"; touch $(head -c 255 /dev/zero | tr '\\0' n); mkdir shut; touch shut/in; "
            "chmod 0 shut; cp /bin/busybox setuid; chmod 4755 setuid; ln setuid again; exit 3",
            exit_code=3,
        ),
        Hostile("deep", "cd /outputs; for i in $(seq 150); do mkdir d; cd d; done; echo end > file", exit_code=0),
        Hostile("many files", "cd /outputs; seq 1500 | xargs touch", exit_code=0),
        Hostile(
            "writable layer",
            "head -c 50000000 /dev/zero > /big; echo > /etc/passwd; rm -rf /tmp; mkdir -p /a/b/c; ln -s / /a/b/c/root",
            exit_code=0,
        ),
        Hostile("unknown image", ends=("Failed",), words="does not exist", params={"Image": f"{registry}/no/such:1"}),
        Hostile("no registry", ends=("Failed",), words="could not be pulled", params={"Image": "127.0.0.1:1/x:1"}),
        Hostile("no command", ends=("Failed",), words="could not be started", params={"Entrypoint": ["/no/such"]}),
        Hostile("kills all", "kill -9 -1; kill -9 $$", exit_code=137),
        Hostile("closes all", "chmod 0 /outputs; rm -rf /outputs; exec >&- 2>&-; exit 7", exit_code=7),
        Hostile(
            "mounts",
            "mount -t tmpfs none /tmp; mount --bind / /outputs; umount /outputs; umount /proc; unshare -r true; exit 9",
            exit_code=9,
        ),
        Hostile("stopped", DEAF, ("Stopped",), stop=True),
    )


def _job(hostile: Hostile) -> dict[str, Any]:
    params = {"Image": IMAGE, "Entrypoint": ["/bin/sh", "-c", hostile.script]} | hostile.params
    main: dict[str, Any] = {
        "Name": "main",
        "Engine": {"Type": "docker", "Params": params},
        "Publisher": {"Type": "s3managed"},
        "ResultPaths": [{"Name": "outputs", "Path": "/outputs"}],
        "Resources": {"CPU": "0.25", "Memory": "100mb"},
    }
    return {"Type": "batch", "Tasks": [main | hostile.task]}


@pytest.fixture
def node(stack: Stack, docker_engine: TestEngine) -> Iterator[Stack]:
    """A node that runs sixteen tasks at once. What fails for its registry is soon tried again."""
    stack.start_orchestrator(Orchestrator_Scheduler_Backoff_Ceiling="1s")
    stack.start_compute(
        NODE,
        Engines_Types_Docker_Socket=docker_engine.url,
        Engines_Types_Docker_PidsLimit="40",
        Compute_AllocatedCapacity_CPU="4",
    )
    yield stack
    for name in docker_engine.containers(f"tarpon.node={NODE}"):
        with contextlib.suppress(AssertionError):  # the node may be removing it
            docker_engine.request("DELETE", f"/containers/{name}?force=1")


def _states(stack: Stack) -> dict[str, str]:
    return {each["ID"]: each["State"]["StateType"] for each in stack.api("/orchestrator/jobs?limit=1000")["Items"]}


def test_nothing_is_left_of_thirty_hostile_tasks(
    node: Stack, docker_engine: TestEngine, new_registry: NewRegistry
) -> None:
    mounts = docker_engine.mounts()
    tasks = _tasks(new_registry().host)
    jobs = {node.submit(_job(hostile)): hostile for _ in range(ROUNDS) for hostile in tasks}
    assert len(jobs) > 30
    wait_until(lambda: docker_engine.control_groups() and docker_engine.processes(), within=20, what="some of them run")
    to_stop = {job for job, hostile in jobs.items() if hostile.stop}

    def all_ended() -> bool:
        states = _states(node)
        for job in [each for each in to_stop if states[each] == "Running"]:
            node.api(f"/orchestrator/jobs/{job}", {"Reason": "no longer wanted"}, "DELETE")
            to_stop.discard(job)
        return all(states[job] in TERMINAL for job in jobs)

    wait_until(all_ended, within=RUN_SECONDS, what="all jobs have ended")
    wrong = [problem for job, hostile in jobs.items() if (problem := _problem(node, job, hostile))]
    assert not wrong, "\n".join(wrong)

    executions = node.root / NODE / "compute" / "executions"
    left: dict[str, Callable[[], Sized]] = {
        "containers": lambda: docker_engine.containers(f"tarpon.node={NODE}"),
        "processes": docker_engine.processes,
        "mounts": lambda: docker_engine.mounts() - mounts,
        "control groups": docker_engine.control_groups,
        "files": lambda: [each for each in executions.iterdir() if not is_empty_spare(each)],
        "files of containers": lambda: list((docker_engine.folder / "data" / "containers").iterdir()),
    }
    for what, found in left.items():
        wait_until(_is_empty(found), within=LEFT_SECONDS, what=f"no {what} are left: {found()}")

    honest = node.submit(_job(Hostile("honest", "echo well > /outputs/file")))
    assert node.wait_ended(honest)["Job"]["State"]["StateType"] == "Completed"


def _is_empty(found: Callable[[], Sized]) -> Callable[[], bool]:
    return lambda: not found()


def _problem(stack: Stack, job: str, hostile: Hostile) -> str:
    """What is not as it should be; empty if nothing."""
    described = stack.describe(job)
    state = described["Job"]["State"]
    code = (described["Executions"]["Items"][-1].get("RunOutput") or {}).get("ExitCode")
    as_told = state["StateType"] in hostile.ends and hostile.words in state.get("Message", "")
    if as_told and hostile.exit_code in {None, code}:
        return ""
    return f"{hostile.name}: {state}, exit code {code}"
