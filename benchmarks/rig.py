"""The processes of a benchmark of the whole: orchestrator with its NATS server, nodes and S3, on loopback."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.process_meter import ProcessMeter, living_children
from benchmarks.stored_jobs import read_original, store
from orchestrator.admission.secret_files import integration_password
from shared.protocol.subjects import integration_inbox
from shared.settings.secret import Secret
from tarpon.devstack.dies_with_parent import tied_command
from tests.e2e.stack import Service, Stack, wait_until
from tests.servers import S3Server, start_weed

ROOT = Path(__file__).parents[1]
SYNC = {"always": "always", "default": "2m"}
"""What nats-server syncs by when nobody tells it otherwise."""
PRINCIPAL = "benchmark"
SIMULATED_PROCESSES = 2
READY_SECONDS = 120.0
CONNECTED_NODES = 'tarpon_nodes{connection="CONNECTED"}'


class DiscardingS3(S3Server):
    """benchmarks/small_objects_server.py in the place of SeaweedFS."""

    def start(self) -> None:
        command = [sys.executable, "-m", "benchmarks.small_objects_server"]
        self._process = subprocess.Popen(tied_command(command, signal.SIGKILL), cwd=ROOT, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.endpoint = f"http://{self.host}:{self.port}"

    def create_bucket(self, name: str = "", *, prefix: str = "results") -> str:  # noqa: ARG002  # it checks nothing
        return name or "bucket"

    def log_tail(self) -> str:
        return ""


class Rig:
    """Started by `rig`; `root` is where its processes keep their files and logs."""

    def __init__(
        self,
        root: Path,
        s3: S3Server,
        sync: str,
        most_jobs: int = 0,
        *,
        tls: bool = False,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.s3 = s3
        self.stack = Stack(root, s3, encrypted=tls)
        self.stack.shown = root  # where tasks look whether they may end
        self.forgets = most_jobs > 0
        self._settings: dict[str, Any] = {"Orchestrator_NATS_SyncInterval": SYNC[sync], **settings}
        if most_jobs:
            self._settings["Orchestrator_JobRetention_MaxJobs"] = str(most_jobs)
        self._simulated: list[subprocess.Popen[str]] = []

    def __repr__(self) -> str:
        return f"<Rig in {self.stack.root}>"

    def start_orchestrator(self) -> Service:
        started = self.stack.start_orchestrator(**self._settings, ready=False)
        self.stack.wait_ready(within=READY_SECONDS)
        return started

    def start_nodes(self, count: int, *, sandbox: str = "off") -> None:
        """Real ones, a process each, which give tasks the whole machine; they beat as often as by default."""
        for number in range(1, count + 1):
            self.stack.start_compute(
                f"node-{number}",
                python=sys.executable,
                Compute_Heartbeat_Interval="15s",
                Compute_AllocatedCapacity_CPU="100%",
                Engines_Types_Process_Sandbox=sandbox,
            )

    def simulate_nodes(self, count: int) -> None:
        """Whole nodes, but for their engine, which does nothing; they share a few processes."""
        environment = {"PATH": os.environ["PATH"], "TARPON_COMPUTE_AUTH_TOKEN": self.stack.join_secret()}
        if self.stack.encrypted:
            environment["TARPON_COMPUTE_TLS_CACERT"] = str(self.stack.authority_file)
        shares = [len(range(number, count, SIMULATED_PROCESSES)) for number in range(SIMULATED_PROCESSES)]
        for number, share in enumerate(shares):
            arguments = [f"sim-{number}", str(share), str(self.stack.root), self.stack.nats_url]
            command = tied_command([sys.executable, "-m", "benchmarks.simulated_nodes", *arguments], signal.SIGKILL)
            log = (self.stack.root / f"sim-{number}.log").open("w")
            with log:
                started = subprocess.Popen(
                    command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
                )
            self._simulated.append(started)
        for each in self._simulated:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        self.wait_connected(count)

    def wait_connected(self, count: int) -> None:
        wait_until(lambda: self.connected_nodes() >= count, within=READY_SECONDS, what=f"{count} nodes are connected")

    def connected_nodes(self) -> int:
        """By the metrics, which cost the orchestrator little."""
        url = f"{self.stack.api_url}/metrics"
        with urllib.request.urlopen(url, timeout=30, context=self.stack.trust()) as answer:
            lines = answer.read().decode().splitlines()
        return next(int(float(line.split()[1])) for line in lines if line.startswith(CONNECTED_NODES))

    def store_jobs(self, count: int, job: dict[str, Any]) -> None:
        """Let one job of a real node end, copy it `count` times into the state, and start the orchestrator on that."""
        stack = self.stack
        assert stack.orchestrator is not None
        stack.start_compute("original", python=sys.executable)
        original = stack.submit(job)
        stack.wait_ended(original)
        stack.computes.pop("original").stop()
        seed_file = stack.root / "orchestrator" / "orchestrator" / "secrets" / "orchestrator.nkey"
        copied = read_original(seed_file, stack.nats_url, original, stack.trust())
        stack.orchestrator.kill()  # its NATS server goes on
        store(seed_file, stack.nats_url, copied, count, stack.trust())
        self.start_orchestrator()

    def meter(self, **others: list[int]) -> ProcessMeter:
        stack = self.stack
        assert stack.orchestrator is not None
        nodes = [node.process.pid for node in stack.computes.values()] + [each.pid for each in self._simulated]
        own = {"orchestrator": [stack.orchestrator.process.pid], "nats": [stack.nats_pid()], "s3": [self.s3.pid]}
        helpers = [child for node in nodes for child in living_children(node)]
        of_nodes = {name: pids for name, pids in (("nodes", nodes), ("helpers", helpers)) if pids}
        return ProcessMeter(own | of_nodes | others)

    def client_environment(self) -> dict[str, str]:
        """What lets benchmarks/load.py in."""
        secret = self.stack.root / "orchestrator" / "orchestrator" / "secrets" / "integration.secret"
        password = integration_password(Secret(secret.read_text().strip()), PRINCIPAL).reveal()
        return {
            "PATH": os.environ["PATH"],
            "NATS_URL": self.stack.nats_url,
            "NATS_CA": str(self.stack.authority_file) if self.stack.encrypted else "",
            "NATS_USER": PRINCIPAL,
            "NATS_PASSWORD": password,
            "NATS_INBOX_PREFIX": integration_inbox(PRINCIPAL),
        }

    def logs(self) -> str:
        """How each log ends, for whoever has to find out what went wrong."""
        return "\n".join(f"---- {path.name}\n{path.read_text(errors='replace')[-2000:]}" for path in self._logs())

    def _logs(self) -> list[Path]:
        return sorted(self.stack.root.glob("*.log"))

    def stop(self) -> None:
        for simulated in self._simulated:
            simulated.kill()
            simulated.communicate()
        services = [*self.stack.computes.values(), *([self.stack.orchestrator] if self.stack.orchestrator else [])]
        for each in services:
            if each.is_running:
                with contextlib.suppress(AssertionError):  # it was killed
                    each.stop()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it stopped with its orchestrator
            os.kill(self.stack.nats_pid(), signal.SIGKILL)


@contextmanager
def rig(folder: Path, *, sink: str, sync: str, most_jobs: int = 0, tls: bool = False, **settings: str) -> Iterator[Rig]:
    """Nothing runs yet but S3. `most_jobs` is how many ended jobs are kept, 0 the default number.

    `settings` are the orchestrator's, with `_` for `.` in their names.
    """
    s3 = start_weed(folder / "s3") if sink == "s3" else DiscardingS3(folder / "s3")
    if sink != "s3":
        s3.start()
    root = folder / "stack"
    root.mkdir()
    try:
        made = Rig(root, s3, sync, most_jobs, tls=tls, settings=settings)
        try:
            yield made
        except BaseException:
            print(made.logs(), file=sys.stderr)
            raise
        finally:
            made.stop()
    finally:
        s3.stop()


class Load:
    """benchmarks/load.py in a process of its own, step by step."""

    def __init__(self, rig: Rig, job: dict[str, Any], *, jobs: int, in_flight: int, warm_up: int) -> None:
        command = [sys.executable, "-m", "benchmarks.load", str(jobs), str(in_flight), str(warm_up)]
        self._process = subprocess.Popen(
            tied_command(command, signal.SIGKILL),
            cwd=ROOT,
            env=rig.client_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._next = json.dumps(job)

    @property
    def pid(self) -> int:
        return self._process.pid

    def step(self) -> dict[str, Any]:
        """Have it take its next step; what it says of that."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(self._next + "\n")
        self._process.stdin.flush()
        self._next = "go on"
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"the client ended with {self._process.wait(10)}")
        said: dict[str, Any] = json.loads(line)
        return said

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
