"""An event loop in a thread of its own, for callers that have none, or one that they may not block (a notebook's)."""

import asyncio
import concurrent.futures
import threading
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")

CLOSE_SECONDS = 10.0
MOST_LEAVING = 100
"""Tasks that nobody waits for; asyncio itself would forget them while they run."""


class LoopThread:
    """Runs what is awaited. It ends with `close`, and with the program at the latest."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._leaving: deque[asyncio.Task[None]] = deque(maxlen=MOST_LEAVING)
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<LoopThread {self._thread.name!r}>"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result or its error. An interruption (Ctrl-C) of the caller cancels it, and waits until it is over.

        Raises RuntimeError where it was closed, and where the caller is in this loop itself and would wait for ever.
        """
        if self._loop.is_closed() or threading.current_thread() is self._thread:
            work.close()
            where = "in the thread that would have to carry it out" if self._thread.is_alive() else "after the end"
            raise RuntimeError(f"A call that blocks was made {where}.")
        running = _Running(self._loop, work)
        try:
            self._loop.call_soon_threadsafe(running.start)
            return running.end.result()
        except BaseException:
            if not running.end.done():  # it is the caller who was interrupted
                self._loop.call_soon_threadsafe(running.cancel)
                concurrent.futures.wait([running.end], CLOSE_SECONDS)
            raise

    def begin(self, work: Coroutine[Any, Any, T]) -> "concurrent.futures.Future[T]":
        """Its end, for which nobody has to wait. Raises RuntimeError where the loop was closed."""
        running = _Running(self._loop, work)
        self._loop.call_soon_threadsafe(running.start)
        return running.end

    def each(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        """What the generator gives, which is closed with this one."""
        try:
            while (found := self.run(_next(items))) is not _END:
                yield found
        finally:
            if threading.current_thread() is self._thread:  # an iterator that was let go is collected anywhere
                self._leaving.append(self._loop.create_task(_closed(items), name="an iterator ends"))
            elif not self._loop.is_closed():
                self.run(items.aclose())

    def end(self, last: Coroutine[Any, Any, object]) -> None:
        """Carry out what is last, and close, in whatever thread its owner happens to be collected."""
        if threading.current_thread() is self._thread:
            threading.Thread(target=self.end, args=(last,), name="end", daemon=True).start()
            return
        self.run(last)
        self.close()

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self.run(_others_end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()


class _Running(Generic[T]):
    """What was handed over; `end` is its result or error. It may be cancelled before it has begun."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> None:
        self.end: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._loop = loop
        self._work = work
        self._task: asyncio.Task[T] | None = None

    def start(self) -> None:
        self._task = self._loop.create_task(self._work, name="a blocking call")
        self._task.add_done_callback(self._tell)

    def cancel(self) -> None:
        if self._task is None:
            self._work.close()
            self._tell_cancelled()
        else:
            self._task.cancel()

    def _tell(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self._tell_cancelled()
        elif (error := task.exception()) is not None:
            self.end.set_exception(error)
        else:
            self.end.set_result(task.result())

    def _tell_cancelled(self) -> None:
        self.end.cancel()
        self.end.set_running_or_notify_cancel()  # only then those who wait are told


_END: Any = object()


async def _next(items: AsyncGenerator[T, None]) -> T:
    return await anext(items, _END)


async def _closed(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()


async def _others_end() -> None:
    """What was left over is cancelled, so that nobody is told of tasks that were destroyed while they waited."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others)
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()
