"""What goes on at the API while something happens to it: jobs, and streams of events and logs that are open all along.

Over HTTP, each stream a connection of its own, which is never made again: one that ends before its job has failed.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.control_plane import job_of
from benchmarks.returns import API
from shared.protocol.rest import EVENT_JOB

AGAIN_SECONDS = 0.2
_BROKEN = (aiohttp.ClientError, OSError)


class OpenStreams:
    """`flow` keeps jobs going that do nothing; streams are of jobs that write numbered lines until they may end."""

    def __init__(self, api_url: str, session: aiohttp.ClientSession, *, streams: int) -> None:
        self.heard = asyncio.Event()
        """Set when something has come over all streams."""
        self._ended: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._longest_s = 0.0
        self._whole: Counter[str] = Counter()
        self._dropped: list[str] = []
        self._unheard = 2 * streams
        self._jobs_url = f"{api_url}{API}/jobs"
        self._session = session
        self._over = False

    def __repr__(self) -> str:
        return f"<OpenStreams beside {self._ended.total()} jobs, {len(self._dropped)} dropped>"

    def figures(self) -> dict[str, Any]:
        return {
            "jobs": dict(self._ended),
            "refused": dict(self._refused),
            "longest_job_s": round(self._longest_s, 1),
            "streams_whole": dict(self._whole),
            "streams_dropped": self._dropped,
        }

    def stop(self) -> None:
        """Jobs that have begun go on to their ends."""
        self._over = True

    async def flow(self) -> None:
        """One job after the other. Each is read to its end by its stream of events."""
        while not self._over:
            began = time.perf_counter()
            states = [each async for each in self._states(await self._submit(job_of("noop")))]
            self._longest_s = max(self._longest_s, time.perf_counter() - began)
            self._ended[states[-1] if states else "none"] += 1

    async def read(self, flag: Path) -> None:
        """Events and logs of a job that ends once the file is there."""
        job, state = await self._submit(_numbering(flag)), "none"
        async with asyncio.TaskGroup() as group:
            try:
                async for told in self._states(job):
                    if told == "Running" != state:
                        self._hear()
                        group.create_task(self._read_logs(job), name=f"logs of {job}")
                    state = told
            except _BROKEN as error:
                state = repr(error)
        self._judge("events", whole=state == "Completed", what=state)

    async def _submit(self, job: dict[str, Any]) -> str:
        """Again where it is refused for a while, which is counted."""
        while True:
            async with self._session.put(self._jobs_url, json={"Job": job}) as answer:
                told = await answer.json()
                if answer.ok:
                    return str(told["JobID"])
                self._refused[f"{answer.status} {told.get('Code')}: {told.get('Message')}"] += 1
            await asyncio.sleep(AGAIN_SECONDS)

    async def _states(self, job: str) -> AsyncIterator[str]:
        async with self._session.get(f"{self._jobs_url}/{job}/events") as answer:
            is_job = False
            async for line in answer.content:
                if line.startswith(b"event: "):
                    is_job = line.rstrip() == f"event: {EVENT_JOB}".encode()
                elif line.startswith(b"data: ") and is_job:
                    yield json.loads(line[6:])["State"]["StateType"]

    async def _read_logs(self, job: str) -> None:
        """Whether the lines are numbered without a gap, up to the end that is told."""
        text, is_over, problem = "", False, ""
        try:
            async with self._session.ws_connect(f"{self._jobs_url}/{job}/logs", params={"follow": "true"}) as socket:
                async for message in socket:
                    frame = json.loads(message.data)
                    line = frame.get("value", {}).get("Line", "")
                    if line and not text:
                        self._hear()
                    text += line
                    is_over, problem = is_over or "end" in frame, problem or frame.get("error", "")
        except _BROKEN as error:
            problem = repr(error)
        numbers = text.split()
        whole = is_over and not problem and numbers == [str(number) for number in range(len(numbers))]
        self._judge("logs", whole=whole, what=problem or text[-100:])

    def _hear(self) -> None:
        self._unheard -= 1
        if not self._unheard:
            self.heard.set()

    def _judge(self, kind: str, *, whole: bool, what: str) -> None:
        if whole:
            self._whole[kind] += 1
        else:
            self._dropped.append(f"{kind}: {what!r}")


def _numbering(flag: Path) -> dict[str, Any]:
    """A job that writes a number ten times a second, until the file is there."""
    script = f"n=0; while [ ! -e {flag} ]; do echo $n; n=$((n+1)); sleep 0.1; done"
    engine = {"Type": "process", "Params": {"Entrypoint": ["/bin/sh", "-c", script]}}
    resources = {"CPU": "10m", "Memory": "16mb"}
    return {"Type": "batch", "Tasks": [{"Name": "main", "Engine": engine, "Resources": resources}]}
