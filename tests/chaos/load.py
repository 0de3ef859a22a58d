"""A careful user: submits with a token until an answer came, stops some jobs, and asks again after a lost answer."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from shared.runtime.aio import begin
from tests.chaos.alone import Alone
from tests.chaos.jobs import JobPlan, document
from tests.chaos.stack import Stack
from tests.servers import HOST

TRY_SECONDS = 6.0
PAUSE_SECONDS = 0.4
CONFLICT, NOT_FOUND = 409, 404
WORTH_ANOTHER_TRY = frozenset({408, 429, 500, 502, 503, 504})
JOBS = "/orchestrator/jobs"
UNREACHABLE = (aiohttp.ClientError, OSError, TimeoutError, json.JSONDecodeError)


class Answer(NamedTuple):
    status: int
    body: dict[str, Any]


class Client:
    """Asks one orchestrator after the other."""

    def __init__(self, stack: Stack | Alone, http: aiohttp.ClientSession) -> None:
        self._stack = stack
        self._http = http

    @property
    def ports(self) -> list[int]:
        return [each.api_port for each in self._stack.orchestrators]

    async def ask(self, method: str, path: str, body: Any = None, *, first: int, what: Callable[[int], bool]) -> Answer:
        """The first answer whose status is `what` was wanted, from whoever gives it, however long that takes."""
        ports = self.ports
        turn = first
        while True:
            answer = await self.ask_once(method, ports[turn % len(ports)], path, body)
            if answer is not None and what(answer.status):
                return answer
            turn += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def ask_once(self, method: str, port: int, path: str, body: Any = None) -> Answer | None:
        """None if no answer came."""
        try:
            async with (
                asyncio.timeout(TRY_SECONDS),
                self._http.request(method, f"http://{HOST}:{port}/api/v1{path}", json=body) as answer,
            ):
                return Answer(answer.status, await answer.json())
        except UNREACHABLE:
            return None

    async def ask_and_go(self, method: str, port: int, path: str, body: Any) -> None:
        """Send the whole request, and be gone before the answer."""
        content = json.dumps(body).encode()
        head = f"{method} /api/v1{path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\n"
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(TRY_SECONDS):
                _, writer = await asyncio.open_connection(HOST, port)
                writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
                await writer.drain()
                writer.close()


class Load:
    """What was accepted is in `accepted`, by the job's number; what must not have been answered is in `problems`."""

    def __init__(self, client: Client, *, run: str, effects: Path) -> None:
        self.accepted: dict[int, str] = {}
        self.stopped: set[int] = set()
        self.repeated = 0
        self.problems: list[str] = []
        self._client = client
        self._run = run
        self._effects = effects

    def __repr__(self) -> str:
        return f"<Load, {len(self.accepted)} accepted>"

    async def submit_all(self, plans: tuple[JobPlan, ...]) -> None:
        """Each at its time; return when all are accepted, and stopped where that is planned."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with asyncio.TaskGroup() as group:
            for plan in plans:
                await asyncio.sleep(plan.at - (loop.time() - begun))
                begin(group, self._submit(plan), name=f"job {plan.number}")

    async def _submit(self, plan: JobPlan) -> None:
        job = document(plan, run=self._run, effects=self._effects)
        body = {"Job": job, "IdempotencyToken": f"{self._run}-{plan.number}"}
        ports = self._client.ports
        if plan.loses_answer:
            await self._client.ask_and_go("PUT", ports[plan.via % len(ports)], JOBS, body)
        answer = await self._client.ask("PUT", JOBS, body, first=plan.via, what=_is_final)
        if answer.status != 200:
            self.problems.append(f"job {plan.number} was refused with {answer.status}: {answer.body}")
            return
        job_id = self.accepted[plan.number] = str(answer.body["JobID"])
        if plan.loses_answer:
            await self._submit_again(plan, body, job_id)
        if plan.stop_after is not None:
            await asyncio.sleep(plan.stop_after)
            await self._stop(plan, job_id)

    async def _submit_again(self, plan: JobPlan, body: dict[str, Any], job_id: str) -> None:
        self.repeated += 1
        again = await self._client.ask("PUT", JOBS, body, first=plan.via + 1, what=_is_final)
        if again.status != 200 or again.body["JobID"] != job_id:
            self.problems.append(f"job {plan.number} is {job_id}, and submitted again {again}")

    async def _stop(self, plan: JobPlan, job_id: str) -> None:
        """Another orchestrator may not have heard of the job yet. It may have ended, too."""
        answer = await self._client.ask(
            "DELETE",
            f"{JOBS}/{job_id}",
            first=plan.via + 2,
            what=lambda status: _is_final(status) and status != NOT_FOUND,
        )
        if answer.status == 200:
            self.stopped.add(plan.number)
        elif answer.status != CONFLICT:
            self.problems.append(f"stopping job {plan.number} was answered with {answer}")


def _is_final(status: int) -> bool:
    return status not in WORTH_ANOTHER_TRY
