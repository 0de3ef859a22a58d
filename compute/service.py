"""The compute node as a service: put together, started and stopped."""

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from compute.archive.small import SmallArchive
from compute.disk.disk_space import DiskSpace
from compute.disk.result_contents import ResultContents
from compute.disk.secret_files import SECRETS, SecretFiles
from compute.disk.workspace import Workspace
from compute.engines.engine import OutlivingEngine
from compute.executions.execution import Execution
from compute.executions.given_secrets import SecretsOpener
from compute.executions.held import Executions
from compute.executions.recovery import recover
from compute.executions.slots import Slots
from compute.executions.supervisor import Supervisor
from compute.inputs.fetching import Inputs
from compute.inputs.objects.cache import FOLDER as CACHE
from compute.inputs.objects.cache import InputCache
from compute.inputs.objects.downloads import Downloads
from compute.inputs.objects.get import input_session
from compute.inputs.objects.managed import ManagedInputs
from compute.inputs.objects.small.gets import SmallGets
from compute.inputs.objects.told_inputs import ToldInputs
from compute.inputs.objects.unpacking import unpack_result
from compute.journal.entry import Phase
from compute.journal.journal import Journal
from compute.journal.kept_results import sync_results
from compute.journal.leftovers import problems, sweep
from compute.node import Node, prepare, with_docker, with_outside, with_wasm
from compute.orders.assignments import Orders
from compute.orders.metrics import ComputeMetrics, serve_metrics
from compute.orders.registration import Registrar
from compute.orders.traces import ExecutionTraces
from compute.processes.strays import Strays
from compute.uplink.heartbeats import send_heartbeats
from compute.uplink.identity import Identity
from compute.uplink.invitation import invitation
from compute.uplink.refusals import explain_refusals
from compute.uplink.reports import ReportSender
from compute.uplink.trust import certificate_of, in_the_clear, trust_of
from compute.upload.grants import UploadRequests
from compute.upload.plain import PlainUpload
from compute.upload.provenance import NodeSigner
from compute.upload.put import upload_session
from compute.upload.shared_limits import SharedLimits
from compute.upload.upload import Upload
from shared.errors import AlreadyRunning, MessagingUnavailable
from shared.ids import ExecutionId
from shared.jobs.durations import format_duration
from shared.jobs.quantities import parse_bytes, share_or_amount
from shared.jobs.rules import FAIL
from shared.messaging.transport import Connection, Received, connect
from shared.protocol import subjects
from shared.protocol.messages import encode
from shared.runtime import durable
from shared.runtime.aio import background, finish
from shared.runtime.allocator import keep_freed_memory
from shared.runtime.durable import boot_id
from shared.runtime.log_lines import about
from shared.runtime.tls.client_certificate import keep_shown
from shared.runtime.tls.trust import trusting_store
from shared.runtime.trace_export import open_tracing
from shared.settings.config import Config

_log = logging.getLogger(__name__)

DRAIN_SECONDS = 12.0
"""At a stop, after the tasks had their time: for results, and for tasks to end after having been asked (10 s)."""
FAREWELL_SECONDS = 2.0
"""At a stop: for each of the last messages, if there is a connection."""


async def run(config: Config, *, ready: Callable[[], None] | None = None) -> None:
    """Be a compute node until cancelled; `ready` is called when orders are taken, joined or not.

    Cancelling stops in phases: nothing new is taken on, tasks are stopped and reported as such, results on their way
    get a little time, and the journal keeps whatever is left. Raises AlreadyRunning, InvalidId, Damaged.
    """
    keep_freed_memory()
    folder = config.data_dir / "compute"
    async with _locked(folder, config.data_dir):
        strays = Strays()
        await asyncio.to_thread(boot_id)  # which is remembered
        node = await asyncio.to_thread(prepare, config, folder, strays)
        await asyncio.to_thread(sweep, folder)
        journal = Journal(folder / "executions")
        try:
            async with (
                _uploading(config) as uploading,
                _downloading(config, folder) as downloads,
                _adopting(config, strays),
                with_docker(config, node) as node,
                with_wasm(config, node, folder, strays) as node,
                with_outside(config, node, folder) as node,
                open_tracing(config.tracing.endpoint, service="tarpon-node", name=node.identity.node_id) as tracing,
                _connected(config, node.identity) as connection,
            ):
                await _serve(
                    config,
                    node,
                    journal=journal,
                    uploading=uploading,
                    downloads=downloads,
                    connection=connection,
                    traces=ExecutionTraces(tracing, node.identity.node_id),
                    ready=ready or _nobody,
                )
        finally:
            await finish(_close(journal), within=DRAIN_SECONDS)


