"""The devstack: SeaweedFS, an orchestrator and compute nodes on one machine, each a process."""

import asyncio
import fcntl
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from shared.errors import AlreadyRunning, PortTaken, RemoteError, TarponError, Unavailable
from shared.protocol.capabilities import EVERYTHING
from shared.protocol.rest_nodes import CONNECTED
from shared.runtime.aio import background, finish
from shared.runtime.local_socket import SCHEME, socket_path
from shared.settings.config import DockerSettings
from shared.settings.keys import environment_name
from tarpon.client import Client
from tarpon.devstack.child_processes import ChildProcess
from tarpon.devstack.containers import remove_containers
from tarpon.devstack.keeper import STOP_SECONDS
from tarpon.devstack.processes import BUCKET, ORCHESTRATOR, PREFIX, STORE_CA_FILE, WantedProcesses, children_of
from tarpon.devstack.sandbox import with_sandbox
from tarpon.devstack.seaweedfs import HOST, SeaweedFS, free_ports
from tarpon.devstack.tls_files import TlsFiles, made_in

READY_SECONDS = 60.0
POLL_SECONDS = 0.1
USER = "devstack"
STOP_ALL_SECONDS = 3 * STOP_SECONDS

Say = Callable[[str], None]


class DevstackFailed(Unavailable):
    """A process of the stack ended or did not get ready."""

    retryable = False


class Devstack:
    """A stack that is ready. `ended()` waits for the first process that ends, which none should."""

    def __init__(
        self, wanted: WantedProcesses, folder: Path, children: Sequence[ChildProcess], key: str, files: TlsFiles | None
    ) -> None:
        self.api_port = wanted.api_port
        self.folder = folder
        self._key = key
        self._files = files
        self._children = tuple(children)

    def __repr__(self) -> str:
        return f"<Devstack at {HOST}:{self.api_port} in {self.folder}>"

    @property
    def url(self) -> str:
        """Where the API is, and the page."""
        return f"{'https' if self._files is not None else 'http'}://{HOST}:{self.api_port}"

    def environment(self) -> dict[str, str]:
        """The variables with which a command finds this stack. The key tells whose certificate the API has."""
        found = {"TARPON_API_HOST": HOST, "TARPON_API_PORT": str(self.api_port), "TARPON_API_KEY": self._key}
        if self._files is not None:
            found[environment_name(STORE_CA_FILE)] = str(self._files.store_authority)
        return found

    async def ended(self) -> None:
        """Raise DevstackFailed with the log of the first process that ends."""
        await _first_end(self._children)


@asynccontextmanager
async def devstack(wanted: WantedProcesses, say: Say, at_once: asyncio.Event) -> AsyncIterator[Devstack]:
    """Run the stack while the body runs. Raises PortTaken, Missing or DevstackFailed where it does not get ready.

    When the body ends, all stop in order, or as soon as `at_once` is set without any.
    """
    check_free("The API", wanted.api_port, "API.Port")
    check_free("The NATS server", wanted.nats_port, "Orchestrator.Port")
    with _data_folder(wanted.data_dir, say) as folder:
        say(f"Data and logs: {folder}")
        wanted, remark = await asyncio.to_thread(with_sandbox, wanted, folder)
        if remark:
            say(remark)
        files = await asyncio.to_thread(made_in, folder / "tls", HOST) if wanted.tls else None
        say("Starting the S3 server ...")
        async with _s3_server(folder / "s3", files) as s3:
            children = children_of(wanted, folder, s3, files)
            try:
                for child in children:
                    say(f"Starting {child.name} ...")
                    child.start()
                local = f"{SCHEME}{socket_path(folder / ORCHESTRATOR).absolute()}"
                await _wait_ready(wanted, children, say, local)
                yield Devstack(wanted, folder, children, await _new_key(local), files)
            finally:
                say(
                    "Stopping the nodes, then the orchestrator and the S3 server, within"
                    f" {STOP_ALL_SECONDS:.0f} s. A second signal ends this at once."
                )
                await finish(_stop(children, folder, wanted.engine, at_once), within=STOP_ALL_SECONDS)


