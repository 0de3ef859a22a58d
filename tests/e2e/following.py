"""Tasks whose output is followed live, directly or over connections that are cut again and again (no tests in here)."""

import asyncio
import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from shared.runtime.aio import background
from tarpon.client import Client
from tests.e2e.stack import process_job
from tests.servers import HOST

CUT_SECONDS = 0.4
SLEEP_SECONDS = 1.5
LIVE_SECONDS = 0.5
WHOLE = "start\nend\n"
ONE_SECONDS = 120.0
PIECE_BYTES = 1 << 16


@asynccontextmanager
async def cutting_relay(target: int, *, after: float = CUT_SECONDS) -> AsyncIterator[int]:
    """The port on loopback of a relay that cuts each connection some time after it was made, whatever goes on there."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_writer: asyncio.StreamWriter | None = None
        try:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(after):
                    target_reader, target_writer = await asyncio.open_connection(HOST, target)
                    async with background(up=_pass(reader, target_writer)):
                        await _pass(target_reader, writer)
        finally:
            for each in (writer, target_writer):
                if each is not None:
                    each.transport.abort()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        yield server.sockets[0].getsockname()[1]


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    if not writer.transport.is_closing():
        await asyncio.Event().wait()  # the relay cuts both sides together


class Shown(NamedTuple):
    """What one command showed of a task; `is_live` if the first line was there well before the last."""

    output: str
    errors: str
    exit_code: int
    is_live: bool

    @property
    def is_right(self) -> bool:
        return self.output == WHOLE and self.exit_code == 0


async def follow_one(api_port: int, through: int, *, gate: Path | None = None) -> Shown:
    """Submit a task, and follow it by `tarpon job logs -f`, which speaks to the port `through`.

    It ends after SLEEP_SECONDS, or with a `gate` when its first line has been shown.
    """
    wait = f"while [ ! -e {gate} ]; do sleep 0.05; done" if gate else f"sleep {SLEEP_SECONDS}"
    async with Client(HOST, api_port) as client:
        job = (await client.submit(process_job(f"echo start; {wait}; echo end"))).job_id
    command = [sys.executable, "-m", "tarpon", "job", "logs", "-f", job, "--api-port", str(through)]
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(ONE_SECONDS):
            first = await process.stdout.readline()
            began = time.monotonic()
            if gate:
                gate.touch()
            rest, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    is_live = gate is not None or time.monotonic() - began > LIVE_SECONDS
    return Shown((first + rest).decode(), errors.decode(), process.returncode or 0, is_live)


async def follow_many(
    api_port: int, *, runs: int, at_once: int, is_cut: bool, gates: Path | None = None
) -> list[Shown]:
    free = asyncio.Semaphore(at_once)

    async def one(through: int, number: int) -> Shown:
        async with free:
            return await follow_one(api_port, through, gate=gates / f"gate-{number}" if gates else None)

    async with cutting_relay(api_port) as relay, asyncio.TaskGroup() as group:
        through = relay if is_cut else api_port
        tasks = [group.create_task(one(through, number), name=f"follow {number}") for number in range(runs)]
        await asyncio.wait(tasks)
    return [task.result() for task in tasks]


def wrong(shown: list[Shown]) -> Counter[str]:
    return Counter(
        f"{each.output!r}, exit code {each.exit_code}: {each.errors[-300:]}" for each in shown if not each.is_right
    )
