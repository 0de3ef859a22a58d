"""Metrics of a compute node for Prometheus, at an address of its own, if its operator gives it one."""

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from aiohttp import web

from compute.disk.disk_space import DiskSpace
from compute.executions.held import Executions
from compute.executions.slots import Slots
from compute.orders.assignments import NodeOffer
from compute.upload.delivery import UploadTotals
from shared.errors import ConfigurationInvalid, PortTaken
from shared.messaging.transport import Connection
from shared.runtime.metrics import (
    CONTENT_TYPE,
    Gauge,
    Metric,
    Total,
    Values,
    build_metric,
    connection_metrics,
    disk_metrics,
    exposition,
    plain,
)
from shared.runtime.version import version_text

SHUTDOWN_SECONDS = 1.0
PATH = "/metrics"


class ComputeMetrics:
    def __init__(
        self,
        *,
        executions: Executions,
        slots: Slots,
        totals: UploadTotals,
        connection: Connection,
        offer: NodeOffer,
        disk: DiskSpace,
    ) -> None:
        self._offer = offer
        self._disk = disk
        self._executions = executions
        self._slots = slots
        self._totals = totals
        self._connection = connection

    def collect(self) -> tuple[Metric, ...]:
        activities: Values = {
            (activity.name.lower(),): float(count) for activity, count in self._executions.activities().items()
        }
        totals, available = self._totals, self._offer.available_engines
        engines: Values = {(engine,): float(engine in available) for engine in self._offer.engines}
        return (
            Gauge("tarpon_node_executions", "Executions on this node, by activity.", activities, ("activity",)),
            Gauge(
                "tarpon_node_results_waiting_for_s3",
                "Results that are ready, and that S3 does not take.",
                plain(self._executions.waiting_for_s3),
            ),
            Gauge("tarpon_node_slots_used", "Executions that hold a share of the node.", plain(self._slots.running)),
            Gauge("tarpon_node_slots_queued", "Executions that wait for one.", plain(self._slots.queued)),
            Total("tarpon_node_uploaded_bytes", "Bytes that S3 has taken from this node.", plain(totals.bytes)),
            Total("tarpon_node_upload_retries", "Repeated uploads.", plain(totals.retries)),
            Total("tarpon_node_url_renewals", "URLs that were asked for anew.", plain(totals.renewals)),
            Gauge("tarpon_node_engine_available", "Whether an engine can start tasks.", engines, ("engine",)),
            *disk_metrics(free=self._disk.space.free, size=self._disk.space.size),
            build_metric(version_text()),
            *connection_metrics(connected=self._connection.connected, connections=self._connection.connections),
        )

    async def answer(self, _: web.Request) -> web.Response:
        text = await asyncio.to_thread(exposition, self.collect())
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    def __repr__(self) -> str:
        return f"<ComputeMetrics of {self._executions!r}>"


@asynccontextmanager
async def serve_metrics(address: str, metrics: ComputeMetrics) -> AsyncIterator[None]:
    """Answer at `address`, which may be empty, while the body runs. Raises PortTaken, ConfigurationInvalid."""
    if not address:
        yield
        return
    application = web.Application()
    application.router.add_get(PATH, metrics.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await _listen(runner, address)
        yield
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, address: str) -> None:
    parts = urlsplit(f"//{address}")
    host, port = parts.hostname or "", parts.port or 0
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken("The node's /metrics", host, port, "Compute.Metrics.Address") from error
        raise ConfigurationInvalid([f"Compute.Metrics.Address: {address} cannot be used: {error.strerror}"]) from error
