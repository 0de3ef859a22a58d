"""Calls of Python functions as jobs, for programs with an event loop."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from shared.errors import InvalidInput
from tarpon.client import Client
from tarpon.executor.ahead import LEAST_AHEAD, Ahead
from tarpon.executor.batches import OUTPUTS, Batch, CallOutcome, WantedRun
from tarpon.executor.packing import PackedCall, Packer

T = TypeVar("T")

MOST_CALLS = 10_000
"""Of one job. More go into several."""
MOST_BATCH_BYTES = 256 << 20
LINGER_SECONDS = 0.05
"""So long a call waits for others that go with it."""
JOBS_AT_ONCE = 8
MOST_AT_A_TIME = 100
"""So many calls of a map are packed before others of the event loop have their turn."""


class RemoteCall(Generic[T]):
    """A call that was handed over: `await` gives what it returned, or raises what it raised.

    A large value is fetched when it is asked for, each time anew; `fetch_value` brings it as files, past the memory.
    `stdout` and `stderr` are what it printed, once it is `done`, and `job_id` is the job that has run it. `fetch_files`
    brings what it wrote into its working directory.
    """

    def __init__(self, starts: Callable[[], bool] | None = None) -> None:
        self.job_id = ""
        self.stdout = ""
        self.stderr = ""
        self._starts = starts
        self._batch: Batch | None = None
        self._number = 0
        self._outcome: asyncio.Future[CallOutcome] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        return f"<RemoteCall of job {self.job_id or '(none yet)'}, {'done' if self.done() else 'pending'}>"

    def __await__(self) -> Generator[Any, None, T]:
        return self.value().__await__()

    def done(self) -> bool:
        return self._outcome.done()

    def cancel(self) -> bool:
        """Whether it will not be run: it is too late once its job is being submitted."""
        return self._batch is None and self._outcome.cancel()

    def starts(self) -> bool:
        """False where it was cancelled."""
        return not self._outcome.cancelled() and (self._starts is None or self._starts())

    async def wait(self) -> None:
        """Return when it has been run, whatever came of it. Raises what a client raises, and CancelledError."""
        await asyncio.shield(self._outcome)

    @property
    def is_large(self) -> bool:
        """Whether a part of its value has yet to be fetched. False as long as it is not done."""
        if self._batch is None or not self._outcome.done() or self._outcome.exception() is not None:
            return False
        return self._batch.is_large(self._number, self._outcome.result())

    async def value(self) -> T:
        """What it returned. Raises what it raised, and what is in tarpon/executor/problems.py."""
        outcome = await asyncio.shield(self._outcome)
        assert self._batch is not None
        found: T = await self._batch.value(self._number, outcome)
        return found

    async def fetch_files(self, folder: str | os.PathLike[str]) -> Path:
        """Download what it wrote into its working directory, and say where that is. Raises what get_results raises."""
        await self.wait()
        assert self._batch is not None
        inner = f"{OUTPUTS}/files/{self._number}"
        await self._batch.fetch([inner], self._number, Path(folder))
        return Path(folder) / inner

    async def fetch_value(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Download the files of a large value (.npy, .arrow, .bin, .txt, .json), and say where they are.

        There are none of a small one. Raises what get_results raises, and what the call raised.
        """
        await self.wait()
        if not self.is_large:
            await self.value()
            return []
        assert self._batch is not None
        return await self._batch.fetch_value(self._number, Path(folder))

    def begin(self, batch: Batch, number: int) -> None:
        self._batch, self._number = batch, number

    def end(self, outcome: CallOutcome, job_id: str) -> None:
        self.job_id = job_id
        if outcome.told is not None:
            self.stdout, self.stderr = outcome.told.stdout, outcome.told.stderr
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    def fail(self, error: BaseException) -> None:
        if not self._outcome.done():
            self._outcome.set_exception(error)
            self._outcome.exception()  # it is told to whoever asks, and to nobody else


