"""Processes that are killed in the middle of many jobs: every job ends, none is lost, none completes twice."""

import json
import os
import signal
import time
import urllib.error
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.state.filing.filing import AT_ONCE
from tests.e2e.stack import TERMINAL, Stack, process_job, wait_until

JOBS = 200
SOME_JOBS = 80
"""As many as a kill needs to be in the middle of."""
SUBMITTERS = 8
ALL_SECONDS = 150.0
STOOD_STILL_SECONDS = 3.5
"""Longer than a busy machine holds a process up, and than half of the life of its marks."""


def _start(stack: Stack) -> None:
    stack.start_orchestrator()
    stack.start_compute("node-a")
    stack.start_compute("node-b")


def _submit_all(stack: Stack, count: int = JOBS) -> list[str]:
    with ThreadPoolExecutor(SUBMITTERS) as pool:
        return list(pool.map(lambda _: stack.submit(process_job("true")), range(count)))


def _states(stack: Stack) -> Counter[str]:
    items = stack.api("/orchestrator/jobs?limit=1000")["Items"]
    return Counter(item["State"]["StateType"] for item in items)


def _wait_all_ended(stack: Stack, count: int = JOBS) -> None:
    def is_over() -> bool:
        try:
            states = _states(stack)
        except OSError:
            return False
        return sum(states[state] for state in TERMINAL) == count

    wait_until(is_over, within=ALL_SECONDS, what=f"all {count} jobs have ended")


def _wait_some_ended(stack: Stack, some: int) -> None:
    wait_until(lambda: _states(stack)["Completed"] >= some, within=ALL_SECONDS, what="some jobs have ended")


def _assert_each_completed_once(stack: Stack, jobs: list[str]) -> None:
    assert len(set(jobs)) == len(jobs)
    assert _states(stack) == {"Completed": len(jobs)}
    done = {job: _completed(stack, job) for job in jobs}
    assert set(done.values()) == {1}
    published = Counter(key.split("/")[-2] for key in stack.objects())
    assert set(published) == set(jobs)


def _completed(stack: Stack, job: str) -> int:
    executions = stack.describe(job)["Executions"]["Items"]
    return sum(each["ComputeState"]["StateType"] == 9 for each in executions)


def _runs_another_server(stack: Stack, before: int) -> bool:
    try:
        return stack.nats_pid() != before
    except ValueError:  # it is just being written
        return False


def test_two_hundred_jobs_at_once_complete_exactly_once(stack: Stack) -> None:
    _start(stack)
    jobs = _submit_all(stack)
    _wait_all_ended(stack)
    _assert_each_completed_once(stack, jobs)
    assert len(stack.objects()) == JOBS


def test_every_job_completes_once_when_the_orchestrator_is_killed_before_and_after_it_has_filed_some(
    stack: Stack,
) -> None:
    _start(stack)
    jobs = _submit_all(stack)
    assert stack.orchestrator is not None
    for some in (JOBS // 10, AT_ONCE + JOBS // 10):
        _wait_some_ended(stack, some)
        stack.orchestrator.kill()
        stack.orchestrator.start()
        stack.wait_ready()
    assert stack.orchestrator.log.read_text().count("The index of ended jobs has the state up to") == 2
    _wait_all_ended(stack)
    _assert_each_completed_once(stack, jobs)
    assert len(stack.objects()) == JOBS


def test_every_job_completes_once_when_a_compute_node_is_killed(stack: Stack) -> None:
    _start(stack)
    jobs = _submit_all(stack, SOME_JOBS)
    _wait_some_ended(stack, SOME_JOBS // 10)
    stack.computes["node-a"].kill()
    stack.computes["node-a"].start()
    _wait_all_ended(stack, SOME_JOBS)
    _assert_each_completed_once(stack, jobs)


def test_every_job_completes_once_when_the_nats_server_is_killed(stack: Stack) -> None:
    _start(stack)
    jobs = _submit_all(stack, SOME_JOBS)
    _wait_some_ended(stack, SOME_JOBS // 10)
    before = stack.nats_pid()
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: _runs_another_server(stack, before), within=20, what="another nats-server runs")
    _wait_all_ended(stack, SOME_JOBS)
    _assert_each_completed_once(stack, jobs)
    assert len(stack.objects()) == SOME_JOBS


def test_what_was_asked_of_an_orchestrator_that_stood_still_is_not_begun_when_it_goes_on(stack: Stack) -> None:
    """By then it may have been done by another one, and removed again so long ago that nothing tells of it."""
    process = stack.start_orchestrator(Orchestrator_NATS_RemovalMarks="4s").process
    process.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(stack.submit, process_job("true"))
        time.sleep(STOOD_STILL_SECONDS)
        process.send_signal(signal.SIGCONT)
        with pytest.raises(urllib.error.HTTPError) as refused:
            asked.result()
    assert refused.value.code == 503
    assert "stood still" in json.load(refused.value)["Message"]
    assert stack.api("/orchestrator/jobs")["Items"] == []
