"""The route that Prometheus reads, and the counts of requests to the HTTP API."""

import asyncio
import shutil
from contextlib import suppress

from aiohttp import web
from aiohttp.typedefs import Middleware

from orchestrator.api.routes import PLAIN_TEXT, Handler, Route
from orchestrator.assembly import Assembly
from orchestrator.telemetry.measures import Measures
from orchestrator.telemetry.metrics import Metrics
from shared.protocol.capabilities import READ_AGENT
from shared.runtime.metrics import CONTENT_TYPE, Metric, disk_metrics, exposition

OTHER = "other"
"""The method and route of a request that no route answers: what is asked for is chosen by whoever asks."""


class MetricsRoutes:
    def __init__(self, assembly: Assembly) -> None:
        self._data_dir = assembly.config.data_dir
        self._metrics = Metrics(
            model=assembly.model,
            store=assembly.store,
            nodes=assembly.nodes,
            measures=assembly.measures,
            connection=assembly.connection,
            lease=assembly.lease,
            audit=assembly.audit,
            bucket=lambda: assembly.locations.current,
            streams=assembly.streams,
            certificates=assembly.certificates,
            webhooks=assembly.webhooks,
            queue_labels=assembly.config.orchestrator.scheduler.queue_labels,
        )

    def routes(self) -> tuple[Route, ...]:
        about = "Numbers about the orchestrator, for Prometheus."
        return (Route("GET", "/metrics", self.get_metrics, about, media=PLAIN_TEXT, needs=READ_AGENT, everywhere=True),)

    async def get_metrics(self, _: web.Request) -> web.Response:
        text = await asyncio.to_thread(self._exposition, self._metrics.collect())
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    def _exposition(self, metrics: tuple[Metric, ...]) -> bytes:
        """Blocks."""
        with suppress(OSError):
            disk = shutil.disk_usage(self._data_dir)
            return exposition((*metrics, *disk_metrics(free=disk.free, size=disk.total)))
        return exposition(metrics)


def counting(measures: Measures) -> Middleware:
    """Count every answer by its method, route and status."""

    @web.middleware
    async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        resource = request.match_info.route.resource
        method, route = (request.method, resource.canonical) if resource is not None else (OTHER, OTHER)
        measures.requests[method, route, str(response.status)] += 1
        return response

    return counted
