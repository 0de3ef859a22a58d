"""A rolling restart under load: every machine of deploy/compose, one at a time, into another version and back.

`make rolling OLD=COMMIT` runs it, as root. It installs that commit into an environment of its own, submits five jobs a
second, restarts nodes, orchestrators, NATS servers and the proxy, and ends with 1 where a job was lost or ran twice, a
submit was refused for too long, or jobs took much longer than before.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from tarpon import Client
from tests.earlier_version import earlier_python
from tests.environments import ROOT
from tests.whole_set.load import Load, judged
from tests.whole_set.machines import Machines, go_apart, wait_until, whole_set

PER_SECOND = 5
QUIET_SECONDS = 20.0
SETTLE_SECONDS = {"node": 2.0, "orchestrator": 5.0, "nats": 8.0, "proxy": 2.0}
"""After each: a lease is taken over, and streams have leaders on servers that have caught up."""
MOST_REFUSED_SECONDS = 5.0
MOST_SLOWER = 3.0


def roll(machines: Machines, path: str) -> None:
    """Restart each with the programs of this PATH, once the one before is back."""
    for kind, settle in SETTLE_SECONDS.items():
        for name, machine in machines.all.items():
            if name.split("-")[0] == kind:
                machine.process.terminate()
                machine.process.wait()
                machine.start(path)
                wait_until(partial(machines.is_back, name), f"{name} is back")
                time.sleep(settle)


async def rolled(machines: Machines, old: Path) -> dict[str, Any]:
    """What came of it, phase by phase."""
    load, new_path = Load(PER_SECOND), os.environ["PATH"]
    async with Client() as client:
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run(client), name="load")
            await asyncio.sleep(QUIET_SECONDS)
            load.phase = "to the other version"
            await asyncio.to_thread(roll, machines, f"{old}:{new_path}")
            load.phase = "and back"
            await asyncio.to_thread(roll, machines, new_path)
            load.phase = "quiet again"
            await asyncio.sleep(QUIET_SECONDS)
            load.stopped.set()
        await asyncio.sleep(MOST_REFUSED_SECONDS)
        return await judged(client, load.submitted)


def is_well(found: dict[str, Any]) -> bool:
    quiet = found["p95_seconds"]["quiet"]
    return (
        not found["lost"]
        and not found["ran_again"]
        and found["longest_submit_seconds"] <= MOST_REFUSED_SECONDS
        and max(found["p95_seconds"].values()) <= MOST_SLOWER * quiet
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", default="HEAD~1", help="the commit into which all is restarted, and back")
    parser.add_argument("--programs", type=Path, help="the folder of its programs, where it is installed already")
    given = parser.parse_args()
    if given.programs is None:  # which needs the network that the machines have not
        programs = str(earlier_python(given.old).parent)
        again = [sys.executable, "-m", "tests.whole_set.rolling", "--programs", programs]
        return subprocess.run(again, cwd=ROOT, check=False).returncode
    go_apart()
    with tempfile.TemporaryDirectory(prefix="tarpon-rolling-") as folder, whole_set(Path(folder)) as machines:
        found = asyncio.run(rolled(machines, given.programs))
    sys.stdout.write(f"{json.dumps(found, indent=2)}\n")
    return 0 if is_well(found) else 1


if __name__ == "__main__":
    sys.exit(main())