def at_stop(config: Config) -> str:
    """What a node does that is told to stop, and how long that may take."""
    tasks, within = format_duration(config.compute.drain_timeout), format_duration(stop_seconds(config))
    return (
        "the node takes nothing on any more and gives back what has not begun; tasks may run for"
        f" {tasks} more (Compute.DrainTimeout), and all ends within {within}"
    )


def stop_seconds(config: Config) -> float:
    """How long a node may take to stop."""
    return float(config.compute.drain_timeout) + 2 * DRAIN_SECONDS + 2 * FAREWELL_SECONDS


async def _close(journal: Journal) -> None:
    await journal.written()
    await asyncio.to_thread(sync_results, journal)
    await journal.close()


async def _serve(
    config: Config,
    node: Node,
    *,
    journal: Journal,
    uploading: SharedLimits,
    downloads: Downloads,
    connection: Connection,
    traces: ExecutionTraces,
    ready: Callable[[], None],
) -> None:
    me = node.identity.node_id
    reports = ReportSender(connection, subjects.node_reports(me))
    ask = UploadRequests(connection, subjects.node_requests(me)).ask
    fetch_seconds = float(config.compute.inputs.fetch_timeout)
    inputs = Inputs(node.own_inputs, ManagedInputs(downloads, ask, unpack_result), timeout_seconds=fetch_seconds)
    async with background(reports=reports.run()) as group:
        slots = Slots(node.offer.capacity, queue_capacity=config.compute.queue_capacity)
        executions = Executions(
            journal=journal,
            slots=slots,
            supervisor=_supervisor(config, node, journal=journal, uploading=uploading, reports=reports, inputs=inputs),
            reports=reports,
            ask=ask,
            group=group,
            on_over=traces.on_over,
            opener=SecretsOpener(node.identity.nkey_seed),
            inputs=ToldInputs(downloads.cache),
        )
        await recover(journal, node.offer.engines, executions, reports)
        running = [each.execution_id for each in journal.entries() if each.phase is Phase.STARTED]
        await asyncio.to_thread(_secret_files(config).sweep, running)
        registrar = Registrar(
            connection,
            subjects.node_requests(me),
            node.info,
            executions,
            problems=partial(_problems, config.data_dir / "compute", node),
        )
        disk = DiskSpace(config.data_dir / "compute")
        metrics = ComputeMetrics(
            executions=executions,
            slots=slots,
            totals=uploading.totals,
            connection=connection,
            offer=node.offer,
            disk=disk,
        )
        async with (
            serve_metrics(config.compute.metrics.address, metrics),
            connection.subscribe(subjects.node_orders(me)) as orders,
            background(
                **_loops(
                    config,
                    node,
                    connection=connection,
                    executions=executions,
                    registrar=registrar,
                    orders=orders,
                    disk=disk,
                )
            ),
        ):
            _log.info("Compute node %s takes orders.", me, extra=about(node=me))
            ready()
            farewell = partial(_say_farewell, connection, subjects.node_heartbeat(me), executions, registrar)
            stop = partial(_stop, executions, reports, connection, float(config.compute.drain_timeout))
            within = float(config.compute.drain_timeout) + DRAIN_SECONDS + 2 * FAREWELL_SECONDS
            await _until_cancelled(executions, farewell, stop, within=within)


