"""What is behind `tarpon job get`, for benchmarks.fetch: `python -m benchmarks.fetching HOST PORT JOB FOLDER`.

Fetches, checks and extracts the result of the job into the folder once, and prints one JSON object.
"""

import asyncio
import json
import sys
from pathlib import Path

from benchmarks.meter import OwnCost
from tarpon.client import Client
from tarpon.results.fetch_job import get_results


async def fetch(host: str, port: int, job: str, folder: Path) -> dict[str, float]:
    async with Client(host, port) as client:
        cost = OwnCost()
        await get_results(client, job, output_dir=folder)
        return cost.so_far()


def main(host: str, port: str, job: str, folder: str) -> None:
    print(json.dumps(asyncio.run(fetch(host, int(port), job, Path(folder)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
