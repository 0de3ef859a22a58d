"""The client of a benchmark: keeps jobs in flight over the NATS API, and tells when each was seen to have ended.

`python -m benchmarks.load JOBS IN_FLIGHT WARM_UP`, with the job as JSON on the first line of standard input and the
connection in the environment. It goes in steps, each begun by a line on standard input and ended by a line of JSON, so
that whoever started it can look at all processes in between: warm up, measure, verify.

An end is what an outside observer learns by the event of the job's state. Of a job about which nothing was heard for
long it asks, and counts that.
"""

import asyncio
import json
import math
import os
import sys
import time
from typing import Any

import msgspec
import uvloop

from benchmarks.nats_wire import NatsWire, connect
from shared.protocol import subjects
from shared.runtime.tls.trust import trusting_file

LOOK_SECONDS = 1.0
UNHEARD_SECONDS = 10.0
REFUSED_SECONDS = 0.2
ANSWER_SECONDS = 60.0
STALLED_SECONDS = 90.0
PAGE = 500
TERMINAL = frozenset({"Completed", "Failed", "Stopped"})


class _State(msgspec.Struct, rename="pascal"):
    state_type: str
    message: str = ""


class _Told(msgspec.Struct, rename="pascal"):
    state: _State


class _Answer(msgspec.Struct, rename="pascal"):
    job_id: str = msgspec.field(name="JobID", default="")
    job: _Told | None = None
    items: list[_Told] = []
    next_token: str = ""
    code: str = ""
    message: str = ""


_told = msgspec.json.Decoder(_Told)
_answer = msgspec.json.Decoder(_Answer)


class Client:
    """One connection as the integration of this environment."""

    def __init__(self) -> None:
        self.principal = os.environ["NATS_USER"]
        self.on_event: Any = None
        self._inbox = os.environ["NATS_INBOX_PREFIX"]
        self._waiting: dict[str, asyncio.Future[_Answer]] = {}
        self._asked = 0
        self._wire: NatsWire | None = None

    async def open(self) -> NatsWire:
        authority = os.environ["NATS_CA"]
        self._wire = await connect(
            os.environ["NATS_URL"],
            user=self.principal,
            password=os.environ["NATS_PASSWORD"],
            deliver=self._take,
            trust=trusting_file(authority) if authority else None,
        )
        self._wire.subscribe(f"{self._inbox}.*")
        return self._wire

    def ask(self, what: str, request: bytes) -> "asyncio.Future[_Answer]":
        assert self._wire is not None
        self._asked += 1
        reply = f"{self._inbox}.{self._asked}"
        answer = self._waiting[reply] = asyncio.get_running_loop().create_future()
        self._wire.publish(subjects.api_request(self.principal, what), request, reply=reply)
        return answer

    def _take(self, subject: str, payload: bytes) -> None:
        waiting = self._waiting.pop(subject, None)
        if waiting is not None:
            waiting.set_result(_answer.decode(payload) if payload else _Answer(code="NobodyAnswers"))
        elif self.on_event is not None and not subject.startswith(self._inbox):
            self.on_event(subject.split(".")[4], payload)


