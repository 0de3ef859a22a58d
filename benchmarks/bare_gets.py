"""The floor of small GETs by aiohttp: `python -m benchmarks.bare_gets URL SIZE COUNT`.

A loop that does nothing but ask for COUNT objects `URL/SIZE/NUMBER`, AT_ONCE at a time, and forgets what comes. Prints
one JSON object.
"""

import asyncio
import json
import sys

import uvloop
from yarl import URL

from benchmarks.generating_server import ETAG
from benchmarks.meter import OwnCost
from compute.inputs.objects.get import input_session

AT_ONCE = 16
"""With which it was the fastest, of 4, 16 and 48."""
HEADERS = {"Accept-Encoding": "identity", "If-Match": ETAG}


async def run(url: str, size: int, count: int) -> dict[str, float]:
    urls = iter([URL(f"{url}/{size}/{number}", encoded=True) for number in range(count)])
    async with input_session() as http:

        async def ask() -> None:
            for each in urls:
                async with http.get(each, headers=HEADERS, allow_redirects=False) as answer:
                    await answer.read()

        cost = OwnCost()
        async with asyncio.TaskGroup() as group:
            for number in range(AT_ONCE):
                group.create_task(ask(), name=f"asks {number}")
        return cost.so_far()


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
