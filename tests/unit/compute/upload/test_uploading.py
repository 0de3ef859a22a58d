"""Who is sent when: large results wait for each other, and none of the small ones waits for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from compute.upload.delivery import Trouble
from compute.upload.shared_limits import SMALL_AT_ONCE, UPLOADS_AT_ONCE, SharedLimits


@pytest.fixture
async def uploading() -> AsyncIterator[SharedLimits]:
    async with aiohttp.ClientSession() as http:
        made = SharedLimits(http)
        yield made
        await asyncio.to_thread(made.close)


def _trouble(uploading: SharedLimits) -> Trouble:
    return Trouble(lambda _: None, uploading.queued, uploading.totals)


async def _take(turns: AsyncExitStack, uploading: SharedLimits, count: int, *, is_small: bool) -> None:
    async with asyncio.timeout(0.05):
        for _ in range(count):
            await turns.enter_async_context(uploading.turn(_trouble(uploading), is_small=is_small))


@pytest.mark.parametrize(("is_small", "at_once"), [(False, UPLOADS_AT_ONCE), (True, SMALL_AT_ONCE)])
async def test_so_many_are_sent_at_once_and_the_next_one_waits(
    uploading: SharedLimits, at_once: int, *, is_small: bool
) -> None:
    async with AsyncExitStack() as turns:
        await _take(turns, uploading, at_once, is_small=is_small)
        with pytest.raises(TimeoutError):
            await _take(turns, uploading, 1, is_small=is_small)


async def test_a_small_result_does_not_wait_behind_large_ones(uploading: SharedLimits) -> None:
    async with AsyncExitStack() as turns:
        await _take(turns, uploading, UPLOADS_AT_ONCE, is_small=False)
        await _take(turns, uploading, 1, is_small=True)
        assert not uploading.queued
