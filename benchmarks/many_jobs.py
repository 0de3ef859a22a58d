"""What many ended jobs cost: `python -m benchmarks.many_jobs [--stored 1000000] [--nodes 1000] [--jobs 3000] --json`.

An orchestrator starts on so many stored jobs, which are copies of one that really ran: without an index of ended jobs,
then with the one that it has left, first in order and then killed. Then what lists and one job take to read, and what a
new job costs. Run it from the checkout of another build for what it is beside.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.control_plane import job_of, measure
from benchmarks.load import percentile
from benchmarks.returns import API, get, http_client, wait_heard
from benchmarks.rig import Rig, rig
from benchmarks.running import end_on_sigterm, tell, warn_of_load

TRIES = 25
PAUSE = 4
"""For so many times as long as an answer took nothing is asked, as whoever takes more has to wait."""
ALL = 10**9
"""How many ended jobs are kept, so that none is to go."""
JOBS = f"{API}/jobs?namespace=*"
READS = {
    "oldest": JOBS,
    "oldest, 1,000": f"{JOBS}&limit=1000",
    "newest": f"{JOBS}&reverse=true",
    "by change": f"{JOBS}&order_by=modified_at",
    "by id": f"{JOBS}&order_by=id",
    "of a namespace": f"{API}/jobs?namespace=default",
    "state, all": f"{JOBS}&state=completed",
    "state, none": f"{JOBS}&state=failed",
    "exit code, none": f"{JOBS}&exit_code=nonzero",
    "name, none": f"{JOBS}&name=nothing-*",
    "name, all": f"{JOBS}&name=*",
    "label, none": f"{JOBS}&labels=none%3Dsuch",
    "since": f"{JOBS}&since=1h",
    "metrics": "/metrics",
}


def main() -> None:
    end_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--stored", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    warn_of_load()
    print(json.dumps(_measured(wanted.nodes, wanted.stored, wanted.jobs), indent=None if wanted.json else 2))


@contextmanager
def _rig() -> Iterator[Rig]:
    with (
        tempfile.TemporaryDirectory() as folder,
        rig(Path(folder), sink="discard", sync="default", most_jobs=ALL) as made,
    ):
        made.start_orchestrator()
        yield made


def _measured(nodes: int, stored: int, jobs: int) -> dict[str, Any]:
    answer: dict[str, Any] = {"nodes": nodes, "stored": stored}
    with _rig() as made:
        begun = time.monotonic()
        made.store_jobs(stored, job_of("process"))
        tell(f"stored and started in {time.monotonic() - begun:.0f} s")
        for name, step in (
            ("start_without", lambda: _restart(made, cold=True)),
            ("start_again", lambda: _restart(made)),
            ("start_after_kill", lambda: _restart(made, kill=True)),
            ("nodes_heard_s", lambda: _with_nodes(made, nodes)),
            ("read_p95_ms", lambda: _reads(made)),
            ("cpu_us_per_job", lambda: _cost(made, jobs)),
            ("start_with_nodes", lambda: _restart(made)),
            ("rss_mib", lambda: made.meter().memory_mib()),
        ):
            answer[name] = step()
            tell(f"{name}: {answer[name]}")
    return answer


def _cost(made: Rig, jobs: int) -> Any:
    return measure(made, engine="noop", jobs=jobs, in_flight=64, warm_up=300)["cpu_us_per_job"]


def _restart(made: Rig, *, cold: bool = False, kill: bool = False) -> dict[str, float]:
    """Seconds until it answers, and what it has in memory then. Where it is killed its NATS server goes on."""
    orchestrator = made.stack.orchestrator
    assert orchestrator is not None
    orchestrator.kill() if kill else orchestrator.stop()
    if cold:
        for left in (made.stack.root / "orchestrator" / "orchestrator").glob("jobs.sqlite*"):
            left.unlink()
    begun = time.monotonic()
    made.start_orchestrator()
    meter = made.meter()
    return {
        "ready_s": round(time.monotonic() - begun, 2),
        "cpu_s": round(meter.seconds()["orchestrator"], 2),
        "rss_mib": meter.memory_mib()["orchestrator"],
    }


def _with_nodes(made: Rig, nodes: int) -> float:
    begun = time.time()
    made.simulate_nodes(nodes)
    wait_heard(made, nodes, begun)
    return round(time.time() - begun, 1)


def _reads(made: Rig) -> dict[str, float]:
    """By an idle client on the same machine, the first time too."""
    found = {}
    with http_client(made) as client:
        oldest = json.loads(get(client, f"{READS['oldest']}&limit=1"))["Items"][0]["ID"]
        deep = ""
        for _ in range(20):
            deep = json.loads(get(client, f"{READS['oldest, 1,000']}&next_token={deep}"))["NextToken"]
        reads = READS | {
            "describe the oldest": f"{API}/jobs/{oldest}?include=executions,history",
            "a page far on": f"{JOBS}&limit=10&next_token={deep}",
        }
        for name, path in reads.items():
            taken = []
            for _ in range(TRIES):
                begun = time.perf_counter()
                get(client, path)
                taken.append(time.perf_counter() - begun)
                time.sleep(PAUSE * taken[-1])
            found[name] = round(percentile(sorted(taken), 0.95) * 1e3, 1)
    return found


if __name__ == "__main__":
    main()