def _problems(folder: Path, node: Node, held: Collection[ExecutionId]) -> tuple[str, ...]:
    """Blocks."""
    return (*node.problems, *(node.docker.problems if node.docker else ()), *problems(folder, held))


def _secret_files(config: Config) -> SecretFiles:
    return SecretFiles(config.data_dir / "compute" / SECRETS)


def _supervisor(
    config: Config,
    node: Node,
    *,
    journal: Journal,
    uploading: SharedLimits,
    reports: ReportSender,
    inputs: Inputs,
) -> Supervisor:
    me, version = node.identity, node.lasting_info.version
    isolation = {name: engine.isolation for name, engine in node.offer.engines.items()}
    signer = NodeSigner(me.node_id, me.nkey_seed, version, isolation)

    def new_upload(execution: Execution, workspace: Workspace, on_waiting: Callable[[str], None]) -> Upload:
        kind = PlainUpload if execution.entry.assignment.is_plain else Upload
        return kind(
            execution.id,
            workspace.result,
            workspace.root,
            execution.grants,
            uploading,
            contents=workspace.contents(*execution.entry.ended, execution.entry.assignment.task),
            packed=execution.packed,
            must_be_whole=execution.entry.assignment.task.on_unreadable == FAIL,
            lacking=execution.entry.left_out_count,
            on_waiting=on_waiting,
            sign=partial(signer.envelope, execution.entry),
        )

    def pack(workspace: Workspace, contents: ResultContents) -> SmallArchive | None:
        return uploading.small.pack(workspace.result, contents)

    return Supervisor(
        journal=journal,
        engines=node.offer.engines,
        environment=node.offer.environment,
        reports=reports,
        new_upload=new_upload,
        pack=pack,
        secret_files=_secret_files(config),
        inputs=inputs,
        disk_limit_bytes=parse_bytes(config.compute.disk_limit),
        has_gpus=node.offer.capacity.gpu > 0,
    )


def _loops(
    config: Config,
    node: Node,
    *,
    connection: Connection,
    executions: Executions,
    registrar: Registrar,
    orders: AsyncIterator[Received],
    disk: DiskSpace,
) -> dict[str, Coroutine[Any, Any, None]]:
    """What goes on all the time, by name."""
    heartbeats = send_heartbeats(
        connection,
        subjects.node_heartbeat(node.identity.node_id),
        executions.heartbeat,
        interval_seconds=config.compute.heartbeat.interval,
        has_progress=executions.has_progress,
        space=lambda: disk.space,
    )
    loops = {
        "orders": Orders(executions, node.offer, registrar.register_soon).run(orders),
        "registration": registrar.run(),
        "heartbeats": heartbeats,
        "disk space": disk.run(),
        "deletions": executions.delete_forgotten(),
    }
    may_be_away = [engine for engine in node.offer.engines.values() if isinstance(engine, OutlivingEngine)]
    return loops | {engine.name: engine.watch(registrar.register_soon) for engine in may_be_away}


async def _until_cancelled(
    executions: Executions,
    farewell: Callable[[], Coroutine[Any, Any, None]],
    stop: Callable[[], Coroutine[Any, Any, None]],
    *,
    within: float,
) -> None:
    """Everything around is still at work while this stops, so that ends can be told and receipts arrive."""
    try:
        await asyncio.Event().wait()
    finally:
        executions.take_nothing_on()
        await finish(farewell(), within=2 * FAREWELL_SECONDS)
        await finish(stop(), within=within)


async def _say_farewell(connection: Connection, subject: str, executions: Executions, registrar: Registrar) -> None:
    """Tell at once that nothing is taken on any more, so that no work is placed here in vain or waits for this node."""
    with contextlib.suppress(MessagingUnavailable, TimeoutError):
        await connection.publish(subject, encode(executions.heartbeat()))
        async with asyncio.timeout(FAREWELL_SECONDS):
            await registrar.say_farewell()


