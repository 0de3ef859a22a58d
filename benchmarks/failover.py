"""What leaders that die or hang cost: `python -m benchmarks.failover [--kills 20] [--pauses 20] [--nats 5]`.

Three orchestrators on a cluster of three NATS servers, two compute nodes, and a steady flow of jobs, while the
orchestrator that leads is killed or paused for longer than its lease, again and again, and one NATS server after the
other is killed and comes back. A take-over is the time from the fault to the next placement by another orchestrator.

Prints one JSON object. Takes about ten seconds a fault.
"""

import argparse
import json
import math
import random
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.running import end_on_sigterm, tell, warn_of_load
from tests.e2e.cluster import SIZE, Cluster
from tests.e2e.failover import Fault, Flow, Outcome, judge, kill_leader, kill_nats, pause_leader
from tests.servers import start_weed

SHORTEST_PAUSE_SECONDS = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pauses", type=int, default=20)
    parser.add_argument("--nats", type=int, default=5, help="how often a NATS server is killed")
    parser.add_argument("--longest", type=float, default=9.0, help="seconds of the longest pause")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    end_on_sigterm()
    warn_of_load()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("s3", "cluster"):
            (root / name).mkdir()
        s3 = start_weed(root / "s3")
        cluster = Cluster(root / "cluster", s3)
        try:
            cluster.start()
            answer = _run(cluster, arguments)
            cluster.stop()
        except AssertionError:
            for each in (*cluster.orchestrators, *cluster.nats):
                tell(f"---- {each.log.name}\n{each.tail()}")
            raise
        finally:
            cluster.kill()
            s3.stop()
    print(json.dumps(answer | {"seed": arguments.seed}, indent=2))


def _run(cluster: Cluster, wanted: argparse.Namespace) -> dict[str, Any]:
    flow, dice = Flow(cluster), random.Random(wanted.seed)
    steps: list[Callable[[], Fault]] = [partial(kill_leader, cluster) for _ in range(wanted.kills)]
    for _ in range(wanted.pauses):
        seconds = dice.uniform(SHORTEST_PAUSE_SECONDS, wanted.longest)
        steps.append(partial(pause_leader, cluster, seconds))
    steps += [partial(kill_nats, cluster, number % SIZE) for number in range(wanted.nats)]
    dice.shuffle(steps)
    faults: list[Fault] = []
    with flow.going():
        for step in steps:
            faults.append(step())
            tell(f"{len(faults)} of {len(steps)} faults ({faults[-1].kind}), {len(flow.accepted)} jobs")
    return _figures(judge(cluster, flow, faults))


def _figures(outcome: Outcome) -> dict[str, Any]:
    return {
        "jobs_accepted": outcome.accepted,
        "submissions_repeated": outcome.repeated,
        "executions": outcome.executions,
        "lost": len(outcome.lost),
        "doubled": len(outcome.doubled),
        "take_over_s": {kind: _spread(seconds) for kind, seconds in outcome.take_overs.items()},
        "reads": outcome.reads,
        "reads_failed": len(outcome.failed_reads),
        "longest_failed_read_s": round(max((seconds for seconds, _ in outcome.failed_reads), default=0.0), 2),
        "orchestrators_differ_about": len(outcome.differing),
        "what_went_wrong": [*list(outcome.lost.items())[:3], *list(outcome.doubled.items())[:3]],
    }


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "count": len(ordered),
        "p50": ordered[(len(ordered) - 1) // 2],
        "p95": ordered[math.ceil(0.95 * len(ordered)) - 1],
        "max": ordered[-1],
    }


if __name__ == "__main__":
    main()
