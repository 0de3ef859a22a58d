"""What a docker job costs more than `docker run --rm` of its image: `python -m benchmarks.docker_overhead [--runs N]`.

Starts an engine of its own (as root, with Debian's docker.io, iptables and busybox-static), an orchestrator, one node
and SeaweedFS, runs both in turn, and prints one JSON object with medians in milliseconds. A job is timed from its
submit to its end, its result published and verified.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.e2e.stack import TERMINAL, Stack
from tests.engine import IMAGE, start_engine
from tests.servers import start_weed

POLL_SECONDS = 0.002


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(_measure(Path(folder), arguments.runs)))


def _measure(folder: Path, runs: int) -> dict[str, Any]:
    engine = start_engine()
    s3 = start_weed(folder / "weed")
    root = folder / "stack"
    root.mkdir()
    stack = Stack(root, s3)
    plain, jobs = [], []
    try:
        stack.start_orchestrator()
        stack.start_compute("node-a", Engines_Types_Docker_Socket=f"unix://{engine.socket}")
        for _ in range(runs):
            plain.append(_docker_run(engine.socket))
            jobs.append(_job(stack))
    finally:
        stack.stop()
        s3.stop()
        engine.stop()
    medians = statistics.median(plain) * 1000, statistics.median(jobs) * 1000
    return {
        "runs": runs,
        "docker_run_ms": round(medians[0], 1),
        "job_ms": round(medians[1], 1),
        "more_ms": round(medians[1] - medians[0], 1),
    }


def _docker_run(socket: Path) -> float:
    command = ["docker", "-H", f"unix://{socket}", "run", "--rm", "--network", "none", IMAGE, "/bin/true"]
    begun = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - begun


def _job(stack: Stack) -> float:
    params = {"Image": IMAGE, "Entrypoint": ["/bin/true"]}
    task = {"Name": "main", "Engine": {"Type": "docker", "Params": params}, "Publisher": {"Type": "s3managed"}}
    begun = time.monotonic()
    job = stack.submit({"Type": "batch", "Tasks": [task]})
    while (state := stack.state(job)) not in TERMINAL:
        time.sleep(POLL_SECONDS)
    assert state == "Completed", stack.describe(job)["Job"]["State"]
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
