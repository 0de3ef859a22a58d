"""Which jobs are submitted when, and what has to come of each: data that follows from the seed (no tests in here)."""

import hashlib
import random
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

TASK = Path(__file__).with_name("task.py")
MARK = "CHAOS_RUN"
"""The variable by which processes of tasks are found, whoever their parent is."""
RESULT_PATH = "outputs"
FILE = "data"
SHARE_OF_LOST_ANSWERS = 0.08
SHARE_OF_LONG_SLEEPS = 0.2
MEBIBYTE = 1 << 20


class Shape(StrEnum):
    SMALL = "small"
    MANY = "many"
    LARGE = "large"
    PARTS = "parts"
    FAILING = "failing"
    SLEEPING = "sleeping"
    STOPPED = "stopped"
    RETRIED = "retried"
    """By its exit code it has failed, is run again, and fails again."""
    LEAVING = "leaving"
    """A daemon behind, which has to be ended with its task."""
    OPS = "ops"
    """Once on each node that is there just then."""


SHARES = {
    Shape.SMALL: 52,
    Shape.MANY: 10,
    Shape.LARGE: 5,
    Shape.PARTS: 1,
    Shape.FAILING: 9,
    Shape.SLEEPING: 13,
    Shape.STOPPED: 7,
    Shape.RETRIED: 4,
    Shape.LEAVING: 3,
    Shape.OPS: 5,
}
OPS_QUEUE_SECONDS = 600
"""For so long it waits for a node that is there."""
RETRIES = 2


class JobPlan(NamedTuple):
    """`via` is which orchestrator is asked first. `stop_after` counts from when the job was accepted.

    How many `parts` an ops job has, is known once its nodes are chosen.
    """

    seed: int
    number: int
    at: float
    shape: Shape
    via: int
    parts: int = 1
    size_bytes: int = 0
    exit_code: int = 0
    sleep_seconds: float = 0.0
    stop_after: float | None = None
    loses_answer: bool = False

    def key(self, partition: int) -> str:
        """What the contents of this part's result are made of."""
        return f"{self.seed}/{self.number}/{partition}"


def plan_jobs(seed: int, seconds: float, *, per_second: float) -> tuple[JobPlan, ...]:
    dice = random.Random(f"{seed}/jobs")
    every = 1.0 / per_second
    plans: list[JobPlan] = []
    at = 0.0
    while at < seconds:
        plans.append(_plan(seed, len(plans), round(at, 3), dice))
        at += every * dice.uniform(0.2, 1.8)
    return tuple(plans)


def _plan(seed: int, number: int, at: float, dice: random.Random) -> JobPlan:
    shape = dice.choices(list(SHARES), list(SHARES.values()))[0]
    plan = JobPlan(
        seed,
        number,
        at,
        shape,
        dice.randrange(3),
        size_bytes=dice.randrange(0, 20_000),
        loses_answer=dice.random() < SHARE_OF_LOST_ANSWERS,
    )
    match shape:
        case Shape.MANY:
            return plan._replace(parts=dice.randint(2, 4))
        case Shape.LARGE:
            return plan._replace(size_bytes=dice.randint(MEBIBYTE, 4 * MEBIBYTE))
        case Shape.PARTS:
            return plan._replace(size_bytes=dice.randint(9 * MEBIBYTE, 20 * MEBIBYTE))
        case Shape.FAILING | Shape.RETRIED:
            return plan._replace(exit_code=dice.randint(1, 120))
        case Shape.SLEEPING:
            is_long = dice.random() < SHARE_OF_LONG_SLEEPS
            return plan._replace(
                sleep_seconds=round(dice.uniform(10.0, 25.0) if is_long else dice.uniform(1.0, 6.0), 1)
            )
        case Shape.STOPPED:
            return plan._replace(sleep_seconds=60.0, stop_after=round(dice.uniform(0.0, 6.0), 1))
        case Shape.OPS:
            return plan._replace(parts=0, sleep_seconds=round(dice.uniform(0.0, 4.0), 1))
        case Shape.SMALL | Shape.LEAVING:
            return plan


def document(plan: JobPlan, *, run: str, effects: Path) -> dict[str, Any]:
    """The job as it is submitted. `effects` is where its tasks tell that they run."""
    parameters = [str(effects), f"{plan.seed}/{plan.number}", plan.size_bytes, plan.exit_code, plan.sleep_seconds]
    command = [sys.executable, "-IS", str(TASK), *map(str, parameters), str(plan.shape is Shape.LEAVING)]
    task: dict[str, Any] = {
        "Name": "main",
        "Engine": {"Type": "process", "Params": {"Entrypoint": command}},
        "Publisher": {"Type": "s3managed"},
        "ResultPaths": [{"Name": RESULT_PATH, "Path": f"/{RESULT_PATH}"}],
        "Env": {MARK: run},
        "Resources": {"CPU": "0.1", "Memory": "100Mb"},
    }
    if plan.shape is Shape.RETRIED:
        task |= {"FailOnExitCode": True, "Retries": {"Max": RETRIES, "BackOff": "1s"}}
    if plan.shape is Shape.OPS:
        most = plan.number % 3  # none, one or two at once
        return {"Type": "ops", "MaxParallel": most, "Tasks": [task | {"Timeouts": {"QueueTimeout": OPS_QUEUE_SECONDS}}]}
    return {"Type": "batch", "Count": plan.parts, "Tasks": [task]}


def contents(plan: JobPlan, partition: int) -> dict[str, bytes]:
    """Every file of the result of one part."""
    return {
        "exitCode": str(plan.exit_code).encode(),
        "stderr": b"",
        "stdout": f"part {partition} of {plan.parts}\n".encode(),
        f"{RESULT_PATH}/{FILE}": hashlib.shake_256(plan.key(partition).encode()).digest(plan.size_bytes),
    }
