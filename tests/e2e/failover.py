"""A steady flow of jobs while orchestrators are killed and paused, and what came of it (no tests in here)."""

import http.client
import itertools
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from tests.e2e.at_work import at_work
from tests.e2e.cluster import Cluster, Orchestrator
from tests.e2e.stack import TERMINAL, process_job, wait_until

SUBMIT_SECONDS = 0.15
ACCEPT_SECONDS = 2.0
"""After so long a submission goes to the next orchestrator: sooner than a lease ends, so that jobs wait for whoever
takes over, also where each thread was just submitting to the orchestrator that is paused now."""
READ_SECONDS = 0.2
PROCESS_EVERY = 4
PAUSE_SECONDS = 5.0
NATS_SECONDS = 4.0
ALL_SECONDS = 90.0
AGREE_SECONDS = 30.0
"""An orchestrator whose NATS server died knows what came since once it is connected again, which takes JetStream's
election and, for each request that is lost in it, 5 s; on a busy machine 8 s were seen."""

UNREACHABLE = (OSError, http.client.HTTPException, json.JSONDecodeError)


class Fault(NamedTuple):
    """`at` is on the clock on the wall, in nanoseconds, as the histories are."""

    kind: str
    at: int
    until: int


class Flow:
    """Threads that submit and read; each submission goes to one orchestrator after the other until one accepts it."""

    def __init__(self, cluster: Cluster) -> None:
        self.accepted: list[str] = []
        self.repeated = 0
        self.refused: list[str] = []
        self.reads = 0
        self.failed_reads: list[tuple[float, str]] = []
        self.effects = cluster.root / "effects"
        self._cluster = cluster
        self._over = threading.Event()

    def going(self) -> AbstractContextManager[None]:
        readers = [partial(self._read_all, each) for each in self._cluster.orchestrators]
        return at_work(self._over, self._submit_all, self._submit_all, *readers)

    def _submit_all(self) -> None:
        for number in itertools.count():
            if self._over.wait(SUBMIT_SECONDS):
                return
            self._submit(self._process_job() if number % PROCESS_EVERY == 0 else noop_job())

    def _process_job(self) -> dict[str, Any]:
        return process_job(f"echo $TARPON_EXECUTION_ID >> {self.effects}; sleep 0.2")

    def _submit(self, job: dict[str, Any]) -> None:
        body = {"Job": job, "IdempotencyToken": str(uuid.uuid4())}
        for tries in itertools.count():
            orchestrators = self._cluster.present
            target = orchestrators[(len(self.accepted) + tries) % len(orchestrators)]
            try:
                answer = target.api("/orchestrator/jobs", body, "PUT", within=ACCEPT_SECONDS)
            except UNREACHABLE as error:
                self.refused.append(f"{target.name}: {error!r}")
                time.sleep(READ_SECONDS)
            else:
                self.repeated += tries > 0
                self.accepted.append(answer["JobID"])
                return

    def _read_all(self, orchestrator: Orchestrator) -> None:
        while not self._over.wait(READ_SECONDS):
            if orchestrator.is_away:
                continue
            self.reads += 1
            begun = time.monotonic()
            try:
                orchestrator.api("/orchestrator/jobs?limit=5")
            except UNREACHABLE as error:
                if not orchestrator.is_away:
                    self.failed_reads.append((time.monotonic() - begun, f"{orchestrator.name}: {error!r}"))


