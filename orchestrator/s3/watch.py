"""The watch over the bucket: whether it answers, found by a small read once in a while.

Whoever looks at the orchestrator learns of it here that S3 is away, also while no node publishes. Nothing is decided by
it: jobs are taken and nodes wait while S3 is away for a time, and what the probe finds is what refuses jobs.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import aiohttp

from orchestrator.rules.location import Location
from orchestrator.s3.problems import BucketProblem, explain_exception, explain_failure
from orchestrator.s3.requests import Answer
from shared.errors import StorageUnavailable


class BucketWatch:
    """`read` reads the object that the probe has written. `problem` is what was wrong last, None while all is well.

    `clock_skew_seconds` is how far S3's clock was ahead of ours, None where it did not tell.
    """

    def __init__(self, read: Callable[[], Awaitable[Answer]], location: Location, *, interval_seconds: float) -> None:
        self.problem: BucketProblem | None = None
        self.clock_skew_seconds: float | None = None
        self._read = read
        self._location = location
        self._interval_seconds = interval_seconds

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._interval_seconds)
            self.problem = await self._look()

    async def _look(self) -> BucketProblem | None:
        try:
            answer = await self._read()
        except (aiohttp.ClientError, OSError, StorageUnavailable) as error:
            return explain_exception(error, self._location)
        self.clock_skew_seconds = answer.clock_ahead_seconds(time.time())
        if answer.failure is None or answer.status == 404:  # a life-cycle rule may have removed it: S3 is there
            return None
        return explain_failure(answer.failure, self._location, self.clock_skew_seconds)

    def __repr__(self) -> str:
        return f"<BucketWatch of {self._location.place}: {self.problem.code if self.problem else 'well'}>"