class AsyncExecutor:
    """Runs Python functions on the nodes of a Tarpon. Use it as an async context manager.

    Calls that are made within a moment of each other, `most_calls` at most, go into one job, divided among `parts` of
    it. A function travels with its arguments by cloudpickle, and its value comes back as data (see docs/executor.md): a
    node is not trusted, unless `trust_nodes` says that it is. The Python there has to be of the same minor version.

    `client` is an open one, which stays open; without it one is made of what the environment says. `python` is the
    program on the node, or in the image where there is an `image`. `task` and `job` are added to the task and the job,
    as in a job file: `task={"Resources": {"CPU": "2"}}`.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        parts: int = 8,
        most_calls: int = MOST_CALLS,
        python: str = "python3",
        image: str = "",
        trust_nodes: bool = False,
        namespace: str = "",
        task: dict[str, Any] | None = None,
        job: dict[str, Any] | None = None,
    ) -> None:
        self._client = client or Client()
        self._owns_client = client is None
        if parts < 1 or not 1 <= most_calls <= MOST_CALLS:
            raise InvalidInput(f"parts is at least 1, and most_calls from 1 to {MOST_CALLS}.")
        self._parts = parts
        self._most_calls = most_calls
        self._wanted = WantedRun(
            python=python, image=image, trust_nodes=trust_nodes, namespace=namespace, task=task or {}, job=job or {}
        )
        self._packer = Packer()
        self._waiting: list[tuple[RemoteCall[Any], PackedCall]] = []
        self._waiting_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._batches: set[Batch] = set()
        self._jobs = asyncio.Semaphore(JOBS_AT_ONCE)
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<AsyncExecutor, {len(self._waiting)} calls wait, {len(self._running)} jobs run>"

    async def __aenter__(self) -> Self:
        if self._owns_client:
            await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.shutdown(cancel=error is not None)
        finally:
            if self._owns_client:
                await self._client.__aexit__(kind, error, trace)

    @property
    def jobs(self) -> list[str]:
        """The ids of those that run."""
        return [batch.job_id for batch in self._batches if batch.job_id]

    def submit(self, function: Callable[..., T], /, *arguments: Any, **named: Any) -> RemoteCall[T]:
        """Have it be called. Raises what cannot be packed raises, and RuntimeError after a shutdown."""
        return self.submit_packed(self._packer.packed(function, arguments, named))

    def submit_packed(self, call: PackedCall, starts: Callable[[], bool] | None = None) -> RemoteCall[Any]:
        """`starts` is asked just before the call goes into a job, and says whether it is to."""
        if self._is_closed:
            raise RuntimeError("Nothing can be submitted after a shutdown.")
        made: RemoteCall[Any] = RemoteCall(starts)
        if self._waiting_bytes + call.new_bytes > MOST_BATCH_BYTES:
            self._begin()
        self._waiting.append((made, call))
        self._waiting_bytes += call.new_bytes
        if len(self._waiting) >= self._most_calls:
            self._begin()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._begin)
        return made

    async def map(
        self, function: Callable[..., T], *iterables: Iterable[Any], buffersize: int | None = None
    ) -> AsyncGenerator[T, None]:
        """The values of the calls with one of each iterable, in their order. Raises the first error that is met.

        It is at most `buffersize` calls ahead of who reads it, or twice what goes into one job: iterables may be
        endless. What still waits when it is left is cancelled.
        """

        def submit(arguments: tuple[Any, ...]) -> tuple[RemoteCall[T], int]:
            call = self._packer.packed(function, arguments, {})
            return self.submit_packed(call), call.new_bytes

        ahead = Ahead(zip(*iterables, strict=False), submit, most_ahead(buffersize, self._most_calls))
        try:
            while True:
                at_once = 0
                while ahead.may_submit() and ahead.submit_next():
                    at_once += 1
                    if at_once % MOST_AT_A_TIME == 0:
                        await asyncio.sleep(0)
                if (call := ahead.take()) is None:
                    return
                yield await call
        finally:
            for left in ahead.rest():
                left.cancel()

    async def cancel_waiting(self) -> None:
        """Of what is in no job yet nothing is run."""
        for call, _ in self._waiting:
            call.cancel()

    async def shutdown(self, *, cancel: bool = False) -> None:
        """Return when all has ended; with `cancel` nothing more is begun, and what runs is stopped."""
        self._is_closed = True
        if cancel:
            await self.cancel_waiting()
            for task in self._running:
                task.cancel()
        self._begin()
        if self._running:
            await asyncio.wait(self._running)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting: list[tuple[RemoteCall[Any], PackedCall]] = []
        cancelled: list[tuple[RemoteCall[Any], PackedCall]] = []
        for each in self._waiting:
            (waiting if each[0].starts() else cancelled).append(each)
        self._waiting, self._waiting_bytes = [], 0
        for call, _ in cancelled:
            call.cancel()
        if waiting:
            # It outlives whoever begins it, and `shutdown` waits for all.
            task = asyncio.get_running_loop().create_task(self._run(waiting), name=f"{len(waiting)} calls")
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run(self, waiting: Sequence[tuple[RemoteCall[Any], PackedCall]]) -> None:
        batch = Batch(self._client, self._wanted, [call for _, call in waiting], self._parts)
        for number, (call, _) in enumerate(waiting):
            call.begin(batch, number)
        self._batches.add(batch)
        try:
            async with self._jobs:
                outcomes = await batch.run()
        except asyncio.CancelledError:
            for call, _ in waiting:
                call.fail(asyncio.CancelledError())
            raise
        except Exception as error:  # noqa: BLE001  # each call tells it
            for call, _ in waiting:
                call.fail(error)
            return
        finally:
            self._batches.discard(batch)
        for (call, _), outcome in zip(waiting, outcomes, strict=True):
            call.end(outcome, batch.job_id)


def most_ahead(buffersize: int | None, most_calls: int) -> int:
    """Of a map. Raises ValueError."""
    if buffersize is not None and buffersize < 1:
        raise ValueError("buffersize is at least 1")
    return buffersize or max(2 * most_calls, LEAST_AHEAD)