class Flow:
    """`count` jobs of one namespace, `in_flight` of them at a time."""

    def __init__(self, client: Client, job: dict[str, Any], namespace: str, count: int, in_flight: int) -> None:
        self.latencies: list[float] = []
        self.ended: dict[str, int] = {}
        self.refused = 0
        self.asked = 0
        self.problem = ""
        self._client = client
        self._submit = json.dumps({"Job": job | {"Namespace": namespace}}).encode()
        self._namespace = namespace
        self._count = count
        self._in_flight = min(count, in_flight)
        self._submitted = 0
        self._begun: dict[str, float] = {}
        self._early: dict[str, tuple[float, str]] = {}
        self._done = asyncio.Event()
        self._last_end = time.perf_counter()

    async def run(self) -> float:
        """Give the seconds from the first submit to the last end."""
        begun = time.perf_counter()
        self._client.on_event = self._on_event
        for _ in range(self._in_flight):
            self._next()
        while not self._done.is_set():
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._done.wait()
            except TimeoutError:
                await self._look()
        return self._last_end - begun

    def _next(self) -> None:
        if self._submitted < self._count:
            self._submitted += 1
            self._begin()

    def _begin(self) -> None:
        begun = time.perf_counter()
        answer = self._client.ask("jobs.submit", self._submit)
        answer.add_done_callback(lambda done: self._on_accepted(done.result(), begun))

    def _on_accepted(self, answer: _Answer, begun: float) -> None:
        if not answer.job_id:
            self.refused += 1
            self.problem = f"{answer.code}: {answer.message}"
            asyncio.get_running_loop().call_later(REFUSED_SECONDS, self._begin)
            return
        self._begun[answer.job_id] = begun
        early = self._early.pop(answer.job_id, None)
        if early is not None:
            self._end(answer.job_id, *early)

    def _on_event(self, job: str, payload: bytes) -> None:
        state = _told.decode(payload).state
        if state.state_type in TERMINAL:
            now = time.perf_counter()
            if job in self._begun:
                self._end(job, now, state.state_type)
            else:
                self._early[job] = now, state.state_type

    def _end(self, job: str, at: float, state: str) -> None:
        self._last_end = at
        self.latencies.append(at - self._begun.pop(job))
        self.ended[state] = self.ended.get(state, 0) + 1
        self._next()
        if len(self.latencies) == self._count:
            self._done.set()

    async def _look(self) -> None:
        """Ask about the jobs of which nothing was heard for long."""
        now = time.perf_counter()
        if now - max(self._last_end, *self._begun.values(), 0.0) > STALLED_SECONDS:
            raise SystemExit(f"Nothing has ended for {STALLED_SECONDS:g} s. {self.problem}")
        for job in [each for each, begun in self._begun.items() if now - begun > UNHEARD_SECONDS][:100]:
            asked = json.dumps({"JobID": job, "Namespace": self._namespace}).encode()
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self._client.ask("jobs.get", asked)
            if job in self._begun and answer.job is not None and answer.job.state.state_type in TERMINAL:
                self.asked += 1
                self._end(job, time.perf_counter(), answer.job.state.state_type)


async def states(client: Client, namespace: str) -> dict[str, int]:
    """How many jobs of the namespace are in which state, by the API's list."""
    found: dict[str, int] = {}
    token = ""
    while True:
        asked = json.dumps({"Namespace": namespace, "Limit": PAGE, "NextToken": token}).encode()
        async with asyncio.timeout(ANSWER_SECONDS):
            page = await client.ask("jobs.list", asked)
        for item in page.items:
            found[item.state.state_type] = found.get(item.state.state_type, 0) + 1
        token = page.next_token
        if not token:
            return found


def percentile(ordered: list[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _figures(flow: Flow, seconds: float) -> dict[str, Any]:
    ordered = sorted(flow.latencies)
    return {
        "jobs_per_s": round(len(ordered) / seconds, 1),
        "p50_ms": round(percentile(ordered, 0.5) * 1e3, 2),
        "p95_ms": round(percentile(ordered, 0.95) * 1e3, 2),
        "max_ms": round(ordered[-1] * 1e3, 2),
        "seconds": round(seconds, 3),
        "failed": len(ordered) - flow.ended.get("Completed", 0),
        "refused": flow.refused,
        "unheard": flow.asked,
        "problem": flow.problem,
    }


def _step() -> str:
    line = sys.stdin.readline()
    if not line:
        raise SystemExit("whoever measures is gone")
    return line


async def main(jobs: int, in_flight: int, warm_up: int) -> None:
    client = Client()
    wire = await client.open()
    job, mark = json.loads(_step()), f"{os.getpid()}-{time.time_ns()}"
    wire.subscribe(subjects.event(f"load-{mark}", "*", "state"))  # type: ignore[arg-type]  # of any job
    if warm_up:
        wire.subscribe(subjects.event(f"warm-{mark}", "*", "state"))  # type: ignore[arg-type]
        await Flow(client, job, f"warm-{mark}", warm_up, in_flight).run()
    print("{}", flush=True)
    _step()
    flow = Flow(client, job, f"load-{mark}", jobs, in_flight)
    seconds = await flow.run()
    print(json.dumps(_figures(flow, seconds)), flush=True)
    _step()
    print(json.dumps(await states(client, f"load-{mark}")), flush=True)
    wire.close()


if __name__ == "__main__":
    uvloop.run(main(*map(int, sys.argv[1:])))
