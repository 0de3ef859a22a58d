"""The judgement of a chaos run finds what is wrong, and what is right it leaves alone."""

from typing import Any

import pytest
from msgspec.structs import replace

from shared.jobs.states import FailureReason
from tests.chaos.evidence import Effect, Execution, Job
from tests.chaos.invariants import Seen, unreferenced, violations
from tests.chaos.jobs import JobPlan, Shape
from tests.chaos.task_runs import Runs, overlaps

PLAN = JobPlan(1, 0, 0.0, Shape.SMALL, 0)


def execution(name: str, state: str = "Completed", reason: str = "", partition: int = 0) -> Execution:
    return Execution(id=name, partition=partition, state=state, reason=reason, key=f"results/j-1/{name}.tar.gz")


def job(*executions: Execution, state: str = "Completed") -> Job:
    return Job(id="j-1", state=state, executions=executions)


def ran(name: str, begun: int, ended: int, *, to_the_end: bool = True) -> list[Effect]:
    last = "end" if to_the_end else "beat"
    return [Effect("start", name, "1/0/0", 5, begun), Effect(last, name, "1/0/0", 5, ended)]


def seen(of: Job, *, plan: JobPlan = PLAN, effects: list[Effect] | None = None, **more: Any) -> Seen:
    completed = [each.id for each in of.executions if each.state == "Completed"]
    effects = [effect for name in completed for effect in ran(name, 0, 1)] if effects is None else effects
    known = Seen(
        plans={"j-1": plan},
        jobs={"j-1": of},
        stopped=(),
        result_problems={},
        effects=effects,
        known_jobs={"j-1"},
        objects=[each.key for each in of.executions] + ["results/.tarpon-probe"],
    )
    return replace(known, **more)


def counts(of: Seen) -> list[str]:
    return [each.count for each in violations(of)]


LOST = execution("e-0", "Failed", "NodeLost")
AGAIN = execution("e-1")
RIGHT = [
    seen(job(execution("e-1"))),
    seen(job(execution("e-1")), uploads={"u-1": "results/j-1/e-1.tar.gz"}),
    seen(job(LOST, AGAIN), effects=ran("e-0", 0, 5, to_the_end=False) + ran("e-1", 7, 9)),
    seen(job(execution("e-1", "Cancelled"), state="Stopped"), stopped={"j-1"}),
    seen(job(execution("e-1", "Failed", "NodeLost"), execution("e-2", "Failed", "DiskFull"), state="Failed")),
    seen(job(execution("e-1"), execution("e-2", partition=1)), plan=PLAN._replace(parts=2)),
]
RETRIED = PLAN._replace(shape=Shape.RETRIED, exit_code=75)


def exited(times: int) -> list[Execution]:
    return [execution(f"e-{number}", "Failed", "NonZeroExitCode") for number in range(times)]


