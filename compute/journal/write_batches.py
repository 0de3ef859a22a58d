"""Batches of writes: what comes during one write goes out together with the next one."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")


class WriteBatches(Generic[T]):
    """In the order in which they came. `write` blocks and may raise OSError; one call at a time is under way."""

    def __init__(self, thread: Executor, write: Callable[..., None]) -> None:
        self._thread = thread
        self._write = write
        self._waiting: list[T] = []
        self._next: asyncio.Future[None] | None = None
        """Done when what is waiting is written."""
        self._current: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<WriteBatches {len(self._waiting)} waiting{', writing' if self._current else ''}>"

    def add(self, item: T) -> "asyncio.Future[None]":
        """Done when it is written, or with the OSError of its whole batch. Not to be cancelled."""
        self._waiting.append(item)
        if self._next is None:
            loop = asyncio.get_running_loop()
            self._next = loop.create_future()
            if self._current is None:
                loop.call_soon(self._begin)  # with all that comes at this moment
        return self._next

    async def written(self) -> None:
        """All that has been added is written, or could not be."""
        last = self._next or self._current
        if last is not None:
            await asyncio.wait((last,))

    def _begin(self) -> None:
        if self._next is None or self._current is not None:
            return
        batch, self._waiting = self._waiting, []
        self._current, self._next = self._next, None
        writing = asyncio.get_running_loop().run_in_executor(self._thread, partial(self._write, *batch))
        writing.add_done_callback(partial(self._end, self._current))

    def _end(self, written: "asyncio.Future[None]", writing: "asyncio.Future[None]") -> None:
        self._current = None
        error = writing.exception()
        if error is None:
            written.set_result(None)
        else:
            written.set_exception(error)
        if self._next is not None:
            self._begin()
