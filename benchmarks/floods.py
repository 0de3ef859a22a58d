"""What a flood by one identity costs others: `python -m benchmarks.floods [KIND ...] [--seconds 8] [--json]`.

Real processes on this machine, as in benchmarks/hostile_node.py, whose honest jobs these are: ten a second by one
program, each from its submit to the event that says Completed. Beside them benchmarks/flooding.py does one kind of
thing, or tests/hostile_node.py as a node that has joined. For each kind, and for none: the latency of the honest jobs
while it lasts, the most memory of the orchestrator, how long after its end jobs still took twice as long as without
it, and what the flood did. It ends by itself; each kind takes --seconds, at most 20, and some seconds to come to rest.
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

from benchmarks.flooding import NOOP, Kind
from benchmarks.hostile_node import EVERY_SECONDS, MOST_SECONDS, PATIENCE_SECONDS, HonestJobs
from benchmarks.load import Client, percentile
from benchmarks.process_meter import rss_mib
from benchmarks.rig import ROOT, SYNC, Rig, rig
from benchmarks.running import end_on_sigterm, run_to_the_end, warn_of_load
from orchestrator.admission.secret_files import integration_password
from shared.ids import JobId
from shared.protocol import subjects
from shared.settings.secret import Secret
from tarpon.devstack.dies_with_parent import tied_command
from tests.hostile_node import Flood
from tests.servers import HOST
from tests.waiting import eventually

REST_SECONDS = 6.0
"""How long it is looked whether all is as before."""
WRITES = "i=0; while [ $i -lt 100000 ]; do echo 'a line of a task that many read'; i=$((i+1)); done; sleep 600"
USERS = [{"Username": "snoopy", "Password": "doghouse-1950", "Capabilities": [{"Actions": ["read:*"]}]}]
OF_NODES = {f"node-{flood}": flood for flood in (Flood.HEARTBEATS, Flood.UNKNOWN, Flood.REQUESTS)}


def main() -> None:
    end_on_sigterm()
    wanted = arguments().parse_args()
    warn_of_load()
    seconds = min(MOST_SECONDS, wanted.seconds)
    with tempfile.TemporaryDirectory() as folder, rig(Path(folder), sink="discard", sync=wanted.sync) as made:
        settings = {"API_Auth_Users": json.dumps(USERS), "Orchestrator_NATS_SyncInterval": SYNC[wanted.sync]}
        made.stack.start_asking_orchestrator(**settings)
        made.start_nodes(1)
        environment = flooder_environment(made) | {"FLOOD_NICE": str(wanted.nice)}
        os.environ.update(made.client_environment())
        kinds = ["none", *(wanted.kinds or [*Kind, *OF_NODES])]
        measured: dict[str, dict[str, Any]] = {}
        for kind in kinds:
            measured[kind] = run_to_the_end(
                measure(made, kind, (seconds, wanted.rest), environment, measured.get("none", {}))
            )
            if not wanted.json:
                print(
                    "  ".join(f"{name} {value}" for name, value in ({"kind": kind} | measured[kind]).items()),
                    flush=True,
                )
        if wanted.json:
            print(json.dumps(measured))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ", ".join([*Kind, *OF_NODES])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {known}; all of them by default")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each flood")
    parser.add_argument("--rest", type=float, default=REST_SECONDS, help="seconds to look for rest after each")
    parser.add_argument("--nice", type=int, default=19, help="the priority of what floods")
    parser.add_argument("--sync", choices=[*SYNC], default="always", help="when NATS syncs to disk")
    parser.add_argument("--json", action="store_true")
    return parser


def flooder_environment(made: Rig) -> dict[str, str]:
    """With a key of its own, limited to a namespace of its own, and a task that writes much."""
    stack = made.stack
    wanted = {"Name": "flooder", "Capabilities": ["*"], "Namespaces": ["flood"]}
    key = stack.api("/orchestrator/users", wanted, "PUT")["Key"]
    engine = {"Type": "process", "Params": {"Entrypoint": ["/bin/sh", "-c", WRITES]}}
    resources = {"CPU": "10m", "Memory": "16mb"}
    job = NOOP | {"Tasks": [{"Name": "main", "Engine": engine, "Resources": resources}]}
    secret = (stack.root / "orchestrator" / "orchestrator" / "secrets" / "integration.secret").read_text().strip()
    return {
        "PATH": os.environ["PATH"],
        "NATS_URL": stack.nats_url,
        "FLOOD_API": stack.api_url,
        "FLOOD_KEY": key,
        "FLOOD_JOB": stack.submit(job),
        "FLOOD_PASSWORD": integration_password(Secret(secret), "flooder").reveal(),
        "TARPON_COMPUTE_AUTH_TOKEN": stack.join_secret(),
    }


async def measure(
    made: Rig, kind: str, lasts: tuple[float, float], environment: dict[str, str], quiet: dict[str, Any]
) -> dict[str, Any]:
    """`lasts` are the seconds of the flood and of the rest after it."""
    seconds, rest = lasts
    client = Client()
    wire = await client.open()
    namespace = f"beside-{kind}"
    wire.subscribe(subjects.event(namespace, JobId("*"), "state"))
    jobs = HonestJobs(client, namespace)
    assert made.stack.orchestrator is not None
    pid = made.stack.orchestrator.process.pid
    memory = [rss_mib(pid)]
    with flooding(made, kind, seconds, environment) as process:
        await _submit(jobs, seconds, memory, pid)
        beside = len(jobs.latencies)
        slow_until = await _rest(jobs, memory, pid, rest, bound=2 * quiet.get("p95_ms", 1000.0) / 1e3)
        with suppress(AssertionError):
            await eventually(lambda: jobs.are_over, within=PATIENCE_SECONDS)
        did = _did(process) if process else {}
    wire.close()
    ordered = sorted(jobs.latencies[:beside]) or [0.0]
    return {
        "jobs": jobs.submitted,
        "without_end": jobs.submitted - len(jobs.latencies),
        "p50_ms": round(percentile(ordered, 0.5) * 1e3, 1),
        "p95_ms": round(percentile(ordered, 0.95) * 1e3, 1),
        "max_ms": round(ordered[-1] * 1e3, 1),
        "rss_mib": round(max(memory), 1),
        "normal_after_s": round(slow_until, 1),
        "problems": jobs.problems[:3],
        "did": did,
    }


def _did(process: "subprocess.Popen[str]") -> Any:
    try:
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:  # at the lowest priority it may starve
        return "not ended in time"
    return json.loads(said.splitlines()[-1]) if said else {}


async def _submit(jobs: HonestJobs, seconds: float, memory: list[float], pid: int) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        jobs.submit()
        memory.append(rss_mib(pid))
        await asyncio.sleep(EVERY_SECONDS)


async def _rest(jobs: HonestJobs, memory: list[float], pid: int, seconds: float, *, bound: float) -> float:
    """After how many seconds the last job ended that took longer than `bound`."""
    begun, seen, slow_until = time.monotonic(), len(jobs.latencies), 0.0
    while time.monotonic() - begun < seconds:
        await _submit(jobs, EVERY_SECONDS, memory, pid)
        if any(latency > bound for latency in jobs.latencies[seen:]):
            slow_until = time.monotonic() - begun
        seen = len(jobs.latencies)
    return slow_until


@contextmanager
def flooding(
    made: Rig, kind: str, seconds: float, environment: dict[str, str]
) -> Iterator["subprocess.Popen[str] | None"]:
    if kind == "none":
        yield None
        return
    arguments = ["benchmarks.flooding", kind, str(seconds)]
    if kind in OF_NODES:
        server = f"nats://{HOST}:{made.stack.nats_port}"
        arguments = ["tests.hostile_node", OF_NODES[kind], str(seconds), f"hostile-{kind}", server]
    nice = ["nice", "-n", environment["FLOOD_NICE"]] if kind in OF_NODES else []  # the other is so by itself
    command = tied_command([*nice, sys.executable, "-m", *arguments], signal.SIGKILL)
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            if kind not in OF_NODES:
                assert process.stdout is not None
                process.stdout.readline()  # it begins now
            yield process
        finally:
            process.kill()


if __name__ == "__main__":
    main()
