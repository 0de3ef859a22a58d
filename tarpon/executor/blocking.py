"""Calls of Python functions as jobs, as a `concurrent.futures.Executor`."""

import asyncio
import concurrent.futures
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tarpon.blocking.loop_thread import LoopThread
from tarpon.client import Client
from tarpon.executor.ahead import Ahead
from tarpon.executor.asynchronous import MOST_CALLS, AsyncExecutor, RemoteCall, most_ahead
from tarpon.executor.packing import PackedCall, Packer
from tarpon.http.trust import ClientTrust

T = TypeVar("T")


class CallFuture(concurrent.futures.Future[T]):
    """A future with what else is known of its call: `job_id`, `stdout`, `stderr`, once it is done, and its files.

    A large value stays where it is until `result` or `fetch_value` asks for it.
    """

    def __init__(self, executor: "Executor", loop: LoopThread) -> None:
        super().__init__()
        self._executor = executor  # whose connections end when nobody has it, or a future of it, any more
        self.job_id = ""
        self.stdout = ""
        self.stderr = ""
        self.is_large = False
        """Whether a part of its value has yet to be fetched."""
        self._loop = loop
        self._call: RemoteCall[T] | None = None

    def result(self, timeout: float | None = None) -> T:
        """What the call returned; a large value is fetched now. Raises what it raised, and TimeoutError."""
        until = None if timeout is None else time.monotonic() + timeout
        value = super().result(timeout)
        if not self.is_large:
            return value
        return self._loop.run(_within(until, self._of_call().value()))

    def fetch_files(self, folder: str | os.PathLike[str]) -> Path:
        """Download what the call wrote into its working directory, and say where that is."""
        concurrent.futures.wait([self])
        return self._loop.run(self._of_call().fetch_files(folder))

    def fetch_value(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Download a large value as files (.npy, .arrow, .bin, .txt, .json), past the memory; none of a small one."""
        concurrent.futures.wait([self])
        return self._loop.run(self._of_call().fetch_value(folder))

    def _of_call(self) -> RemoteCall[T]:
        if self._call is None:
            raise concurrent.futures.CancelledError
        return self._call

    async def carry_out(self, executor: AsyncExecutor, packed_call: PackedCall) -> None:
        """In the loop of the executor."""
        try:
            self._call = call = executor.submit_packed(packed_call, self.set_running_or_notify_cancel)
            await call.wait()
            self.job_id, self.stdout, self.stderr = call.job_id, call.stdout, call.stderr
            is_large = call.is_large
            value: Any = None if is_large else await call.value()
        except asyncio.CancelledError:
            self._tell_cancelled()
            raise
        except BaseException as error:  # noqa: BLE001  # the caller is told
            self.set_exception(error)
        else:
            self.is_large = is_large
            self.set_result(value)

    def _tell_cancelled(self) -> None:
        if self.running():
            self.set_exception(concurrent.futures.CancelledError())
        elif self.cancel() and self._state == "CANCELLED":
            self.set_running_or_notify_cancel()  # only then those who wait are told


async def _within(until: float | None, value: Coroutine[Any, Any, T]) -> T:
    async with asyncio.timeout(None if until is None else until - time.monotonic()):
        return await value


class Executor(concurrent.futures.Executor):
    """Runs Python functions on the nodes of a Tarpon, as `concurrent.futures` has it. Use it with `with`.

    What it takes is told at `tarpon.AsyncExecutor`; instead of a client it takes what `tarpon.Client` does.
    """

    def __init__(
        self,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        api_key: str | None = None,
        trust: ClientTrust | None = None,
        parts: int = 8,
        most_calls: int = MOST_CALLS,
        python: str = "python3",
        image: str = "",
        trust_nodes: bool = False,
        namespace: str = "",
        task: dict[str, Any] | None = None,
        job: dict[str, Any] | None = None,
    ) -> None:
        self._loop = LoopThread("tarpon executor")
        self._client = Client(host, port, api_key=api_key, trust=trust)
        self._executor = AsyncExecutor(
            self._client,
            parts=parts,
            most_calls=most_calls,
            python=python,
            image=image,
            trust_nodes=trust_nodes,
            namespace=namespace,
            task=task,
            job=job,
        )
        self._packer = Packer()
        self._most_calls = most_calls
        self._open: set[CallFuture[Any]] = set()
        self._lock = threading.Lock()
        self._is_closed = False
        self._loop.run(self._client.__aenter__())
        weakref.finalize(self, _end, self._loop, self._client)

    def __repr__(self) -> str:
        return f"<Executor of {self._client!r}>"

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> CallFuture[T]:
        """Have it be called. Raises what cannot be packed raises, and RuntimeError after a shutdown."""
        return self._submit(self._packer.packed(fn, args, kwargs))

    def _submit(self, call: PackedCall) -> CallFuture[Any]:
        with self._lock:
            if self._is_closed:
                raise RuntimeError("Nothing can be submitted after a shutdown.")
            future: CallFuture[Any] = CallFuture(self, self._loop)
            self._open.add(future)
            self._loop.begin(future.carry_out(self._executor, call))
        future.add_done_callback(self._open.discard)
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,  # noqa: ARG002  # Python's
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """The values of the calls with one of each iterable, in their order. Raises the first error that is met.

        It is at most `buffersize` calls ahead of who reads it, or twice what goes into one job: iterables may be
        endless. What still waits when it is left is cancelled. `timeout` is for all of it, from now on; `chunksize` has
        no meaning, since calls go into jobs together anyway.
        """
        until = None if timeout is None else time.monotonic() + timeout

        def submit(arguments: tuple[Any, ...]) -> tuple[CallFuture[T], int]:
            call = self._packer.packed(fn, arguments, {})
            return self._submit(call), call.new_bytes

        ahead = Ahead(zip(*iterables, strict=False), submit, most_ahead(buffersize, self._most_calls))
        _fill(ahead)
        return _values(ahead, until)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  # Python's
        """Futures still give their values. Without `wait` what runs goes on, as long as the program does."""
        with self._lock:
            self._is_closed = True
        if cancel_futures:
            self._loop.run(self._executor.cancel_waiting())
        if wait:
            self._loop.run(self._executor.shutdown())
            concurrent.futures.wait(tuple(self._open))


def _fill(ahead: Ahead[CallFuture[T]]) -> None:
    while ahead.may_submit() and ahead.submit_next():
        pass


def _values(ahead: Ahead[CallFuture[T]], until: float | None) -> Iterator[T]:
    try:
        while (future := ahead.take()) is not None:
            try:
                yield future.result(None if until is None else until - time.monotonic())
            finally:
                future.cancel()  # it may have waited in vain
            del future  # nothing of it is kept while the caller is at work
            _fill(ahead)
    finally:
        for left in ahead.rest():
            left.cancel()


def _end(loop: LoopThread, client: Client) -> None:
    loop.end(client.__aexit__(None, None, None))
