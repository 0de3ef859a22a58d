"""A hundred tasks that mean harm, several at once: each ends as it should, and the node is none the worse for them.

Whatever multiplies here stops by itself at some hundreds, lest a bug fill the machine that runs the tests.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import TERMINAL, Stack, process_job, wait_until
from tests.spares import is_empty_spare

TASKS = 50
"""Each kind of them more than once at a time."""
SUBMITTERS = 4
NODE = "node-a"
TIMEOUT = {"Timeouts": {"ExecutionTimeout": 1}}
OUTPUTS = {"ResultPaths": [{"Name": "outputs", "Path": "/outputs"}]}
STAY = "while :; do sleep 0.05; done"
PYTHON = "exec python3 -c"

# What each task does, what the job asks for, and what its end must say; nothing to say for a job that completes.
HOSTILE: list[tuple[str, dict[str, Any], str]] = [
    (
        "bomb() { [ $1 = 0 ] || { bomb $(($1 - 1)) | bomb $(($1 - 1)) & }; sleep 1000; }; bomb 6",
        {},
        "more than 60 processes and threads",
    ),
    ("setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 0.05; done' & exit 0", {}, ""),
    ("(env -i sh -c 'setsid sleep 1000 &' &) ; exit 0", {}, ""),
    ("for i in 1 2 3 4 5; do (setsid sh -c 'sleep 1000 & sleep 1000' &); done; sleep 1000 & exit 0", {}, ""),
    ("trap '' TERM HUP INT; (trap '' TERM; setsid sleep 1000 &); exit 0", {}, ""),
    (f"head -c 30000000 /dev/zero > hoard; {STAY}", {"Resources": {"Disk": "5MB"}}, "limit of 4.8 MiB"),
    ("while :; do head -c 200000 /dev/zero; sleep 0.01; done", {"Resources": {"Disk": "5MB"}}, "limit of 4.8 MiB"),
    (
        f"{PYTHON} 'import time; held = bytearray(120 << 20); time.sleep(1000)'",
        {"Resources": {"Memory": "60MB"}},
        "limit of 60,000,000 bytes",
    ),
    (
        f'{PYTHON} \'\nimport os\nfor i in range(1500):\n    os.mkdir("folder")\n    os.chdir("folder")\n\'',
        {},
        "",
    ),
    (
        f"""{PYTHON} '
import os, socket
os.chdir("outputs")
os.mkfifo("fifo")
socket.socket(socket.AF_UNIX).bind("socket")
os.symlink("/etc", "outside")
os.symlink("nowhere", "dangling")
os.mkdir("closed")
for name in (b"closed/file", b"new\\nline", b"\\xff\\xfe", b"n" * 255):
    open(name, "w").write("content")
os.chmod("closed", 0)
'""",
        OUTPUTS,
        "",
    ),
    (f"trap '' TERM; {STAY}", TIMEOUT, "time limit of 1 s"),
]


@pytest.fixture
def node(stack: Stack) -> Stack:
    stack.start_orchestrator()
    stack.start_compute(
        NODE,
        Engines_Types_Process_PidsLimit="60",
        Compute_AllocatedCapacity_CPU="8",
        JobDefaults_Batch_Task_Resources_CPU="1",
        Engines_Disabled="docker",
    )
    return stack


def _submitted(stack: Stack) -> dict[str, str]:
    """The jobs, and what each must say in the end."""

    def submit(hostile: tuple[str, dict[str, Any], str]) -> tuple[str, str]:
        script, asks, says = hostile
        return stack.submit(process_job(script, **asks)), says

    # The one that ignores SIGTERM takes the whole grace period, so there are few of it.
    quick, slow = HOSTILE[:-1], HOSTILE[-1:]
    tasks = [*slow * 4, *islice(cycle(quick), TASKS - 4)]
    with ThreadPoolExecutor(SUBMITTERS) as pool:
        return dict(pool.map(submit, tasks))


def _states(stack: Stack) -> Counter[str]:
    return Counter(item["State"]["StateType"] for item in stack.api("/orchestrator/jobs?limit=1000")["Items"])


def _processes_of(executions: set[str]) -> dict[int, str]:
    """Those that name one of the executions in their environment, wherever they are."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:
            continue
        for each in variables:
            name, _, value = each.partition(b"=")
            if name == b"TARPON_EXECUTION_ID" and value.decode(errors="replace") in executions:
                found[int(path.parent.name)] = value.decode()
    return found


def _children_of(pid: int) -> list[str]:
    return [name for task in Path(f"/proc/{pid}/task").iterdir() for name in (task / "children").read_text().split()]


def test_fifty_hostile_tasks_leave_nothing_behind(node: Stack) -> None:
    jobs = _submitted(node)
    assert len(jobs) == TASKS
    wait_until(lambda: sum(_states(node)[state] for state in TERMINAL) == TASKS, within=100, what="all jobs have ended")

    executions = set()
    for job, says in jobs.items():
        described = node.describe(job)
        state = described["Job"]["State"]
        assert state["StateType"] == ("Failed" if says else "Completed"), state
        assert says in state["Message"]
        executions |= {each["ID"] for each in described["Executions"]["Items"]}
    assert len(executions) == TASKS, "what breaks a limit is not tried again"

    assert _processes_of(executions) == {}
    assert _children_of(node.computes[NODE].process.pid) == []
    folder = node.root / NODE / "compute" / "executions"
    wait_until(lambda: all(map(is_empty_spare, folder.iterdir())), within=60, what="all folders of executions are gone")
    assert str(node.root) not in Path("/proc/self/mounts").read_text()

    described = node.wait_ended(node.submit(process_job("echo well")))
    assert described["Job"]["State"]["StateType"] == "Completed"
    assert described["Executions"]["Items"][0]["RunOutput"]["Stdout"] == "well\n"