def noop_job() -> dict[str, Any]:
    return {"Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "noop"}}]}


# ---- faults -----------------------------------------------------------------------------------------------------


def kill_leader(cluster: Cluster) -> Fault:
    leader = cluster.wait_leader()
    at = time.time_ns()
    leader.kill()
    cluster.wait_leader()
    let_decide(cluster)
    until = time.time_ns()
    leader.start()
    leader.wait_ready()
    return Fault("kill", at, until)


def pause_leader(cluster: Cluster, seconds: float = PAUSE_SECONDS) -> Fault:
    """Longer than the lease, so that another leads when it goes on."""
    leader = cluster.wait_leader()
    at = time.time_ns()
    leader.pause()
    time.sleep(seconds)
    until = time.time_ns()
    leader.resume()
    leader.wait_ready()
    cluster.wait_leader()
    return Fault("pause", at, until)


def kill_nats(cluster: Cluster, number: int, seconds: float = NATS_SECONDS) -> Fault:
    at = time.time_ns()
    cluster.nats[number].kill()
    time.sleep(seconds)
    cluster.nats[number].start()
    cluster.wait_leader()
    let_decide(cluster)
    return Fault("nats", at, time.time_ns())


def let_decide(cluster: Cluster) -> None:
    """Wait until a job that is submitted now is done."""
    orchestrator = cluster.present[0]

    def submitted() -> str | None:
        try:
            return str(orchestrator.api("/orchestrator/jobs", {"Job": noop_job()}, "PUT")["JobID"])
        except UNREACHABLE:
            return None

    job = wait_until(submitted, within=30, what="a job is accepted")
    wait_until(lambda: _state(orchestrator, job) in TERMINAL, within=30, what="a job is done")


def _state(orchestrator: Orchestrator, job: str) -> str:
    try:
        return str(orchestrator.api(f"/orchestrator/jobs/{job}")["Job"]["State"]["StateType"])
    except UNREACHABLE:
        return ""


# ---- what came of it --------------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """`lost` are accepted and not Completed; `doubled` ran more than once, or have several executions."""

    accepted: int
    repeated: int
    lost: dict[str, str]
    doubled: dict[str, str]
    executions: int
    take_overs: dict[str, list[float]]
    reads: int
    failed_reads: list[tuple[float, str]]
    differing: dict[str, list[str]]


def judge(cluster: Cluster, flow: Flow, faults: list[Fault]) -> Outcome:
    """Wait for the end of all jobs, and look at them through each orchestrator."""
    orchestrator = cluster.present[0]
    left = set(flow.accepted)

    def is_over() -> bool:
        left.difference_update([job for job in left if _state(orchestrator, job) in TERMINAL])
        return not left

    _wait(is_over, within=ALL_SECONDS)
    _wait(lambda: not _differing(cluster, flow.accepted[-20:]), within=AGREE_SECONDS)
    lost, doubled, placed = {}, {}, []
    ran = Counter(flow.effects.read_text().split()) if flow.effects.exists() else Counter[str]()
    executions = 0
    for job in flow.accepted:
        found = orchestrator.api(f"/orchestrator/jobs/{job}?include=history,executions")
        items = found["Executions"]["Items"]
        state = found["Job"]["State"]["StateType"]
        executions += len(items)
        if state != "Completed":
            lost[job] = f"{state}: {[item['Event']['Message'] for item in found['History']['Items']]}"
        if problem := _doubled(items, ran):
            doubled[job] = f"{problem}: {[item['Event']['Message'] for item in found['History']['Items']]}"
        placed += [item["Event"]["Timestamp"] for item in found["History"]["Items"] if _is_placement(item)]
    return Outcome(
        accepted=len(flow.accepted),
        repeated=flow.repeated,
        lost=lost,
        doubled=doubled,
        executions=executions,
        take_overs=_take_overs(faults, sorted(map(_ns, placed))),
        reads=flow.reads,
        failed_reads=flow.failed_reads,
        differing=_differing(cluster, flow.accepted),
    )


def _wait(is_so: Callable[[], bool], *, within: float) -> None:
    """What is not so then is in the outcome."""
    deadline = time.monotonic() + within
    while not is_so() and time.monotonic() < deadline:
        time.sleep(READ_SECONDS)


def _differing(cluster: Cluster, jobs: Sequence[str]) -> dict[str, list[str]]:
    """Of which jobs the orchestrators tell different states, and which."""
    states = {job: [_state(each, job) for each in cluster.present] for job in jobs}
    return {job: told for job, told in states.items() if len(set(told)) > 1}


def _doubled(executions: list[dict[str, Any]], ran: Counter[str]) -> str:
    completed = sum(each["ComputeState"]["StateType"] == 9 for each in executions)
    if completed > 1:
        return f"{completed} executions completed"
    again = [each["ID"] for each in executions if ran[each["ID"]] > 1]
    return f"the task of {again} ran more than once" if again else ""


def _is_placement(item: dict[str, Any]) -> bool:
    return str(item["Event"]["Message"]).startswith("Placed on node")


def _ns(timestamp: str) -> int:
    return int(datetime.fromisoformat(timestamp).timestamp() * 1e9)


def _take_overs(faults: list[Fault], placed: list[int]) -> dict[str, list[float]]:
    """For each fault, the seconds from it to the next placement, which is another's while the leader is away."""
    found: dict[str, list[float]] = {}
    for fault in faults:
        after = next((each for each in placed if each > fault.at), None)
        seconds = float("inf") if after is None else (after - fault.at) / 1e9
        found.setdefault(fault.kind, []).append(round(seconds, 2))
    return found
