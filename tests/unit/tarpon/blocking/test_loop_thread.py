"""A loop in a thread: what it gives comes to a caller that does not await, and an interruption ends it."""

import asyncio
import gc
import signal
import threading
from collections.abc import AsyncGenerator, Iterator

import pytest

from tarpon.blocking.loop_thread import LoopThread


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    made = LoopThread("test")
    yield made
    made.close()


class Counted:
    """An endless generator that tells when it is over."""

    def __init__(self) -> None:
        self.is_over = threading.Event()

    async def items(self) -> AsyncGenerator[int, None]:
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            self.is_over.set()


async def answer(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def fail() -> None:
    raise LookupError("not there")


def test_what_is_awaited_there_comes_back_here(loop: LoopThread) -> None:
    assert loop.run(answer(3)) == 3


def test_an_error_comes_back_as_it_is(loop: LoopThread) -> None:
    with pytest.raises(LookupError, match="not there"):
        loop.run(fail())


async def test_it_works_where_a_loop_runs_already(loop: LoopThread) -> None:
    assert loop.run(answer(3)) == 3


def test_a_generator_is_an_iterator_that_ends_with_its_reader(loop: LoopThread) -> None:
    counted = Counted()
    items = loop.each(counted.items())
    assert [next(items), next(items)] == [0, 1]
    del items
    gc.collect()
    assert counted.is_over.wait(10)


def test_an_interruption_of_the_caller_ends_what_it_waited_for(loop: LoopThread) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    def interrupt() -> None:
        begun.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        loop.run(wait())
    thread.join()
    assert ended.is_set()


def test_a_call_that_blocks_within_the_loop_is_refused_before_it_stands_still(loop: LoopThread) -> None:
    async def within() -> None:
        loop.run(answer(3))

    with pytest.raises(RuntimeError, match="in the thread that would have to carry it out"):
        loop.run(within())


def test_what_runs_still_is_ended_when_it_is_closed(loop: LoopThread) -> None:
    counted = Counted()
    items = loop.each(counted.items())
    assert next(items) == 0
    loop.close()
    assert counted.is_over.is_set()
    with pytest.raises(RuntimeError, match="after the end"):
        next(items)
