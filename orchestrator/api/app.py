"""The HTTP API: one table of routes, which is both what is served and what is described."""

from collections.abc import Callable

import msgspec
from aiohttp import web

from orchestrator.api.agent import DOCUMENT, AgentRoutes
from orchestrator.api.auth import AuthRoutes
from orchestrator.api.bodies import MAX_BODY_BYTES
from orchestrator.api.errors import errors_as_answers, log_no_requests_less, with_headers
from orchestrator.api.job_details import JobParts
from orchestrator.api.jobs import JobRoutes
from orchestrator.api.logs import LogRoutes
from orchestrator.api.nodes import Disconnect, NodeRoutes
from orchestrator.api.openapi import document
from orchestrator.api.own_node import OwnNode
from orchestrator.api.prometheus import MetricsRoutes, counting
from orchestrator.api.routes import Route
from orchestrator.jobs.removals import Removals
from orchestrator.jobs.submissions import Submissions
from orchestrator.jobs.task_output import Logs
from orchestrator.jobs.waits import JobWaits
from orchestrator.nodes.presence import Nodes
from orchestrator.s3.locations import Locations
from orchestrator.state.model import Model
from orchestrator.storage.store import Store
from orchestrator.telemetry.measures import Measures
from shared.ids import NodeId
from shared.runtime.metrics import Metric
from shared.settings.config import Config

IDLE_SECONDS = 75.0
"""How long a connection may be without a whole request: longer than usual clients and proxies keep one."""
LINGER_SECONDS = 5.0
"""How long what a client still sends is read after the answer, so that it can read that."""


class Api:
    """The routes, in the order in which they are described. `collect` gives what Prometheus is told."""

    def __init__(
        self,
        *,
        name: str,
        config: Config,
        model: Model,
        store: Store,
        nodes: Nodes,
        waits: JobWaits,
        submissions: Submissions,
        removals: Removals,
        locations: Locations,
        logs: Logs,
        leader: Callable[[], str] = lambda: "",
        connected: Callable[[], bool] = lambda: True,
        disconnect: Disconnect | None = None,
        measures: Measures | None = None,
        collect: Callable[[], tuple[Metric, ...]] = tuple,
    ) -> None:
        own_node = OwnNode(name, config)
        parts = JobParts(model=model, store=store, locations=locations, nodes=nodes, waits=waits)
        self.routes = (
            *JobRoutes(model=model, store=store, submissions=submissions, removals=removals, parts=parts).routes(),
            *parts.routes(),
            *LogRoutes(parts=parts, logs=logs).routes(),
            *NodeRoutes(
                model=model, store=store, nodes=nodes, own_node=own_node, disconnect=disconnect or _no_node
            ).routes(),
            *AgentRoutes(
                own_node=own_node,
                config=config,
                model=model,
                nodes=nodes,
                store=store,
                locations=locations,
                leader=leader,
                connected=connected,
            ).routes(),
            *AuthRoutes().routes(),
            *MetricsRoutes(collect).routes(),
            Route("GET", DOCUMENT, self.get_document, "This description."),
        )
        self._counting = counting(measures or Measures())
        self._document = msgspec.json.encode(document(self.routes))

    def application(self) -> web.Application:
        log_no_requests_less()
        application = web.Application(
            middlewares=[self._counting, errors_as_answers],
            client_max_size=MAX_BODY_BYTES,
            handler_args={"keepalive_timeout": IDLE_SECONDS, "lingering_time": LINGER_SECONDS},
        )
        application.on_response_prepare.append(with_headers)
        for route in self.routes:
            application.router.add_route(route.method, route.path, route.handler)
            if route.method == "GET":
                application.router.add_route("HEAD", route.path, route.handler)
        return application

    async def get_document(self, _: web.Request) -> web.Response:
        return web.Response(body=self._document, content_type="application/json")

    def __repr__(self) -> str:
        return f"<Api of {len(self.routes)} routes>"


async def _no_node(_: NodeId) -> None:
    """None is connected here."""
