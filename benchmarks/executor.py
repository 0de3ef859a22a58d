"""What it brings to have many calls in one job: `python -m benchmarks.executor [--calls 1000] [--single 100] [--json]`.

A function of 1 ms, called by `tarpon.Executor.map` on two nodes, and the same with a job for each call, in turn.
`ratio` is the median over the runs of calls a second with many in a job by those with one.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.rig import Rig, rig
from benchmarks.running import end_on_sigterm, tell, warn_of_load
from tarpon import Executor
from tests.servers import HOST

RUNS = 5


def nap(number: int) -> int:
    time.sleep(0.001)
    return number


def main() -> None:
    end_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--single", type=int, default=100, help="calls that get a job each")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    warn_of_load()
    with tempfile.TemporaryDirectory() as folder, rig(Path(folder), sink="s3", sync="default") as made:
        made.start_orchestrator()
        made.start_nodes(2)
        answer = measure(made, wanted.calls, wanted.single)
    print(json.dumps(answer, indent=None if wanted.json else 2))


def measure(made: Rig, calls: int, single: int) -> dict[str, Any]:
    found: dict[str, list[float]] = {"many": [], "one": []}
    for _ in range(RUNS):
        found["many"].append(_rate(made, calls, 10_000))
        found["one"].append(_rate(made, single, 1))
        tell(f"{found['many'][-1]:.0f} calls/s in one job, {found['one'][-1]:.1f} with a job each")
    ratios = [many / one for many, one in zip(found["many"], found["one"], strict=True)]
    rates = {name: [round(each, 1) for each in rates] for name, rates in found.items()}
    return {"ratio": round(statistics.median(ratios), 1), "calls_per_s": rates}


def _rate(made: Rig, calls: int, most_calls: int) -> float:
    with Executor(HOST, made.stack.api_port, python=sys.executable, most_calls=most_calls) as executor:
        begun = time.perf_counter()
        assert list(executor.map(nap, range(calls))) == list(range(calls))
        return calls / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