RIGHT.append(seen(job(*exited(3), state="Failed"), plan=RETRIED))
RIGHT.append(seen(job(*exited(2), execution("e-9", "Failed", "NodeLost"), state="Failed"), plan=RETRIED))
EVENTS = {"j-1": [1, 128, 256, 383]}
RIGHT.append(seen(job(execution("e-1")), told_events=EVENTS, recorded_events=EVENTS))
RIGHT.append(seen(job(execution("e-1")), told_events={"j-1": [1, 128]}, recorded_events=EVENTS))
MET_FULL_DISK = [Effect("start", "e-1", "1/0/0", 5, 0), Effect("full", "e-1", "1/0/0", 5, 1)]
RIGHT.append(seen(job(execution("e-1")), effects=MET_FULL_DISK, result_problems={"e-1": "stdout is wrong"}))
RIGHT.append(seen(job(execution("e-1")), deleted_jobs={"j-2"}))
RIGHT.append(
    seen(job(AGAIN), objects=[f"results/j-1/e-1{ending}" for ending in (".tar.gz", ".index.json.gz", ".result.json")])
)
WRONG: dict[str, tuple[str, Seen]] = {
    "a deleted job is there": (
        "returned",
        seen(job(execution("e-1")), deleted_jobs={"j-2"}, known_jobs={"j-1", "j-2"}),
    ),
    "a deleted node is there": ("returned", seen(job(execution("e-1")), returned=["churn-1"])),
    "a free name is refused": ("returned", seen(job(execution("e-1")), refused=["the name churn-1"])),
    "an accepted job is unknown": ("lost", seen(job(state=""))),
    "a job has not ended": ("stuck", seen(job(execution("e-1", "Running"), state="Running"))),
    "an execution has not ended": ("stuck", seen(job(execution("e-1", "Running"), state="Stopped"), stopped={"j-1"})),
    "a task was run again too often": ("wrong", seen(job(*exited(4), state="Failed"), plan=RETRIED)),
    "a job failed before its retries were used up": ("wrong", seen(job(*exited(2), state="Failed"), plan=RETRIED)),
    "what its job takes for failed has completed": ("wrong", seen(job(execution("e-1")), plan=RETRIED)),
    "an exit code is a failure to nobody": ("wrong", seen(job(*exited(1), state="Failed"))),
    "the result of a failed task is wrong": (
        "wrong",
        seen(job(*exited(3), state="Failed"), plan=RETRIED, result_problems={"e-2": "stdout is wrong"}),
    ),
    "a part is missing": ("wrong", seen(job(execution("e-1")), plan=PLAN._replace(parts=2))),
    "a part is completed twice": (
        "wrong",
        seen(job(execution("e-1"), execution("e-2")), effects=ran("e-1", 0, 1) + ran("e-2", 2, 3)),
    ),
    "a stopped job completed": ("wrong", seen(job(execution("e-1")), stopped={"j-1"})),
    "a job is stopped by nobody": ("wrong", seen(job(execution("e-1", "Cancelled"), state="Stopped"))),
    "a failure is not explained": ("wrong", seen(job(execution("e-1", "Failed", "NodeError"), state="Failed"))),
    "a result is wrong": ("wrong", seen(job(execution("e-1")), result_problems={"e-1": "stdout is wrong"})),
    "a task began twice": ("wrong", seen(job(execution("e-1")), effects=ran("e-1", 0, 1) + ran("e-1", 2, 3))),
    "a completed task did not end": ("wrong", seen(job(execution("e-1")), effects=ran("e-1", 0, 1, to_the_end=False))),
    "two ran at once without need": (
        "wrong",
        seen(job(execution("e-0", "Failed", "DiskFull"), AGAIN), effects=ran("e-0", 0, 5) + ran("e-1", 3, 9)),
    ),
    "a task ran for nobody": ("wrong", seen(job(AGAIN), effects=ran("e-1", 0, 1) + ran("e-x", 0, 1))),
    "a job came from nowhere": ("wrong", seen(job(AGAIN), known_jobs={"j-1", "j-2"})),
    "a process did wrong": ("wrong", seen(job(AGAIN), problems=["o0 did not stop"])),
    "an event was not told": (
        "events",
        seen(job(AGAIN), told_events={"j-1": [1, 256, 383]}, recorded_events=EVENTS),
    ),
    "an event was told twice": (
        "events",
        seen(job(AGAIN), told_events={"j-1": [1, 128, 128, 256, 383]}, recorded_events=EVENTS),
    ),
    "an event has moved": (
        "events",
        seen(job(AGAIN), told_events={"j-1": [1, 129]}, recorded_events={"j-1": [1, 130]}),
    ),
    "an object belongs to nobody": ("orphans", seen(job(AGAIN), objects=["results/j-1/e-x.tar.gz"])),
    "an upload is left": ("orphans", seen(job(AGAIN), uploads={"u-1": AGAIN.key}, known_uploads={"u-1"})),
    "a folder is left": ("orphans", seen(job(AGAIN), left_on_nodes=["node-0/executions/e-1"])),
    "a process is left": ("orphans", seen(job(AGAIN), processes={5: "sleep 600"})),
}


@pytest.mark.parametrize("right", RIGHT)
def test_what_is_right_is_left_alone(right: Seen) -> None:
    assert list(violations(right)) == []


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_found(what: str) -> None:
    count, wrong = WRONG[what]
    assert counts(wrong) == [count]


def test_a_second_run_while_the_first_node_is_silent_is_an_overlap_and_no_violation() -> None:
    known = job(LOST, AGAIN)
    effects = ran("e-0", 0, 5) + ran("e-1", 3, 9)
    assert counts(seen(known, effects=effects)) == []
    assert overlaps(known, Runs(effects)) == [(LOST, AGAIN)]


def test_objects_of_executions_without_result_are_counted_apart() -> None:
    of = seen(job(LOST, AGAIN), effects=ran("e-1", 0, 1))
    assert counts(of) == []
    assert unreferenced(of) == [LOST.key]


@pytest.mark.parametrize("reason", FailureReason)
def test_only_what_faults_do_explains_a_failed_job(reason: FailureReason) -> None:
    explained = {"NodeLost", "NodeRestarted", "NodeGone", "DiskFull"}
    of = seen(job(execution("e-1", "Failed", reason.value), state="Failed"), effects=[])
    assert counts(of) == ([] if reason.value in explained else ["wrong"])
