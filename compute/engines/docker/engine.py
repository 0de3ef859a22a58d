"""The engine that runs a task in a container of Docker, or of Podman through its compatible socket.

The task's files are the image's; of the machine it sees its result folders alone. It has no network unless the job asks
for one, and may not gain rights. On a node that is not run by root it has the node's user, so that its results are the
node's to remove.

A container belongs to an execution by its name, and to this node by a label. It goes on when the node dies: whoever
runs the execution again with `resumed` finds it.
"""

import asyncio
import contextlib
import logging
import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Self

from compute.disk.disk_watch import LEAST_PAUSE_SECONDS
from compute.engines.docker.api import DockerApi, EngineAway, EngineRefusal
from compute.engines.docker.container import ContainerRun, Limits
from compute.engines.docker.credentials import config_file
from compute.engines.docker.ends import in_the_way, refused
from compute.engines.docker.facts import EngineFacts
from compute.engines.docker.images import ImageMissing, Images, PullLimits
from compute.engines.docker.leftovers import Leftovers
from compute.engines.docker.mounts import NOT_SEEN, Mounts
from compute.engines.docker.signals import Signals
from compute.engines.docker.spec import Confinement, has_host_network, network_of
from compute.engines.engine import NETWORK_NOT_OFFERED, Broken, OutlivingEngine, Run, RunEnd, Unfit
from compute.firewall.container_networks import ContainerNetworks
from compute.processes.mark import ProcessMark
from shared.errors import InvalidJob
from shared.ids import ExecutionId, NodeId
from shared.jobs.engine_params import DOCKER, DockerParams
from shared.jobs.spec import Task
from shared.jobs.states import FailureReason
from shared.protocol.messages import ContainerEngine
from shared.runtime.aio import background, finish
from shared.settings.config import DockerSettings as Settings

_log = logging.getLogger(__name__)

GRACE_SECONDS = 10.0
"""Between asking a task to stop and killing it."""
OUTPUT_LIMIT_BYTES = 1 << 30
"""For stdout and for stderr each."""
ENGINE_WAIT_SECONDS = 60.0
"""For an engine that takes its containers along when it ends."""
LOOK_EVERY_SECONDS = 10.0
CLOSE_SECONDS = 10.0


