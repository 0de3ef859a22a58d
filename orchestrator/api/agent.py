"""Routes of the HTTP API that tell about the orchestrator itself."""

from datetime import UTC, datetime
from functools import partial
from itertools import islice

from aiohttp import web
from msgspec.structs import asdict

from orchestrator.admission.sign_in.sign_in import SignIn
from orchestrator.api.bodies import answer
from orchestrator.api.cluster.own_node import OwnNode
from orchestrator.api.routes import AGENT, Route, principal_of
from orchestrator.api.settings_view import shown_settings
from orchestrator.assembly import Assembly
from orchestrator.audit.recorder import AuditHealth
from orchestrator.jobs import views
from orchestrator.s3.locations import Locations
from orchestrator.s3.problems import BucketProblem
from shared.errors import MessagingUnavailable
from shared.protocol import rest, rest_nodes
from shared.protocol.capabilities import OPEN, READ_AGENT
from shared.protocol.rest import BASE_PATH
from shared.settings.sign_in import DEFAULT_INTERVAL

MAX_UPLOADS = 1000
DOCUMENT = f"{BASE_PATH}/openapi.json"
_open = partial(Route, needs=OPEN)


class AgentRoutes:
    def __init__(self, assembly: Assembly, own_node: OwnNode, sign_in: SignIn | None = None) -> None:
        self._sign_in = sign_in
        self._own_node = own_node
        self._audit = assembly.audit
        self._config = shown_settings(assembly.config)
        self._model = assembly.model
        self._nodes = assembly.nodes
        self._store = assembly.store
        self._locations = assembly.locations
        self._lease = assembly.lease
        self._connection = assembly.connection

    def routes(self) -> tuple[Route, ...]:
        alive, ready = "Whether the orchestrator lives.", "Whether the orchestrator can be used: 503 until then."
        settings = "Every setting; secrets are hidden."
        return (
            _open("GET", f"{AGENT}/alive", self.get_alive, alive, rest_nodes.AliveResponse),
            _open("GET", "/livez", self.get_livez, alive, rest_nodes.AliveResponse),
            _open("GET", f"{BASE_PATH}/livez", self.get_api_livez, alive, rest_nodes.AliveResponse),
            _open("GET", "/readyz", self.get_readyz, ready, rest_nodes.AliveResponse),
            _open("GET", f"{AGENT}/version", self.get_version, "The version of Tarpon.", rest_nodes.VersionView),
            Route(
                "GET",
                f"{AGENT}/node",
                self.get_agent_node,
                "The orchestrator as a node, with the health of its publishers.",
                rest_nodes.AgentNodeResponse,
                needs=READ_AGENT,
            ),
            Route(
                "GET",
                f"{AGENT}/uploads",
                self.get_uploads,
                "Uploads in parts that no result came of, and that could not be aborted yet; a thousand at most.",
                rest.Page[rest_nodes.UnfinishedUpload],
                needs=READ_AGENT,
                everywhere=True,
            ),
            Route(
                "GET",
                f"{AGENT}/config",
                self.get_config,
                settings,
                rest_nodes.AgentConfigResponse,
                needs=READ_AGENT,
                everywhere=True,
            ),
            _open(
                "GET",
                f"{AGENT}/authconfig",
                self.get_auth_config,
                "The identity provider for people who sign in; empty where there is none.",
                rest_nodes.AuthConfigResponse,
            ),
            Route(
                "GET",
                f"{AGENT}/debug",
                self.get_debug,
                "What there is to do, in numbers.",
                rest_nodes.DebugResponse,
                needs=READ_AGENT,
                everywhere=True,
            ),
            _open("GET", "/version", self.get_root_version, "To the version.", redirects=True),
        )

    async def get_alive(self, _: web.Request) -> web.Response:
        return answer(rest_nodes.AliveResponse(status="OK"))

    async def get_livez(self, request: web.Request) -> web.Response:
        return await self.get_alive(request)

    async def get_api_livez(self, request: web.Request) -> web.Response:
        return await self.get_alive(request)

    async def get_readyz(self, request: web.Request) -> web.Response:
        self._store.check_ready()
        self._store.check_whole()
        if not self._connection.connected:
            raise MessagingUnavailable("There is no connection to NATS at present.", hint="It is made again by itself.")
        return await self.get_alive(request)

    async def get_version(self, _: web.Request) -> web.Response:
        return answer(self._own_node.version)

    async def get_agent_node(self, request: web.Request) -> web.Response:
        unfinished = len(self._model.endings.uploads) if principal_of(request).sees_all else 0
        return answer(
            rest_nodes.AgentNodeResponse(
                **asdict(self._own_node.info()),
                leader=self._lease.leader,
                publishers=rest_nodes.PublishersHealth(s3managed=publisher_health(self._locations, unfinished)),
                audit=_audit_state(self._audit.health),
                time=datetime.now(UTC),
            )
        )

    async def get_uploads(self, _: web.Request) -> web.Response:
        self._store.check_ready()
        return answer(rest.Page(items=tuple(islice(views.unfinished_uploads(self._model), MAX_UPLOADS))))

    async def get_config(self, _: web.Request) -> web.Response:
        return answer(rest_nodes.AgentConfigResponse(config=self._config))

    async def get_auth_config(self, _: web.Request) -> web.Response:
        """Raises IssuerAway, IssuerUnfit where it is not known yet where people sign in."""
        if self._sign_in is None:
            return answer(rest_nodes.AuthConfigResponse())
        settings, endpoints = self._sign_in.settings, await self._sign_in.issuer.endpoints()
        return answer(
            rest_nodes.AuthConfigResponse(
                config=rest_nodes.Oauth2View(
                    provider_id=settings.provider_id or settings.issuer,
                    provider_name=settings.provider_name or settings.issuer,
                    device_authorization_endpoint=endpoints.device_authorization,
                    token_endpoint=endpoints.token,
                    issuer=settings.issuer,
                    jwks_uri=endpoints.keys,
                    device_client_id=settings.device_client_id,
                    polling_interval=settings.polling_interval or DEFAULT_INTERVAL,
                    audience=settings.audience,
                    scopes=settings.scopes,
                )
            )
        )

    async def get_debug(self, _: web.Request) -> web.Response:
        return answer(views.debug_view(self._model, self._nodes))

    async def get_root_version(self, _: web.Request) -> web.Response:
        raise web.HTTPFound(f"{AGENT}/version")


def _audit_state(health: AuditHealth) -> rest_nodes.AuditState:
    problem = health.problem
    return rest_nodes.AuditState(
        writable=problem is None,
        last_line=health.seq,
        lost=health.lost,
        problem=rest_nodes.Problem(code=problem.code, message=problem.message, hint=problem.hint) if problem else None,
    )


def publisher_health(locations: Locations, unfinished_uploads: int) -> rest_nodes.PublisherHealth | None:
    """How the bucket of the managed publisher is; None where it is not configured."""
    if locations.current is None:
        return None
    outcome = locations.current.health.outcome
    problem = outcome.problem or locations.current.watch.problem
    return rest_nodes.PublisherHealth(
        ready=outcome.ready and problem is None,
        unfinished_uploads=unfinished_uploads,
        create_only=outcome.create_only if outcome.ready else None,
        create_only_parts=locations.current.completes_create_only,
        problem=_problem(problem),
        deletion_problem=_problem(locations.current.deletion_problem),
    )


def _problem(found: BucketProblem | None) -> rest_nodes.Problem | None:
    return rest_nodes.Problem(code=found.code, message=found.message, hint=found.hint) if found else None
