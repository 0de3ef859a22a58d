"""The HTTP API: one table of routes, which is both what is served and what is described."""

import asyncio
from functools import cache

import msgspec
from aiohttp import web

from orchestrator.admission.bounds.guesses import Guesses
from orchestrator.admission.bounds.origins import Proxies
from orchestrator.admission.bounds.shares import UserShares
from orchestrator.admission.identities import Identities
from orchestrator.admission.sessions.sessions import Sessions
from orchestrator.admission.sign_in.device_flow import DeviceFlow
from orchestrator.admission.sign_in.sign_in import SignIn
from orchestrator.api.access.auditing import RequestAudit
from orchestrator.api.access.auth import AuthRoutes
from orchestrator.api.access.bounding import bounding
from orchestrator.api.access.connections import Connections
from orchestrator.api.access.identity import WhoAsks, identifying
from orchestrator.api.access.listener import Listener
from orchestrator.api.access.session_cookies import SessionCookies
from orchestrator.api.access.sessions import SessionRoutes
from orchestrator.api.access.users import UserRoutes
from orchestrator.api.agent import DOCUMENT, AgentRoutes
from orchestrator.api.bodies import MAX_BODY_BYTES
from orchestrator.api.cluster.executions import ExecutionRoutes
from orchestrator.api.cluster.node_executions import NodeExecutionRoutes
from orchestrator.api.cluster.own_node import OwnNode
from orchestrator.api.cluster.routes import ClusterRoutes
from orchestrator.api.errors import errors_as_answers, log_no_requests_less, with_headers
from orchestrator.api.job_details import JobDetailRoutes
from orchestrator.api.jobs import JobRoutes
from orchestrator.api.logs import LogRoutes
from orchestrator.api.namespaces.data import DataRoutes
from orchestrator.api.namespaces.secrets import SecretRoutes
from orchestrator.api.namespaces.weights import NamespaceRoutes
from orchestrator.api.nodes import Disconnect, NodeRoutes
from orchestrator.api.openapi import document
from orchestrator.api.page.policy import headers_of_page
from orchestrator.api.page.routes import PageRoutes
from orchestrator.api.prometheus import MetricsRoutes, counting
from orchestrator.api.routes import Route
from orchestrator.api.schedules import ScheduleRoutes
from orchestrator.api.tokens import TokenRoutes
from orchestrator.assembly import Assembly
from orchestrator.nats_servers.addresses import addresses
from orchestrator.nodes.join_tokens import JoinTokens
from shared.protocol.capabilities import OPEN

IDLE_SECONDS = 75.0
"""How long a connection may be without a whole request: longer than usual clients and proxies keep one."""
LARGEST_FIELD, LARGEST_FIELD_WITH_TOKENS = 16 << 10, 24 << 10
"""Of a header. Browsers send the cookies of all ports of a host, and tokens with many groups are larger still."""
LINGER_SECONDS = 5.0
"""How long what a client still sends is read after the answer, so that it can read that."""


class Api:
    """The routes, in the order in which they are described. `disconnect` ends the connections of a node.

    `authority` are the certificates by which nodes know NATS, `api_authority` those by which clients know the API.
    `sign_in` is how people sign in, where they do.
    """

    def __init__(
        self,
        assembly: Assembly,
        *,
        disconnect: Disconnect,
        authority: tuple[bytes, ...] = (),
        api_authority: tuple[bytes, ...] = (),
        sign_in: SignIn | None = None,
    ) -> None:
        self._sign_in = sign_in
        self._users = assembly.model.users
        settings, held_back = assembly.config.api, assembly.measures.held_back
        self._identities = Identities(self._users, settings.auth, Guesses(held_back))
        self._proxies = Proxies(settings.trusted_proxies)
        self._audited = RequestAudit(assembly.audit)
        self._sessions = Sessions(assembly.session_key, assembly.model, assembly.store, self._identities, sign_in)
        self._cookies = SessionCookies(self._sessions, self._proxies)
        self.shares = UserShares(settings.limits, held_back, assembly.changing)
        self.listener = Listener(Connections(settings.limits, self._proxies, held_back))
        device_flow = DeviceFlow(sign_in.issuer, sign_in.settings, assembly.session_key) if sign_in else None
        tokens = JoinTokens(
            assembly.model,
            assembly.store,
            addresses=addresses(assembly.config.orchestrator),
            authority=authority,
        )
        own_node, details = OwnNode(assembly.name, assembly.config), JobDetailRoutes(assembly)
        nodes = NodeRoutes(assembly, own_node, tokens, disconnect)
        self.routes = (
            *JobRoutes(assembly, details).routes(),
            *details.routes(),
            *ExecutionRoutes(assembly).routes(),
            *LogRoutes(assembly, details).routes(),
            *nodes.routes(),
            *NodeExecutionRoutes(assembly, nodes).routes(),
            *ScheduleRoutes(assembly, details).routes(),
            *TokenRoutes(assembly, tokens).routes(),
            *SecretRoutes(assembly).routes(),
            *DataRoutes(assembly).routes(),
            *NamespaceRoutes(assembly).routes(),
            *AgentRoutes(assembly, own_node, sign_in).routes(),
            *ClusterRoutes(assembly).routes(),
            *AuthRoutes(anonymous=self._identities.anonymous).routes(),
            *SessionRoutes(
                self._sessions,
                self._cookies,
                self._identities,
                self._audited,
                sign_in=sign_in,
                device_flow=device_flow,
                api=settings,
            ).routes(),
            *UserRoutes(assembly, api_authority).routes(),
            *MetricsRoutes(assembly).routes(),
            Route("GET", DOCUMENT, self.get_document, "This description.", needs=OPEN),
        )
        self._page = PageRoutes(lambda: headers_of_page(assembly.locations.read_origins())).routes()
        self._counting = counting(assembly.measures)
        self._document = cache(lambda: msgspec.json.encode(document(self.routes)))
        """Takes a tenth of a second to write, which no start has to wait for."""

    def application(self) -> web.Application:
        log_no_requests_less()
        who = WhoAsks(
            self._identities, self._users, sessions=self._sessions, cookies=self._cookies, sign_in=self._sign_in
        )
        identified = identifying((*self.routes, *self._page), who, self._audited)
        application = web.Application(
            middlewares=[
                bounding(self.shares, self.listener, self._proxies),
                self._counting,
                errors_as_answers,
                identified,
            ],
            client_max_size=MAX_BODY_BYTES,
            handler_args={
                "keepalive_timeout": IDLE_SECONDS,
                "lingering_time": LINGER_SECONDS,
                "max_field_size": LARGEST_FIELD if self._sign_in is None else LARGEST_FIELD_WITH_TOKENS,
            },
        )
        application.on_response_prepare.append(with_headers)
        for route in (*self.routes, *self._page):
            application.router.add_route(route.method, route.path, route.handler)
            if route.method == "GET":
                application.router.add_route("HEAD", route.path, route.handler)
        return application

    async def get_document(self, _: web.Request) -> web.Response:
        return web.Response(body=await asyncio.to_thread(self._document), content_type="application/json")

    def __repr__(self) -> str:
        return f"<Api of {len(self.routes)} routes>"