class DockerEngine(OutlivingEngine):
    """Made by `open`. It is `available` while the engine answers."""

    name = DOCKER
    parameters = DockerParams
    isolation = "container"
    shows_inputs = True

    def __init__(
        self, socket: Path, api: DockerApi, confinement: Confinement, limits: Limits, settings: Settings
    ) -> None:
        self._socket = socket
        self._keeps_running = settings.keep_running
        self._api = api
        self._confinement = confinement
        self._limits = limits
        pull_limits = PullLimits(
            seconds=float(settings.pull_timeout) or None, still_seconds=float(settings.pull_stall_timeout) or None
        )
        self._images = Images(api, config_file(os.environ), pull_limits)
        self._leftovers = Leftovers(api, confinement.node_id)
        self._signals = Signals(api, confinement.node_id)
        self._mounts = Mounts(api, self._signals, self._leftovers, confinement.node_id)
        self._mounts_told = ""
        self._networks = ContainerNetworks(allows_metadata=settings.metadata_addresses)
        self._is_blind = asyncio.Event()
        self._facts: EngineFacts | None = None
        self._offered = False
        self._why_not = ""

    def __repr__(self) -> str:
        return f"<DockerEngine {self._socket}: {self._facts.version if self._facts else self._why_not}>"

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        node_id: NodeId,
        *,
        grace_seconds: float = GRACE_SECONDS,
        output_limit_bytes: int = OUTPUT_LIMIT_BYTES,
        engine_wait_seconds: float = ENGINE_WAIT_SECONDS,
        disk_check_seconds: float = LEAST_PAUSE_SECONDS,
    ) -> AsyncIterator[Self]:
        """An engine that has been looked for once. Containers of ended executions are removed at the end."""
        socket = Path(settings.socket_path)
        confinement = Confinement(
            node_id=node_id, pids_limit=settings.pids_limit, bridge_network=settings.bridge_network
        )
        limits = Limits(
            grace_seconds=grace_seconds,
            output_limit_bytes=output_limit_bytes,
            engine_wait_seconds=min(engine_wait_seconds, settings.away_timeout),
            outlived_wait_seconds=float(settings.away_timeout),
            disk_check_seconds=disk_check_seconds,
        )
        api = DockerApi(socket)
        try:
            engine = cls(socket, api, confinement, limits, settings)
            await engine._look(is_first=True)
            async with background(removals=engine._leftovers.remove_released(), signals=engine._signals.listen()):
                try:
                    yield engine
                finally:
                    await finish(engine._leftovers.all_removed(within=CLOSE_SECONDS), within=2 * CLOSE_SECONDS)
        finally:
            await finish(api.close(), within=CLOSE_SECONDS)

    @property
    def available(self) -> bool:
        return self._facts is not None and not self._mounts.problem

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(filter(None, (self._mounts.problem, self._networks.problem)))

    def unfit(self, task: Task) -> Unfit | None:
        why = self._networks.host_refused if has_host_network(task) else ""
        return Unfit(NETWORK_NOT_OFFERED, why) if why else None

    @property
    def gpu_count(self) -> int:
        """How many the engine tells of, while it answers."""
        return self._facts.gpu_count if self._facts is not None else 0

    @property
    def described(self) -> ContainerEngine | None:
        """While it answers."""
        return self._facts.described if self._facts is not None else None

    @property
    def offered(self) -> bool:
        return self._offered

    async def run(self, run: Run) -> RunEnd:
        self.keep(run.execution_id)
        try:
            return await self._run(run)
        except InvalidJob as error:
            return Broken(FailureReason.TASK_NOT_STARTED, error.message)
        except ImageMissing as error:
            return Broken(error.reason, error.detail)
        except EngineRefusal as error:
            return in_the_way(error, run.inputs) or refused(error, run.mask)
        except EngineAway as error:
            self._is_blind.set()  # so that nothing more is placed here
            detail = f"The node's container engine does not answer: {str(error)[:200]}"
            return Broken(FailureReason.ENGINE_UNAVAILABLE, detail)

    def end_left_over(self, process: ProcessMark | None, execution_id: ExecutionId) -> int:  # noqa: ARG002  # see `watch`
        return 0

    def keep(self, execution_id: ExecutionId) -> None:
        self._leftovers.keep(execution_id)

    def leave(self, execution_id: ExecutionId) -> bool:
        if self._keeps_running:
            self._leftovers.leave(execution_id)
        return self._keeps_running

    def release(self, execution_id: ExecutionId) -> None:
        self._leftovers.release(execution_id)

    async def watch(self, on_change: Callable[[], None]) -> None:
        """Look again and again whether the engine answers, and remove what nobody runs, until cancelled."""
        told = self.available
        while True:
            if self._facts is not None:
                await self._leftovers.sweep()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_SECONDS):
                    await self._is_blind.wait()
            await self._look()
            if self.available != told:
                told = self.available
                on_change()

    async def _run(self, run: Run) -> RunEnd:
        if self._facts is None:
            await self._look()
        facts = self._facts
        if facts is None and not run.resumed:
            raise EngineAway(self._why_not)
        if facts is not None and not run.resumed:
            network = network_of(run, self._confinement)
            await self._networks.guard(network, self._api.subnets, is_ours=not facts.rootless)
        container = ContainerRun(
            run,
            self._api,
            images=self._images,
            signals=self._signals,
            mounts=self._mounts,
            facts=facts or EngineFacts.unknown(),
            confinement=self._confinement,
            limits=self._limits,
            is_left=partial(self._leftovers.is_left, run.execution_id),
        )
        end = await container.end()
        if end is NOT_SEEN:
            self._is_blind.set()
        return end

    async def _look(self, *, is_first: bool = False) -> None:
        self._is_blind.clear()
        try:
            if self._facts is None:
                facts = await self._api.facts()
                if not is_first:  # then it is not known yet what is needed
                    await self._leftovers.sweep()  # a task that was given up may still have its GPU
                if not self._offered:
                    await self._networks.look()  # which takes long on some machines, so those without engine do not
                self._facts = facts
                self._offered = True
                self._why_not = ""
                _log.info("Container engine %s %s answers at %s.", facts.name, facts.version, self._socket)
            else:
                await self._api.answers()
            await self._look_at_mounts()
        except (EngineAway, EngineRefusal) as error:
            self._facts = None
            why = await asyncio.to_thread(_why_away, self._socket, str(error))
            if why != self._why_not:
                self._why_not = why
                # A node that never had an engine may be meant so; one that had one is in trouble.
                level = logging.WARNING if self._offered else logging.INFO
                _log.log(level, "This node runs no containers for now: %s.", why)

    async def _look_at_mounts(self) -> None:
        before = self._mounts_told
        await self._mounts.ask_again()
        self._mounts_told = self._mounts.problem
        if self._mounts_told != before:
            _log.warning("%s", self._mounts_told or "The container engine sees this node's files again.")


def _why_away(socket: Path, error: str) -> str:
    """In words for the node's operator. Blocks."""
    try:
        mode = socket.stat().st_mode
    except FileNotFoundError:
        return f"there is no socket {socket}; start the container engine, or set Engines.Types.Docker.Socket"
    except OSError as problem:
        return f"{socket} cannot be looked at: {problem.strerror}"
    if not stat.S_ISSOCK(mode):
        return f"{socket} is not a socket"
    if not os.access(socket, os.R_OK | os.W_OK):
        return f"this user may not use {socket}; add them to its group"
    return f"the engine at {socket} does not answer: {error[:200]}"