def check_free(what: str, port: int, setting: str) -> None:
    """Raise PortTaken unless something can listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortTaken(what, HOST, port, setting) from error


def random_ports() -> tuple[int, int]:
    """Two free ports: of the API and of the NATS server."""
    api, nats = free_ports(2)
    return api, nats


@contextmanager
def _data_folder(given: Path | None, say: Say) -> Iterator[Path]:
    """A temporary one where none is given. Tells at the end what has become of it. Raises AlreadyRunning."""
    if given is not None:
        given.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (given / "devstack.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning("devstack", str(given), option="--data-dir") from None
            try:
                yield given.absolute()
            finally:
                say("Stopped.")
        return
    folder = Path(tempfile.mkdtemp(prefix="tarpon-devstack-"))
    try:
        yield folder
    finally:
        _remove(folder)
        say(f"Stopped; {folder} cannot be removed." if folder.exists() else "Stopped; the data is removed.")


def _remove(folder: Path) -> None:
    """As a node does: what a task has mounted in there is not touched."""
    from compute.disk.removal import remove_tree

    with suppress(OSError):
        remove_tree(folder)


@asynccontextmanager
async def _s3_server(folder: Path, files: TlsFiles | None) -> AsyncIterator[SeaweedFS]:
    """It starts in this thread, because it dies with the thread that started it. Signals are heard meanwhile."""
    server = (
        SeaweedFS(folder, certificate=files.store, ca_file=str(files.store_authority)) if files else SeaweedFS(folder)
    )
    server.begin()
    try:
        await asyncio.to_thread(_make_ready, server)
        yield server
    finally:
        server.stop()


def _make_ready(server: SeaweedFS) -> None:
    server.wait_ready()
    server.create_bucket(BUCKET, prefix=PREFIX)


# ---- the end -----------------------------------------------------------------------------------------------------


async def _stop(children: Sequence[ChildProcess], folder: Path, engine: DockerSettings, at_once: asyncio.Event) -> None:
    """The compute nodes first, so that they can still report to the orchestrator."""
    orchestrator, *computes = children
    async with background(at_once=_kill_when(at_once, children)):
        async with asyncio.TaskGroup() as group:
            for child in computes:
                group.create_task(child.stop(), name=f"stop-{child.name}")
        await orchestrator.stop()
        await _stop_left_over(folder / ORCHESTRATOR / "orchestrator" / "nats")
    await remove_containers([folder / child.name for child in computes], engine)


async def _kill_when(at_once: asyncio.Event, children: Sequence[ChildProcess]) -> None:
    await at_once.wait()
    for child in children:
        child.kill()


async def _stop_left_over(folder: Path) -> None:
    """A NATS server that an earlier orchestrator left, and this one adopted, is none that its keeper knows."""
    from orchestrator.nats_servers.process import end, left_over

    files = folder / "nats-server.pid", folder / "nats-server.conf"
    pid = left_over(*files)
    if pid is not None:
        await end(pid, lambda: left_over(*files) == pid)


async def _first_end(children: Sequence[ChildProcess]) -> None:
    async def watch(child: ChildProcess) -> None:
        code = await child.ended()
        raise DevstackFailed(
            f"The process {child.name} ended with code {code}. Its log ends with:\n{child.log_tail()}",
            hint=f"All of it: {child.log} (kept with --data-dir).",
        )

    try:
        async with asyncio.TaskGroup() as group:
            for child in children:
                group.create_task(watch(child), name=f"watch-{child.name}")
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


# ---- readiness --------------------------------------------------------------------------------------------------


async def _wait_ready(wanted: WantedProcesses, children: Sequence[ChildProcess], say: Say, local: str) -> None:
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_first_end(children), name="children")
        try:
            await _poll_ready(wanted, children, say, local)
        finally:
            watching.cancel()


async def _poll_ready(wanted: WantedProcesses, children: Sequence[ChildProcess], say: Say, local: str) -> None:
    missing, deadline = "", time.monotonic() + READY_SECONDS
    while True:
        before, missing = missing, await _missing(local, wanted.computes)
        if not missing:
            return
        if missing != before:
            say(f"Waiting for {missing} ...")
        if time.monotonic() > deadline:
            logs = "\n".join(f"--- {child.name}\n{child.log_tail()}" for child in children)
            raise DevstackFailed(f"After {READY_SECONDS:.0f} s there is still no {missing}.\n{logs}")
        await asyncio.sleep(POLL_SECONDS)


async def _new_key(local: str) -> str:
    """Of a user of the stack's own, whose key of an earlier run with the same data ends."""
    async with Client(local) as client:
        with suppress(RemoteError):
            await client.revoke_user(USER)
        return (await client.create_user(USER, (EVERYTHING,))).key


async def _missing(local: str, computes: int) -> str:
    """What the stack still lacks; empty when it is ready."""
    try:
        async with Client(local, timeout=5) as client:
            await client.alive()
            health = (await client.agent_node()).publishers.s3managed
            if health is None or not health.ready:
                return "publisher"
            nodes = (await client.nodes()).nodes
    except TarponError:
        return "orchestrator"
    connected = sum(node.is_compute and node.connection == CONNECTED for node in nodes)
    return "" if connected >= computes else f"compute node {connected + 1} of {computes}"
