"""Calls of code that nobody here has written: each in a thread of its own, which may stay in there for ever."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from compute.engines.outside.problems import EngineMisbehaved

T = TypeVar("T")


def begun(call: Callable[[], T], *, name: str) -> "Future[T]":
    """It is being called; no other thread waits for that one, also not at the end of the process.

    What it answers is kept where nobody awaits it any more.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def act() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001  # also SystemExit is an answer, and not the node's end
            future.set_exception(_as_exception(error))

    threading.Thread(target=act, name=name, daemon=True).start()
    return future


async def apart(call: Callable[[], T], *, name: str, within: float) -> T:
    """Raises TimeoutError, and whatever the call raises."""
    async with asyncio.timeout(within):
        return await asyncio.wrap_future(begun(call, name=name))


def _as_exception(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else EngineMisbehaved(repr(error)[:200])
