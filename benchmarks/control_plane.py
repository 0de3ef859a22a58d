"""What a job costs apart from its task: `python -m benchmarks.control_plane --json`.

Real processes on this machine: an orchestrator, its NATS server, compute nodes, an S3 server, and a client that submits
over the NATS API and keeps a fixed number of jobs in flight. Measured after a warm-up: jobs per second, the time from
submit to the event that says Completed, and the processor time of each process for a job. At the end the API has to
say that every job is Completed.

With `--tls` all that goes over NATS is encrypted. `--turns 5` has two such systems, one without TLS and one with it,
each of which is measured so many times in turn: `ratio` is what TLS leaves of the jobs per second.
"""

import argparse
import json
import os
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.process_meter import ProcessMeter
from benchmarks.rig import Load, Rig, rig
from benchmarks.running import end_on_sigterm, tell, warn_of_load

ENGINES = ("noop", "process", "wasm")
MODULE = "AGFzbQEAAAABBAFgAAADAgEABQMBAAEHEwIGbWVtb3J5AgAGX3N0YXJ0AAAKBAECAAs="
"""One that does nothing."""
WARM_UP = 300
LOOK_SECONDS = 1.0


def main() -> None:
    end_on_sigterm()
    wanted = arguments().parse_args()
    warn_of_load()
    answer = _in_turn(wanted) if wanted.turns else _once(wanted)
    about = {name: getattr(wanted, name) for name in ("engine", "sink", "sync", "nodes", "stored", "in_flight", "jobs")}
    show(about | answer, as_json=wanted.json)


def _once(wanted: argparse.Namespace) -> dict[str, Any]:
    with _started(wanted, tls=wanted.tls) as made:
        return _measured(made, wanted) | {"tls": wanted.tls}


def _in_turn(wanted: argparse.Namespace) -> dict[str, Any]:
    """Which is measured first changes from turn to turn, so that what others do on the machine meets both alike."""
    found: dict[str, list[dict[str, Any]]] = {"plain": [], "tls": []}
    with ExitStack() as stack:
        rigs = {name: stack.enter_context(_started(wanted, tls=name == "tls")) for name in found}
        for turn in range(wanted.turns):
            for name in sorted(rigs, reverse=bool(turn % 2)):
                found[name].append(_measured(rigs[name], wanted))
                tell(f"{name}: {found[name][-1]['jobs_per_s']:.0f} jobs/s, load {os.getloadavg()[0]:.1f}")
    rates = {name: [each["jobs_per_s"] for each in answers] for name, answers in found.items()}
    ratios = [tls / plain for plain, tls in zip(rates["plain"], rates["tls"], strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(each, 3) for each in ratios],
        "jobs_per_s": rates,
        "cpu_us_per_job": {name: _medians([each["cpu_us_per_job"] for each in found[name]]) for name in found},
        "p50_ms": {name: statistics.median(each["p50_ms"] for each in found[name]) for name in found},
        "failed": sum(each["failed"] for answers in found.values() for each in answers),
    }


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


@contextmanager
def _started(wanted: argparse.Namespace, *, tls: bool) -> Iterator[Rig]:
    with (
        tempfile.TemporaryDirectory() as folder,
        rig(Path(folder), sink=wanted.sink, sync=wanted.sync, most_jobs=wanted.most_jobs, tls=tls) as made,
    ):
        made.start_orchestrator()
        if wanted.stored:
            made.store_jobs(wanted.stored, job_of("process"))
        if wanted.simulated:
            made.simulate_nodes(wanted.nodes)
        else:
            made.start_nodes(wanted.nodes, sandbox=wanted.sandbox)
        yield made


def _measured(made: Rig, wanted: argparse.Namespace) -> dict[str, Any]:
    return measure(made, engine=wanted.engine, jobs=wanted.jobs, in_flight=wanted.in_flight, warm_up=wanted.warm_up)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--simulated", action="store_true", help="nodes that share processes, with the engine noop")
    parser.add_argument("--stored", type=int, default=0, help="how many ended jobs are there before")
    parser.add_argument("--engine", choices=ENGINES, default="noop")
    parser.add_argument("--sink", choices=["discard", "s3"], default="discard")
    parser.add_argument("--sync", choices=["always", "default"], default="default", help="when NATS syncs to disk")
    parser.add_argument("--sandbox", choices=["off", "require"], default="off", help="whether tasks are behind walls")
    parser.add_argument("--in-flight", type=int, default=128)
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="jobs that are not counted")
    parser.add_argument("--most-jobs", type=int, default=0, help="how many ended jobs are kept")
    parser.add_argument("--tls", action="store_true", help="whether NATS and the API are encrypted")
    parser.add_argument("--turns", type=int, default=0, help="measure without and with TLS, so often in turn")
    parser.add_argument("--json", action="store_true")
    return parser


def job_of(engine: str) -> dict[str, Any]:
    """`true`, or a module that does nothing, with its result; or nothing at all."""
    if engine == "noop":
        return {"Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "noop"}}]}
    task: dict[str, Any] = {"Engine": {"Type": "process", "Params": {"Entrypoint": ["true"]}}}
    if engine == "wasm":
        inline = {"Type": "inline", "Params": {"URL": f"data:application/wasm;base64,{MODULE}"}}
        task = {
            "Engine": {"Type": "wasm", "Params": {"EntryModule": "/true.wasm"}},
            "InputSources": [{"Source": inline, "Target": "/true.wasm"}],
        }
    return {
        "Type": "batch",
        "Tasks": [
            {
                "Name": "main",
                **task,
                "Publisher": {"Type": "s3managed"},
                "Resources": {"CPU": "100m", "Memory": "16mb"},
            }
        ],
    }


def measure(made: Rig, *, engine: str, jobs: int, in_flight: int, warm_up: int) -> dict[str, Any]:
    load = Load(made, job_of(engine), jobs=jobs, in_flight=in_flight, warm_up=warm_up)
    try:
        load.step()
        meter = made.meter(client=[load.pid])
        meter.begin()
        with memory_over_time(meter) as course:
            answer = load.step()
        seconds, memory = meter.seconds(), meter.memory_mib()
        states = load.step()
    finally:
        load.close()
    if set(states) != {"Completed"} or (states["Completed"] < jobs and not made.forgets):
        raise SystemExit(f"Of {jobs} jobs, the API says: {states}; the client: {answer}")
    return answer | {
        "cpu_us_per_job": {name: round(spent / jobs * 1e6) for name, spent in seconds.items()},
        "cpu_us_per_job_all": round(sum(seconds.values()) / jobs * 1e6),
        "rss_mib": memory,
        "rss_mib_over_time": {name: thinned([each[name] for each in course]) for name in memory},
        "cpus": os.cpu_count(),
    }


@contextmanager
def memory_over_time(meter: ProcessMeter) -> Iterator[list[dict[str, float]]]:
    """A look at the memory every second, taken in a thread."""
    course, over = [meter.memory_mib()], threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            course.append(meter.memory_mib())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield course
    finally:
        over.set()
        thread.join()


def thinned(values: list[float], most: int = 11) -> list[float]:
    """At most so many of them, evenly spread, with the first and the last."""
    last = len(values) - 1
    return [values[round(number * last / (most - 1))] for number in range(most)] if last >= most else values


def show(answer: dict[str, Any], *, as_json: bool) -> None:
    print(json.dumps(answer) if as_json else json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()
