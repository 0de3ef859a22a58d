"""The bucket's server is away for five minutes: what Prometheus says, what the runbook has one do, what comes of jobs.

`make outage` runs it, as root, in about eight minutes. Prometheus waits for as long as the alerts say. It ends with 1
where the alert did not come or did not go, a step of the runbook did not work, or a job was lost, ran twice, or has no
whole result.
"""

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tarpon import Client
from tarpon.results import get_results
from tests.environments import ROOT
from tests.whole_set.load import Load, judged
from tests.whole_set.machines import Machines, go_apart, whole_set

PER_SECOND = 1
QUIET_SECONDS = 20.0
AWAY_SECONDS = 300.0
PROBE_SECONDS = 30.0
"""`ProbeInterval`, within which the alert ends by itself, as the runbook says."""
SEEN_SECONDS = 20.0
"""Until Prometheus has asked, and has looked at its rules; and what a busy machine takes."""
ALERT = "TarponBucketUnusable"
ENDPOINT = "http://s3:8333"
OF_THIS_MACHINE = {"TarponNodeNotIsolated", "TarponDiskFills", "TarponNodeDiskFull"}
SETTINGS = ["-c", "/etc/tarpon/orchestrator.yaml", "-c", "/run/secrets/users.yaml"]


class Outage:
    """`seconds` are from the end of the server to what has happened, `wrong` is what should have been otherwise."""

    def __init__(self, machines: Machines) -> None:
        self.seconds: dict[str, float] = {}
        self.wrong: list[str] = []
        self.fired: set[str] = set()
        self._machines = machines
        self._began = 0.0

    async def run(self) -> None:
        await self._seen(lambda: not firing() - OF_THIS_MACHINE, "nothing is wrong before", within=60.0)
        s3 = self._machines.all["s3"]
        s3.process.kill()
        s3.process.wait()
        self._began = time.monotonic()
        await self._seen(lambda: ALERT in firing(), "the alert fires", within=AWAY_SECONDS)
        await asyncio.to_thread(self._follow_runbook)
        await asyncio.sleep(self._began + AWAY_SECONDS - time.monotonic())
        s3.start()
        await self._seen(lambda: ask(ENDPOINT) is not None, "curl ENDPOINT answers", within=SEEN_SECONDS)
        await self._seen(lambda: ALERT not in firing(), "the alert has ended", within=PROBE_SECONDS + SEEN_SECONDS)

    def _follow_runbook(self) -> None:
        """What it says of the alert, word by word, and where that leads to."""
        pages = {name: (ROOT / "docs" / name).read_text() for name in ("runbook.md", "troubleshooting.md")}
        self._check(f"### {ALERT}\n" in pages["runbook.md"], "the runbook has the alert")
        agent = told("tarpon", "agent", "node", "--output", "json")
        found = json.loads(agent.stdout)["Publishers"]["S3Managed"].get("Problem") or {}
        code = str(found.get("Code", ""))
        self._check(
            f"`{code}`" in pages["troubleshooting.md"] and found.get("Hint"),
            f"tarpon agent node tells of it: {agent.stdout}",
        )
        self._check(told("curl", "--silent", ENDPOINT).returncode != 0, "curl ENDPOINT fails")
        doctor = self.inside("orchestrator-1", "tarpon", "admin", "doctor", *SETTINGS)
        self._check(doctor.returncode == 7 and f"[{code}]" in doctor.stdout, f"the doctor says so: {doctor.stdout}")

    def check_stored(self) -> None:
        checked = self.inside("orchestrator-1", "tarpon", "admin", "check", *SETTINGS)
        self._check(checked.returncode == 0, f"tarpon admin check: {checked.stdout}{checked.stderr}")

    def inside(self, name: str, *command: str) -> "subprocess.CompletedProcess[str]":
        """On that machine and with its environment, as `docker compose exec` does it."""
        pid = self._machines.all[name].process.pid
        environment = Path(f"/proc/{pid}/environ").read_text().rstrip("\0").split("\0")
        entered = ["nsenter", f"--target={pid}", "--net", "--mount", "--uts", "--", "env", "-i"]
        return told(*entered, *environment, *command)

    async def _seen(self, is_so: Callable[[], bool], what: str, *, within: float) -> None:
        deadline = time.monotonic() + within
        while not await asyncio.to_thread(is_so):
            self.fired |= await asyncio.to_thread(firing)
            if time.monotonic() > deadline:
                self.wrong.append(f"not within {within:.0f} s: {what}")
                return
            await asyncio.sleep(0.5)
        if self._began:
            self.seconds[what] = round(time.monotonic() - self._began, 1)

    def _check(self, is_so: object, what: str) -> None:
        if not is_so:
            self.wrong.append(what)


def told(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def ask(url: str) -> bytes | None:
    """What is answered, be it a refusal; nothing where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        return error.read()
    except OSError:
        return None


def firing() -> set[str]:
    answer = ask("http://prometheus:9090/api/v1/alerts")
    alerts = json.loads(answer)["data"]["alerts"] if answer else []
    return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}


async def tried(machines: Machines, folder: Path) -> dict[str, Any]:
    load, outage = Load(PER_SECOND), Outage(machines)
    async with Client() as client:
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run(client), name="load")
            await asyncio.sleep(QUIET_SECONDS)
            load.phase = "the server is away"
            await outage.run()
            load.phase = "quiet again"
            await asyncio.sleep(QUIET_SECONDS)
            load.stopped.set()
        for each in load.submitted:
            await client.wait(each.id)
        found = await judged(client, load.submitted)
        for each in load.submitted:
            await get_results(client, each.id, output_dir=folder / each.id)
            if not re.fullmatch(r"\d+\n", (folder / each.id / "stdout").read_text()):
                outage.wrong.append(f"the result of {each.id} is not whole")
    await asyncio.to_thread(outage.check_stored)
    return {**found, "seconds": outage.seconds, "fired": sorted(outage.fired), "wrong": outage.wrong}


def main() -> int:
    go_apart()
    with tempfile.TemporaryDirectory(prefix="tarpon-outage-") as folder, whole_set(Path(folder)) as machines:
        found = asyncio.run(tried(machines, Path(folder) / "results"))
    sys.stdout.write(f"{json.dumps(found, indent=2)}\n")
    return 1 if found["wrong"] or found["lost"] or found["ran_again"] else 0


if __name__ == "__main__":
    sys.exit(main())
