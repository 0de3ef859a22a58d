"""What a node that floods costs others: `python -m benchmarks.hostile_node [FLOOD ...] [--seconds 10] [--json]`.

Real processes on this machine: an orchestrator with its NATS server, an honest node, a client that submits a job ten
times a second over the NATS API, and a node with the join secret that sends one kind of message as fast as it can
(tests/hostile_node.py). For each kind, and for none: how long the honest jobs took from the submit to the event that
says Completed, the orchestrator's memory, and what was sent. Each kind takes --seconds, at most 20.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.load import TERMINAL, Client, percentile
from benchmarks.process_meter import rss_mib
from benchmarks.rig import ROOT, Rig, rig
from benchmarks.running import end_on_sigterm, run_to_the_end, warn_of_load
from shared.ids import JobId
from shared.protocol import subjects
from tarpon.devstack.dies_with_parent import tied_command
from tests.hostile_node import Flood
from tests.servers import HOST
from tests.waiting import eventually

EVERY_SECONDS = 0.1
MOST_SECONDS = 20.0
PATIENCE_SECONDS = 20.0
"""How long the last jobs are waited for."""
JOB: dict[str, Any] = {"Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "noop"}}]}


def main() -> None:
    end_on_sigterm()
    wanted = arguments().parse_args()
    warn_of_load()
    seconds = min(MOST_SECONDS, wanted.seconds)
    with tempfile.TemporaryDirectory() as folder, rig(Path(folder), sink="discard", sync=wanted.sync) as made:
        made.start_orchestrator()
        made.start_nodes(1)
        os.environ.update(made.client_environment())
        floods: list[Flood | None] = [None, *(map(Flood, wanted.floods) if wanted.floods else Flood)]
        measured: dict[str, dict[str, Any]] = {}
        for flood in floods:
            figures = measured[flood or "none"] = run_to_the_end(measure(made, flood, seconds))
            if not wanted.json:
                print(_line({"flood": flood or "none"} | figures), flush=True)
        if wanted.json:
            print(json.dumps(measured))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("floods", nargs="*", metavar="FLOOD", help=f"of {', '.join(Flood)}; all of them by default")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each flood")
    parser.add_argument("--sync", choices=["always", "default"], default="always", help="when NATS syncs to disk")
    parser.add_argument("--json", action="store_true")
    return parser


class HonestJobs:
    """One every EVERY_SECONDS, however long the others take."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.latencies: list[float] = []
        self.submitted = 0
        self.problems: list[str] = []
        self._client = client
        self._body = json.dumps({"Job": JOB | {"Namespace": namespace}}).encode()
        self._begun: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        client.on_event = self._on_event

    def submit(self) -> None:
        begun = time.perf_counter()
        self.submitted += 1
        self._client.ask("jobs.submit", self._body).add_done_callback(
            lambda done: self._on_answer(done.result(), begun)
        )

    def _on_answer(self, answer: Any, begun: float) -> None:
        if not answer.job_id:
            self.problems.append(f"{answer.code}: {answer.message}")
        self._begun[answer.job_id or f"refused-{self.submitted}"] = begun
        self._settle(answer.job_id)

    def _on_event(self, job: str, payload: bytes) -> None:
        if json.loads(payload)["State"]["StateType"] in TERMINAL:
            self._ended[job] = time.perf_counter()
            self._settle(job)

    def _settle(self, job: str) -> None:
        if job in self._begun and job in self._ended:
            self.latencies.append(self._ended.pop(job) - self._begun.pop(job))

    @property
    def are_over(self) -> bool:
        return len(self.latencies) + len(self.problems) >= self.submitted


async def measure(made: Rig, flood: Flood | None, seconds: float) -> dict[str, Any]:
    client = Client()
    wire = await client.open()
    namespace = f"hostile-{flood or 'none'}"
    wire.subscribe(subjects.event(namespace, JobId("*"), "state"))
    jobs = HonestJobs(client, namespace)
    assert made.stack.orchestrator is not None
    pid = made.stack.orchestrator.process.pid
    memory = [rss_mib(pid)]
    with hostile(made, flood, seconds) as process:
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            jobs.submit()
            memory.append(rss_mib(pid))
            await asyncio.sleep(EVERY_SECONDS)
        with suppress(AssertionError):
            await eventually(lambda: jobs.are_over, within=PATIENCE_SECONDS)
        memory.append(rss_mib(pid))
        sent = json.loads(process.communicate(timeout=PATIENCE_SECONDS)[0]) if process else {}
    wire.close()
    ordered = sorted(jobs.latencies)
    return {
        "jobs": jobs.submitted,
        "without_end": jobs.submitted - len(ordered),
        "p50_ms": round(percentile(ordered, 0.5) * 1e3, 1),
        "p95_ms": round(percentile(ordered, 0.95) * 1e3, 1),
        "max_ms": round(ordered[-1] * 1e3, 1),
        "rss_mib": round(max(memory), 1),
        "problems": jobs.problems[:3],
    } | sent


@contextmanager
def hostile(made: Rig, flood: Flood | None, seconds: float) -> Iterator["subprocess.Popen[str] | None"]:
    if flood is None:
        yield None
        return
    arguments = [flood, str(seconds), f"hostile-{flood}", f"nats://{HOST}:{made.stack.nats_port}"]
    command = tied_command([sys.executable, "-m", "tests.hostile_node", *arguments], signal.SIGKILL)
    environment = {"PATH": os.environ["PATH"], "TARPON_COMPUTE_AUTH_TOKEN": made.stack.join_secret()}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _line(figures: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value}" for name, value in figures.items() if value not in ([], ""))


if __name__ == "__main__":
    main()
