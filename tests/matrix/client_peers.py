"""The servers that Bacalhau's client is tried with: its own, and Tarpon, each with one node of the same engine."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from shared.runtime.version import version_text
from tests.e2e.conftest import ended
from tests.e2e.stack import Stack, wait_until
from tests.engine import IMAGE, CannotStart, Registry, TestEngine, start_engine
from tests.matrix import programs
from tests.matrix.cells import NotHere, Peer
from tests.matrix.client_checks import ClientBench
from tests.servers import HOST, REGION, S3Server, free_ports, start_weed

PROGRAM = "MATRIX_BACALHAU"
"""The variable with the client, which is its own server too; else it is looked for as other peers are."""
NODE = "node-a"
START_SECONDS = 60.0
STOP_SECONDS = 30.0


class Served(NamedTuple):
    """The port of a server's API, the variables with which a client is let in, and its process where it is one."""

    port: int
    variables: Mapping[str, str] = MappingProxyType({})
    pid: int = 0


def peers() -> Sequence[Peer[ClientBench]]:
    return [
        Peer("Bacalhau's server", _client_version, partial(_bench, bacalhau)),
        Peer("Tarpon", version_text, partial(_bench, tarpon)),
    ]


def _program() -> str:
    named = os.environ.get(PROGRAM, "")
    if named and not os.access(named, os.X_OK):
        raise NotHere(f"{PROGRAM} names no program.")
    return named or programs.find("bacalhau")


def _client_version() -> str:
    """Without a home: what it is asked for it knows by itself."""
    with tempfile.TemporaryDirectory() as folder:
        command = [_program(), "version", "--client", "--output", "json", "--data-dir", f"{folder}/data"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={"HOME": folder}, timeout=30)
    return programs.version_in(done.stdout)


@contextmanager
def _bench(start: Callable[[Path, S3Server, TestEngine], AbstractContextManager[Served]]) -> Iterator[ClientBench]:
    program = _program()
    folder = Path(tempfile.mkdtemp(prefix="tarpon-matrix-"))
    try:
        with engine_with_digest(folder) as engine:
            s3 = start_weed(folder / "s3")
            try:
                with start(folder, s3, engine) as served:
                    yield ClientBench(program, folder / "client", served.port, served.variables)
            finally:
                s3.stop()
    except CannotStart as error:
        raise NotHere(str(error)) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def engine_with_digest(folder: Path) -> Iterator[TestEngine]:
    """Its image is in a registry too: the reference asks for a digest, which an image has that was pushed."""
    engine = start_engine()
    try:
        registry = Registry(folder / "registry")
        registry.start()
        try:
            pushed = f"{registry.host}/busybox"
            engine.request("POST", f"/images/{IMAGE}/tag?repo={pushed}&tag=1")
            engine.push(f"{pushed}:1")
        finally:
            registry.stop()
        yield engine
    finally:
        engine.stop()


@contextmanager
def tarpon(folder: Path, s3: S3Server, engine: TestEngine) -> Iterator[Served]:
    """It asks for a key."""
    root = folder / "stack"
    root.mkdir()
    stack = Stack(root, s3)
    try:
        stack.start_asking_orchestrator()
        stack.start_compute(NODE, python=sys.executable, Engines_Types_Docker_Socket=engine.url)
        yield Served(stack.api_port, {"BACALHAU_API_KEY": stack.key})
    finally:
        ended(stack)


@contextmanager
def bacalhau(folder: Path, s3: S3Server, engine: TestEngine) -> Iterator[Served]:
    """On loopback alone, in a folder of its own, without telemetry and without a search for updates."""
    api, nats = free_ports(2)
    bucket = {"Bucket": s3.create_bucket(), "Key": "results", "Region": REGION, "Endpoint": s3.endpoint}
    settings = {
        "API.Host": HOST,
        "API.Port": str(api),
        "Orchestrator.Host": HOST,
        "Orchestrator.Port": str(nats),
        "Compute.Orchestrators": f"nats://{HOST}:{nats}",
        "DisableAnalytics": "true",
        "UpdateConfig.Interval": "0s",
        "Publishers.Disabled": "local,ipfs",  # the first one listens on all interfaces
        **{f"Publishers.Types.S3Managed.{key}": value for key, value in bucket.items()},
    }
    flags = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    home = folder / "server"
    home.mkdir()
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "BACALHAU_DIR": str(home / "data"),
        "DOCKER_HOST": engine.url,
        **s3.environment(),
    }
    command = [_program(), "serve", "--orchestrator", "--compute", "--name", NODE, *flags]
    log = home / "log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            command, env=environment, cwd=home, stdin=subprocess.DEVNULL, stdout=written, stderr=written
        )
    try:
        asks = {**environment, "BACALHAU_API_HOST": HOST, "BACALHAU_API_PORT": str(api)}
        _wait_node(process, _program(), asks, log)
        yield Served(api, pid=process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_node(process: subprocess.Popen[bytes], program: str, environment: Mapping[str, str], log: Path) -> None:
    def is_there() -> bool:
        assert process.poll() is None, f"the server ended:\n{log.read_text(errors='replace')[-2000:]}"
        done = subprocess.run(
            [program, "node", "list", "--output", "csv", "--show", "features"],
            env={**environment, "BACALHAU_DIR": str(log.with_name("waits"))},
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS,
        )
        return "CONNECTED" in done.stdout and "docker" in done.stdout

    wait_until(is_there, within=START_SECONDS, what="Bacalhau's server has its node")
