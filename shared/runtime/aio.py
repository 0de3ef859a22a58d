"""Use of asyncio: named tasks, clean-up that outlives a cancellation, pipelined work.

This is the one module that may create tasks outside a TaskGroup.
"""

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")

LOOK_SECONDS = 0.05
_NO_DESCRIPTOR = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


async def finish(coro: Coroutine[Any, Any, T], *, within: float) -> T:
    """Run clean-up to its end even while the caller is being cancelled, for at most `within` seconds.

    A cancellation that arrives meanwhile is raised after the clean-up has ended. Raises TimeoutError when the
    deadline passes; the clean-up is then cancelled.
    """

    async def bounded() -> T:
        async with asyncio.timeout(within):
            return await coro

    task = asyncio.create_task(bounded(), name="finish")  # noqa: TID251  # the one place
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
        except BaseException:  # noqa: BLE001, S110  # raised below, from the task itself
            pass
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # marks it as retrieved
        raise cancelled
    return task.result()


async def in_thread(act: Callable[[], T], *, within: float, pool: Executor | None = None) -> T:
    """Run `act` in a thread, to its end even while the caller is being cancelled, as `finish` does but at less cost.

    Raises TimeoutError when it has not ended after `within` seconds; the thread then goes on.
    """
    return await settled(asyncio.get_running_loop().run_in_executor(pool, act), within=within)


async def settled(future: "asyncio.Future[T]", *, within: float) -> T:
    """Wait for what cannot be undone, to its end even while the caller is being cancelled; else as `in_thread`."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait((future,), timeout=within)
        except asyncio.CancelledError as error:
            cancelled = error
            continue
        if not future.done():
            future.add_done_callback(_retrieve)
            raise cancelled or TimeoutError
    if cancelled is not None:
        _retrieve(future)
        raise cancelled
    return future.result()


def _retrieve(future: "asyncio.Future[T]") -> None:
    """Nobody will look at it, and that is no mistake."""
    if not future.cancelled():
        future.exception()


async def raising_cancellation(awaitable: Awaitable[T]) -> T:
    """Await something of a library that may swallow a cancellation, and raise the cancellation after all.

    `asyncio.wait_for` of Python 3.11, which nats-py uses, does so when the answer arrives together with it (CPython
    issue 86296), also where the answer is an error, as when a connection is lost. The loop that was cancelled would
    then go on for ever.
    """
    try:
        result = await awaitable
    except Exception as error:
        if _is_being_cancelled():
            raise asyncio.CancelledError from error
        raise
    if _is_being_cancelled():
        raise asyncio.CancelledError
    return result


def begin(group: asyncio.TaskGroup, coro: Coroutine[Any, Any, object], *, name: str) -> bool:
    """Start a task in the group, unless that is ending: then nothing is begun any more, and the answer is False.

    Whoever asks may be a task of that group which is just being cancelled; the group's own answer is a RuntimeError.
    """
    try:
        group.create_task(coro, name=name)
    except RuntimeError:
        coro.close()
        return False
    return True


async def pipelined(items: Iterable[T], act: Callable[[T], Awaitable[object]], *, at_once: int) -> None:
    """Call `act` for each item, `at_once` of them in flight. The first error cancels the rest and is raised.

    A cancellation from outside comes before any error: a TaskGroup whose tasks fail meanwhile forgets it, so none does.
    """
    bound, tasks = asyncio.Semaphore(at_once), set[asyncio.Task[None]]()
    failed: list[Exception] = []

    async def one(item: T) -> None:
        try:
            await act(item)
        except Exception as error:  # noqa: BLE001  # it is raised below
            failed.append(error)
            for task in tasks:
                task.cancel()
        finally:
            bound.release()

    async with asyncio.TaskGroup() as group:
        for item in items:
            await bound.acquire()
            if failed:
                break
            task = group.create_task(one(item), name="pipelined")
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    if failed:
        raise failed[0]


async def first_of(*coros: Coroutine[Any, Any, T]) -> T:
    """What the first one to end returns or raises; the others are cancelled and have ended by then."""
    failed: list[Exception] = []

    async def one(coro: Coroutine[Any, Any, T]) -> tuple[T, ...]:
        try:
            return (await coro,)
        except Exception as error:  # noqa: BLE001  # it is raised below
            failed.append(error)
            return ()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(coro), name="racing") for coro in coros]
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
    if failed:
        raise failed[0]
    return next(task for task in tasks if task in ended).result()[0]


async def cancelled_within(coro: Coroutine[Any, Any, T], *, within: float, name: str) -> T:
    """Await what may not heed a cancellation: if it has not ended so many seconds after one, it is left to itself."""
    task = asyncio.create_task(coro, name=name)  # noqa: TID251  # nobody waits for it where it does not end
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        task.cancel()
        with contextlib.suppress(TimeoutError):
            await settled(task, within=within)
        raise
    return task.result()


def first_leaf(error: BaseException) -> BaseException:
    """The first plain exception inside (nested) exception groups, which is the one that started the fall."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@asynccontextmanager
async def background(**loops: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.TaskGroup]:
    """Run the named `loops` while the body runs, and cancel them when it ends.

    An error in a loop ends the body. The error that started the fall is raised, not a group of them.
    """
    started: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(loop, name=name) for name, loop in loops.items()]
            try:
                yield group
            except Exception as error:
                if not _is_being_cancelled():
                    started = error
                raise
            finally:
                for task in tasks:
                    task.cancel()
    except BaseExceptionGroup as errors:
        raise first_leaf(started or errors) from None


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def process_ended(pid: int) -> None:
    """Wait until the process ends, also one that is not our child. Returns at once if it is gone already."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except OSError as error:
        if error.errno not in _NO_DESCRIPTOR:
            raise
        while not _has_ended(pid):  # noqa: ASYNC110  # an event would take a descriptor
            await asyncio.sleep(LOOK_SECONDS)
        return
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def on_readable() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(descriptor, on_readable)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _has_ended(pid: int) -> bool:
    """Without a descriptor, and without taking its exit status."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # it is no child of ours, or not any more
        return not _exists(pid)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


SAME_SIGNAL_SECONDS = 0.5
"""timeout(1) signals its command and then its group, which is one request that arrives twice."""


@asynccontextmanager
async def stop_requested() -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM or SIGINT sets; a second signal, half a second later or more, kills the process at once."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    requested_at = 0.0

    def on_signal(number: int) -> None:
        nonlocal requested_at
        if not event.is_set():
            requested_at = loop.time()
            event.set()
        elif loop.time() - requested_at >= SAME_SIGNAL_SECONDS:
            os._exit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield event
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
