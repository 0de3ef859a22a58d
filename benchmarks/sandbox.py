"""What a sandbox costs a task of the process engine: `python -m benchmarks.sandbox [--runs N]`.

Runs `true` with and without bubblewrap in turn, each in a workspace of its own as a node has it, and prints one JSON
object with medians in milliseconds, from the start of a task to the time when nothing of it is left. Needs `bwrap`.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from compute.engines.engine import Exited
from compute.processes.strays import Strays
from tests.integration.process_bench import Bench

WARM_UP = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(_measure(Path(folder), arguments.runs))))


async def _measure(folder: Path, runs: int) -> dict[str, Any]:
    strays = Strays()
    strays.adopt()
    makers = [Bench(folder, strays), Bench(folder, strays, sandboxed=True)]
    seconds: list[list[float]] = [[], []]
    for number in range(WARM_UP + runs):
        for kind in (0, 1) if number % 2 else (1, 0):
            taken = await _run(makers[kind].another())
            if number >= WARM_UP:
                seconds[kind].append(taken)
    off, sandboxed = (statistics.median(each) * 1000 for each in seconds)
    return {
        "runs": runs,
        "off_ms": round(off, 2),
        "sandboxed_ms": round(sandboxed, 2),
        "more_ms": round(sandboxed - off, 2),
    }


async def _run(bench: Bench) -> float:
    begun = time.monotonic()
    end = await bench.run({"Entrypoint": ["true"]})
    taken = time.monotonic() - begun
    assert end == Exited(0), end
    bench.workspace.discard()
    return taken


if __name__ == "__main__":
    main()
