"""How a benchmark runs one tool once, and learns what that cost."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import msgspec

from tarpon.devstack.dies_with_parent import tied_command
from tarpon.devstack.seaweedfs import without_aws

ROOT = Path(__file__).parents[1]
METER = Path(__file__).with_name("meter.py")
MAX_SECONDS = 1000.0

T = TypeVar("T")


class ToolFailed(Exception):
    """It ended with an error; the text is what it said last."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Of one run. `cpu_s` and `disk_mib` are of all processes of the tool, `rss_mib` of the largest."""

    wall_s: float
    cpu_s: float
    rss_mib: float
    disk_mib: float


def run_command(command: list[str], variables: dict[str, str]) -> Cost:
    """Run a program of others, with these variables alone. Blocks. Raises ToolFailed."""
    metered = [sys.executable, "-IS", str(METER), *command]
    with subprocess.Popen(
        tied_command(metered, signal.SIGTERM), env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            output, errors = process.communicate(timeout=MAX_SECONDS)
        except BaseException:
            process.terminate()  # the meter kills what it has started
            raise
    return _cost(process.returncode, output, errors)


async def run_module(module: str, *arguments: str) -> Cost:
    """Run one of our own, which measures itself. Raises ToolFailed. Cancelling it kills the process."""
    process = await asyncio.create_subprocess_exec(
        *tied_command([sys.executable, "-m", module, *arguments], signal.SIGKILL),
        cwd=ROOT,
        env=without_aws(dict(os.environ)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(MAX_SECONDS):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _cost(process.returncode, output, errors)


def end_on_sigterm() -> None:
    """Clean up on SIGTERM as on Ctrl-C."""
    signal.signal(signal.SIGTERM, _end)


def run_to_the_end(main: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run, with SIGTERM as Ctrl-C: `main` is cancelled, and SystemExit raised when it has cleaned up.

    What `end_on_sigterm` raises, wherever the loop happens to be, would break off the clean-up too.
    """

    async def until_sigterm() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await main

    try:
        return asyncio.run(until_sigterm())
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None
    finally:
        end_on_sigterm()  # the loop has taken its handler away


def warn_of_load() -> None:
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if load > processors / 2:
        tell(f"Others are at work on this machine (its load is {load:.1f}): the figures will be noisy.")


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _cost(returncode: int | None, output: bytes, errors: bytes) -> Cost:
    if returncode:
        raise ToolFailed(errors.decode(errors="replace").strip()[-2000:] or f"exit code {returncode}")
    return msgspec.json.decode(output, type=Cost)


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
