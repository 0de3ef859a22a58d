"""Calls of Python functions as jobs, as a `concurrent.futures.Executor`."""

import asyncio
import concurrent.futures
import os
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tarpon.blocking.loop_thread import LoopThread
from tarpon.client import Client
from tarpon.executor.asynchronous import MOST_CALLS, AsyncExecutor, RemoteCall
from tarpon.executor.packing import PackedCall, packed
from tarpon.http.trust import ClientTrust

T = TypeVar("T")


class CallFuture(concurrent.futures.Future[T]):
    """A future with what else is known of its call: `job_id`, `stdout`, `stderr`, once it is done, and its files."""

    def __init__(self, executor: "Executor", loop: LoopThread, client: Client) -> None:
        super().__init__()
        self._executor = executor  # whose connections end when nobody has it, or a future of it, any more
        self.job_id = ""
        self.stdout = ""
        self.stderr = ""
        self._loop = loop
        self._client = client
        self._call: RemoteCall[T] | None = None
        self._is_large = False

    def result(self, timeout: float | None = None) -> T:
        """What the call returned; a large value is fetched now. Raises what it raised, and TimeoutError."""
        value = super().result(timeout)
        if not self._is_large:
            return value
        assert self._call is not None
        return self._loop.run(self._call.value())

    def fetch_files(self, folder: str | os.PathLike[str]) -> Path:
        """Download what the call wrote into its working directory, and say where that is."""
        concurrent.futures.wait([self])
        assert self._call is not None
        return self._loop.run(self._call.fetch_files(self._client, folder))

    async def carry_out(self, executor: AsyncExecutor, packed_call: PackedCall) -> None:
        """In the loop of the executor."""
        try:
            self._call = call = executor.submit_packed(packed_call, self.set_running_or_notify_cancel)
            await call.wait()
            self.job_id, self.stdout, self.stderr = call.job_id, call.stdout, call.stderr
            self._is_large = call.is_large
            value: Any = None if self._is_large else await call.value()
        except asyncio.CancelledError:
            if not self.cancelled():
                self.set_exception(concurrent.futures.CancelledError())
            raise
        except BaseException as error:  # noqa: BLE001  # the caller is told
            self.set_exception(error)
        else:
            self.set_result(value)


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
        self._is_closed = False
        self._loop.run(self._client.__aenter__())
        weakref.finalize(self, _end, self._loop, self._client)

    def __repr__(self) -> str:
        return f"<Executor of {self._client!r}>"

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> CallFuture[T]:
        """Have it be called. Raises what cannot be packed raises, and RuntimeError after a shutdown."""
        if self._is_closed:
            raise RuntimeError("Nothing can be submitted after a shutdown.")
        future: CallFuture[T] = CallFuture(self, self._loop, self._client)
        self._loop.begin(future.carry_out(self._executor, packed(fn, args, kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  # Python's
        """Futures still give their values. Without `wait` what runs goes on, as long as the program does."""
        self._is_closed = True
        if cancel_futures:
            self._loop.run(self._executor.cancel_waiting())
        if wait:
            self._loop.run(self._executor.shutdown())


def _end(loop: LoopThread, client: Client) -> None:
    loop.end(client.__aexit__(None, None, None))
