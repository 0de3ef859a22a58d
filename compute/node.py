"""The node before it is connected: who it is, what it offers, and which engines it has."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from msgspec import structs

from compute.engines.docker.endpoint import EndpointRefused, find_socket
from compute.engines.docker.engine import DockerEngine
from compute.engines.engine import Engine
from compute.engines.environment import EnvironmentPolicy
from compute.engines.noop import NoopEngine
from compute.engines.outside.loading import opened_engines
from compute.engines.process.bubblewrap import Bubblewrap, SandboxUnavailable
from compute.engines.process.engine import ProcessEngine
from compute.engines.wasm.engine import WasmEngine, runtime_version
from compute.executions.machine import allocated, detect_capacity
from compute.executions.machine_gpus import NVIDIA, detect_gpus
from compute.inputs.fetching import OwnInputs
from compute.inputs.inline import InlineInputs
from compute.inputs.local.allowed_paths import AllowedPaths
from compute.inputs.local.source import LocalInputs
from compute.inputs.objects.managed import MANAGED_KINDS
from compute.inputs.web.source import UrlInputs
from compute.orders.assignments import NodeOffer
from compute.processes.strays import Strays
from compute.uplink.identity import Identity, load_identity
from shared.jobs.engine_params import PROCESS
from shared.jobs.inputs.kinds import LOCAL
from shared.jobs.quantities import parse_gpu, share_or_amount
from shared.jobs.rules import MANAGED
from shared.protocol.messages import (
    COPIES_HARD_LINKS,
    PUBLISHES_PLAIN,
    RUNS_REPRODUCIBLY,
    SENDS_MANIFESTS,
    SIGNS_RESULTS,
    TAKES_SECRETS,
    WRITES_LOCAL_PATHS,
    NodeInfo,
)
from shared.protocol.nodes.engine_parameters import ToldParameter, told_of
from shared.protocol.nodes.gpus import MOST_GPUS, Gpu
from shared.runtime.aio import finish
from shared.runtime.automatic_labels import overridden, with_automatic
from shared.runtime.loopback import loopback_id
from shared.settings.config import AllocatedCapacity, Config

MAX_HOST = 100
"""So much of what its machine is called a node tells."""

CLOSE_SECONDS = 12.0
ABILITIES = (
    COPIES_HARD_LINKS,
    PUBLISHES_PLAIN,
    RUNS_REPRODUCIBLY,
    SENDS_MANIFESTS,
    SIGNS_RESULTS,
    TAKES_SECRETS,
    WRITES_LOCAL_PATHS,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Node:
    """What is known before anything is connected."""

    identity: Identity
    offer: NodeOffer
    lasting_info: NodeInfo
    own_inputs: Mapping[str, OwnInputs]
    """Kinds of inputs that it reads by itself, in lower case."""
    docker: DockerEngine | None = None
    runtimes: Mapping[str, str] = field(default_factory=dict)
    """By the names of engines, what runs their tasks, with its version."""
    engine_parameters: Mapping[str, tuple[ToldParameter, ...]] = field(default_factory=dict)
    """Of engines from outside, by their names."""
    problems: tuple[str, ...] = ()
    """Of what the operator has set up, for as long as this process lives."""

    def info(self) -> NodeInfo:
        engine = self.docker.described if self.docker else None
        isolation = self.offer.isolation
        return structs.replace(
            self.lasting_info,
            engines=self.offer.available_engines,
            container_engine=engine,
            isolation=isolation,
            runtimes=dict(self.runtimes),
            engine_parameters=dict(self.engine_parameters),
            labels=with_automatic(self.lasting_info.labels, self.identity.node_id, isolation, self.lasting_info.gpus),
        )


def prepare(config: Config, folder: Path, strays: Strays) -> Node:
    identity = load_identity(folder, config.name_provider)
    disabled = {name.lower() for name in config.publishers.disabled}
    local_paths = AllowedPaths(config.compute.allow_listed_local_paths)
    own_inputs = _own_inputs(config, local_paths)
    engines, problems = _engines(config, folder, strays)
    found = detect_gpus(os.environ.get("PATH", os.defpath))
    if found.problem:
        _log.warning("%s", found.problem)
        problems = (*problems, found.problem)
    offer = NodeOffer(
        engines=engines,
        publishers=tuple(name for name in (MANAGED,) if name not in disabled),
        input_sources=(*own_inputs, *MANAGED_KINDS),
        environment=EnvironmentPolicy(os.environ, config.compute.env.allow_list, node_id=identity.node_id),
        capacity=allocated(detect_capacity(folder, gpus=len(found.gpus)), config.compute.allocated_capacity),
        local_paths=local_paths,
    )
    if labels := overridden(config.labels):
        _log.warning("A node names itself and its machine: the setting Labels has no say in %s.", ", ".join(labels))
    info = NodeInfo(
        node_id=identity.node_id,
        host=socket.gethostname()[:MAX_HOST],
        version=_version(),
        labels=with_automatic(config.labels, identity.node_id),
        publishers=tuple(offer.publishers),
        input_sources=tuple(offer.input_sources),
        capacity=offer.capacity,
        gpus=found.gpus[: offer.capacity.gpu],
        queue_capacity=config.compute.queue_capacity,
        loopback_id=loopback_id(),
        abilities=ABILITIES,
    )
    return Node(identity=identity, offer=offer, lasting_info=info, own_inputs=own_inputs, problems=problems)


def _own_inputs(config: Config, local_paths: AllowedPaths) -> dict[str, OwnInputs]:
    """Of local paths none is offered where none is allowed, so that such jobs are placed elsewhere."""
    kinds: dict[str, OwnInputs] = {"inline": InlineInputs(), "urldownload": UrlInputs(config.compute.inputs)}
    return {**kinds, LOCAL.lower(): LocalInputs(local_paths)} if local_paths else kinds


def _engines(config: Config, folder: Path, strays: Strays) -> tuple[dict[str, Engine], tuple[str, ...]]:
    """Those that this process is itself, and what its operator should see to."""
    engines: list[Engine] = [NoopEngine()]
    problems: list[str] = []
    disabled = {name.lower() for name in config.engines.disabled}
    if config.engines.types.process.enabled and PROCESS not in disabled:
        try:
            engines.append(_process_engine(config, folder, strays))
        except SandboxUnavailable as error:
            _log.warning("%s %s", error.message, error.hint)
            problems.append(f"{error.message} {error.hint}")
    return {engine.name: engine for engine in engines if engine.name not in disabled}, tuple(problems)


def _process_engine(config: Config, folder: Path, strays: Strays) -> ProcessEngine:
    """Raises SandboxUnavailable: an operator who wants walls never has tasks run without."""
    settings, bubblewrap = config.engines.types.process, None
    if settings.is_sandboxed:
        path = os.environ.get("PATH", os.defpath)
        bubblewrap = Bubblewrap.open(folder, hidden=config.data_dir, shown=settings.read_only_paths, path=path)
    return ProcessEngine(os.environ, strays=strays, bubblewrap=bubblewrap, processes_limit=settings.pids_limit)


@asynccontextmanager
async def with_docker(config: Config, node: Node) -> AsyncIterator[Node]:
    """The node with the docker engine, unless that is turned off."""
    settings, problem, socket = config.engines.types.docker, "", ""
    if DockerEngine.name not in {name.lower() for name in config.engines.disabled}:
        try:
            socket = await asyncio.to_thread(find_socket, settings, os.environ)
        except EndpointRefused as error:
            problem = str(error)
            _log.warning("%s", problem)
    if not socket:
        yield replace(node, problems=(*node.problems, *([problem] if problem else [])))
        return
    async with DockerEngine.open(structs.replace(settings, socket=socket), node.identity.node_id) as docker:
        node = _with_gpus_of(docker, node, config.compute.allocated_capacity)
        engines = {**node.offer.engines, docker.name: docker}
        yield replace(node, offer=replace(node.offer, engines=engines), docker=docker)


def _with_gpus_of(docker: DockerEngine, node: Node, settings: AllocatedCapacity) -> Node:
    """Where no tool has told of GPUs, as for a node that is in a container itself, but the engine does."""
    if node.lasting_info.gpus or not docker.gpu_count:
        return node
    given = share_or_amount(settings.gpu, docker.gpu_count, parse_gpu)
    gpus = tuple(Gpu(index=index, vendor=NVIDIA) for index in range(min(given, docker.gpu_count, MOST_GPUS)))
    capacity = structs.replace(node.offer.capacity, gpu=given)
    info = structs.replace(node.lasting_info, capacity=capacity, gpus=gpus)
    return replace(node, offer=replace(node.offer, capacity=capacity), lasting_info=info)


@asynccontextmanager
async def with_wasm(config: Config, node: Node, folder: Path, strays: Strays) -> AsyncIterator[Node]:
    """The node with the engine for WebAssembly, if its runtime is installed and it is not turned off."""
    release = await asyncio.to_thread(runtime_version)
    if not release or WasmEngine.name in {name.lower() for name in config.engines.disabled}:
        yield node
        return
    engine = await asyncio.to_thread(WasmEngine, folder, config.engines.types.wasm, strays)
    try:
        engines = {**node.offer.engines, engine.name: engine}
        runtimes = {**node.runtimes, engine.name: f"{engine.isolation} {release}"}
        yield replace(node, offer=replace(node.offer, engines=engines), runtimes=runtimes)
    finally:
        await finish(asyncio.to_thread(engine.close), within=CLOSE_SECONDS)


@asynccontextmanager
async def with_outside(config: Config, node: Node, folder: Path) -> AsyncIterator[Node]:
    """The node with the engines from outside that are installed and work."""
    disabled = {name.lower() for name in config.engines.disabled}
    async with opened_engines(folder, settings=config.engines.plugins, disabled=disabled) as outside:
        yield replace(
            node,
            offer=replace(node.offer, engines={**node.offer.engines, **outside.engines}),
            runtimes={**node.runtimes, **outside.runtimes},
            engine_parameters={name: told_of(engine.parameters) for name, engine in outside.engines.items()},
            problems=(*node.problems, *outside.problems),
        )


def _version() -> str:
    try:
        return version("tarpon-jobs")
    except PackageNotFoundError:
        return "unknown"
