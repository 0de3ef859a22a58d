"""What many nodes and many stored jobs cost: `python -m benchmarks.scale [--nodes 1000] [--stored 100000] --json`.

Whole nodes with connections of their own, but without tasks, and copies of a job that really ran. Measured, in this
order: what idle nodes and a steady flow of reads cost, how long reads take, from submit to assignment, jobs beside all
that, how long until all nodes are back after the NATS server was killed, and how long a restart takes.

`--growth 10000,100000,300000` measures instead what a job costs beside so many stored ones: while all of them are kept,
and while the oldest one is removed for each one that ends, as it is where Tarpon has run for long.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.control_plane import job_of, measure
from benchmarks.load import percentile
from benchmarks.process_meter import ProcessMeter
from benchmarks.returns import API, after_nats, after_restart, get, http_client, seconds
from benchmarks.rig import Rig, rig
from benchmarks.running import end_on_sigterm, tell, warn_of_load

IDLE_SECONDS = 30.0
READS_PER_SECOND = 10
READS = {
    "list": f"{API}/jobs?namespace=*",
    "list_100": f"{API}/jobs?namespace=*&limit=100",
    "list_by_label": f"{API}/jobs?namespace=*&labels=none%3Dsuch",
    "list_by_change": f"{API}/jobs?namespace=*&order_by=modified_at",
    "metrics": "/metrics",
    "debug": "/api/v1/agent/debug",
}
ALL_JOBS = 10**9
"""How many ended jobs are kept where none is to go while jobs are measured."""
TRIES = 40
PLACED = 300


def main() -> None:
    end_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--stored", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--growth", default="", help="numbers of stored jobs")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    warn_of_load()
    if wanted.growth:
        answer = {stored: _growth(int(stored), wanted.jobs) for stored in wanted.growth.split(",")}
    else:
        answer = _scale(wanted.nodes, wanted.stored, wanted.jobs)
    print(json.dumps(answer, indent=None if wanted.json else 2))


@contextmanager
def _filled(stored: int, nodes: int, *, most_jobs: int = 0) -> Iterator[Rig]:
    with (
        tempfile.TemporaryDirectory() as folder,
        rig(Path(folder), sink="discard", sync="default", most_jobs=most_jobs) as made,
    ):
        made.start_orchestrator()
        if stored:
            made.store_jobs(stored, job_of("process"))
        made.simulate_nodes(nodes)
        yield made


def _growth(stored: int, jobs: int) -> dict[str, Any]:
    found = {}
    for name, most_jobs in (("all_kept", ALL_JOBS), ("oldest_removed", stored)):
        with _filled(stored, 10, most_jobs=most_jobs) as made:
            answer = measure(made, engine="noop", jobs=jobs, in_flight=64, warm_up=300)
        found[name] = {key: answer[key] for key in ("jobs_per_s", "p95_ms", "cpu_us_per_job", "rss_mib")}
        tell(f"{stored}, {name}: {found[name]}")
    return found


def _scale(nodes: int, stored: int, jobs: int) -> dict[str, Any]:
    with _filled(stored, nodes) as made:
        answer: dict[str, Any] = {"nodes": nodes, "stored": stored, "rss_mib": made.meter().memory_mib()}
        steps: dict[str, Callable[[], Any]] = {
            "idle_percent": lambda: _idle(made),
            "busy_reading_percent": lambda: _reading(made),
            "reads_p95_ms": lambda: _reads(made),
            "placed": lambda: _placed(made),
            "jobs": lambda: measure(made, engine="noop", jobs=jobs, in_flight=128, warm_up=300),
            "back_after_nats_s": lambda: after_nats(made, nodes),
            "restart": lambda: after_restart(made, nodes),
        }
        for name, step in steps.items():
            answer[name] = step()
            tell(f"{name}: {answer[name]}")
    return answer


def _idle(made: Rig) -> dict[str, float]:
    """Of one processor, by process: heartbeats, registrations and time-outs alone."""
    meter = made.meter()
    meter.begin()
    time.sleep(IDLE_SECONDS)
    return _percent(meter, IDLE_SECONDS)


def _reading(made: Rig) -> dict[str, float]:
    """The same with reads: a page of jobs and one job ten times a second each, and all nodes once a second."""
    meter = made.meter()
    with http_client(made) as client:
        some = [item["ID"] for item in json.loads(get(client, READS["list_100"]))["Items"]]
        meter.begin()
        begun = time.monotonic()
        for number in range(int(IDLE_SECONDS * READS_PER_SECOND)):
            get(client, READS["list"])
            get(client, f"{API}/jobs/{some[number % len(some)]}?include=executions,history")
            if number % READS_PER_SECOND == 0:
                get(client, f"{API}/nodes")
            time.sleep(max(0.0, begun + (number + 1) / READS_PER_SECOND - time.monotonic()))
        return _percent(meter, time.monotonic() - begun)


def _percent(meter: ProcessMeter, seconds: float) -> dict[str, float]:
    return {name: round(spent / seconds * 100, 1) for name, spent in meter.seconds().items()}


def _reads(made: Rig) -> dict[str, float]:
    """By an idle client on the same machine, so with the way there and back."""
    found = {}
    with http_client(made) as client:
        for name, path in (READS | {"nodes": f"{API}/nodes"}).items():
            taken = []
            for _ in range(TRIES):
                begun = time.perf_counter()
                get(client, path)
                taken.append(time.perf_counter() - begun)
            found[name] = round(percentile(sorted(taken), 0.95) * 1e3, 1)
    return found


def _placed(made: Rig) -> dict[str, float]:
    """Of jobs of which eight are in flight: from submit to placement and to the start on the node, by their history."""
    measure(made, engine="noop", jobs=PLACED, in_flight=8, warm_up=0)
    placed, started = [], []
    with http_client(made) as client:
        jobs = json.loads(get(client, f"{API}/jobs?namespace=*&limit={PLACED}"))["Items"]
        for job in jobs:
            items = json.loads(get(client, f"{API}/jobs/{job['ID']}/history"))["Items"]
            times = {item["Event"]["Topic"]: seconds(item["Event"]["Timestamp"]) for item in reversed(items)}
            placed.append(times["Scheduling"] - times["Submission"])
            started.append(times["Running Execution"] - times["Submission"])
    return {
        "placed_p50_ms": round(percentile(sorted(placed), 0.5) * 1e3, 1),
        "placed_p95_ms": round(percentile(sorted(placed), 0.95) * 1e3, 1),
        "started_p95_ms": round(percentile(sorted(started), 0.95) * 1e3, 1),
    }


if __name__ == "__main__":
    main()
