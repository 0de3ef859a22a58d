"""Metering: the steps of a coroutine are counted, and nothing else of it changes."""

import asyncio
import time

import pytest

from shared.runtime.metering import metered


def busy(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def test_what_a_coroutine_does_is_counted_and_what_it_waits_for_is_not() -> None:
    async def work() -> str:
        busy(0.02)
        await asyncio.sleep(0.05)
        busy(0.02)
        return "done"

    took: list[float] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(busy, 0.03))
        assert await metered(work(), took.append) == "done"
    assert len(took) == 2
    assert 0.04 <= sum(took) < 0.05


async def test_what_it_raises_is_raised() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise ValueError("as it was")

    with pytest.raises(ValueError, match="as it was"):
        await metered(work(), lambda _: None)


async def test_that_it_is_cancelled_is_told_to_it() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("in order")

    async def run() -> None:
        await metered(work(), lambda _: None)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run())
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()
    assert ended == ["in order"]


async def test_time_outs_inside_of_it_hold() -> None:
    async def work() -> str:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            return "late"
        return ""

    assert await metered(work(), lambda _: None) == "late"