async def _stop(executions: Executions, reports: ReportSender, connection: Connection, tasks_seconds: float) -> None:
    """Cancelling it half-way, which a second signal does not even wait for, leaves all to the journal."""
    await executions.drain(tasks_within=tasks_seconds, within=DRAIN_SECONDS)
    if connection.connected:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await reports.all_sent()


def _nobody() -> None:
    pass


@asynccontextmanager
async def _uploading(config: Config) -> AsyncIterator[SharedLimits]:
    settings = config.publishers.archive
    trust = await asyncio.to_thread(trusting_store, config.publishers.types.s3managed.ca_file)
    async with upload_session(trust) as http:
        uploading = SharedLimits(
            http,
            compressing=settings.threads,
            level=settings.level,
            limit_bytes=parse_bytes(settings.size_limit),
            trust=trust,
        )
        try:
            yield uploading
        finally:
            uploading.short.close()
            await finish(asyncio.to_thread(uploading.close), within=DRAIN_SECONDS)


@asynccontextmanager
async def _downloading(config: Config, folder: Path) -> AsyncIterator[Downloads]:
    cache = await asyncio.to_thread(_cache, config, folder)
    trust = await asyncio.to_thread(trusting_store, config.publishers.types.s3managed.ca_file)
    async with input_session(trust) as http, background(trimming=cache.keep_within_limit()):
        small_gets = SmallGets(trust)
        downloads = Downloads(http, small_gets, cache)
        try:
            yield downloads
        finally:
            small_gets.close()
            await finish(asyncio.to_thread(downloads.close), within=DRAIN_SECONDS)


def _cache(config: Config, folder: Path) -> InputCache:
    """Blocks."""
    limit = share_or_amount(config.compute.inputs.cache_size, shutil.disk_usage(folder).total, parse_bytes)
    return InputCache.open(folder / CACHE, limit)


@asynccontextmanager
async def _adopting(config: Config, strays: Strays) -> AsyncIterator[None]:
    if not config.engines.types.process.enabled:
        yield
        return
    await asyncio.to_thread(strays.adopt)
    try:
        yield
    finally:
        strays.release()


_IN_THE_CLEAR = (
    "What is sent to %s has no TLS: whoever is on the way reads what this node joins with, and all that it sends. Write"
    " tls:// before the address, and name the authority: a join token does, or Compute.TLS.CACert."
)


@asynccontextmanager
async def _connected(config: Config, identity: Identity) -> AsyncIterator[Connection]:
    invited = await asyncio.to_thread(invitation, config)
    trust = await asyncio.to_thread(trust_of, config.compute.tls, invited.authority)
    if plain := in_the_clear(invited.servers, trust):
        _log.warning(_IN_THE_CLEAR, ", ".join(plain))
    async with (
        connect(
            invited.servers,
            name=identity.node_id,
            nkey_seed=identity.nkey_seed,
            token=invited.shown,
            inbox_prefix=subjects.node_inbox(identity.node_id),
            trust=trust,
        ) as connection,
        background(refusals=explain_refusals(connection, invited, identity, trust), **_shown(config, trust)),
    ):
        yield connection


def _shown(config: Config, trust: ssl.SSLContext | None) -> dict[str, Coroutine[Any, Any, None]]:
    """What keeps the certificate current that the node shows, if it does."""
    shown = certificate_of(config.compute.tls)
    return {"client_certificate": keep_shown(shown, trust)} if shown and trust else {}


@asynccontextmanager
async def _locked(folder: Path, data_dir: Path) -> AsyncIterator[None]:
    """Only one node may use a folder. The lock ends with the process, however that ends."""
    descriptor = await asyncio.to_thread(_lock, folder, data_dir)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(folder: Path, data_dir: Path) -> int:
    durable.make_folder(folder)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunning("compute node", str(data_dir)) from None
    return descriptor
