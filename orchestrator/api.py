"""The HTTP API: the paths and shapes of the reference, over the model and the submissions."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from orchestrator import views
from orchestrator.events import stream_events
from orchestrator.locations import Locations
from orchestrator.model import JobEntry, Model, newest_first
from orchestrator.nodes import Nodes
from orchestrator.results import results
from orchestrator.store import Store
from orchestrator.submissions import Submissions
from shared import rest
from shared.decoding import decode
from shared.errors import (
    Conflict,
    InvalidDocument,
    InvalidInput,
    MessagingUnavailable,
    NodeNotFound,
    NotFound,
    PayloadTooLarge,
    Refused,
    TarponError,
    Unavailable,
)
from shared.ids import NodeId
from shared.version import version_text

_log = logging.getLogger(__name__)

MAX_BODY_BYTES = 10 << 20
DEFAULT_PAGE = 10
MAX_PAGE = 1000
STORE_SECONDS = 15.0

_encode = msgspec.json.encode
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_STATUS: tuple[tuple[type[TarponError], int], ...] = (
    (PayloadTooLarge, 413),
    (InvalidInput, 400),
    (NotFound, 404),
    (Conflict, 409),
    (Refused, 403),
    (Unavailable, 503),
)


def status_of(error: TarponError) -> int:
    """The HTTP status of an error, by its family."""
    return next((status for family, status in _STATUS if isinstance(error, family)), 500)


def answer(body: msgspec.Struct, status: int = 200) -> web.Response:
    return web.Response(body=_encode(body), status=status, content_type="application/json")


def error_answer(error: TarponError, request_id: str) -> web.Response:
    status = status_of(error)
    body = rest.ErrorBody(
        status=status,
        message=error.message,
        request_id=request_id,
        code=error.code,
        component="Orchestrator",
        hint=error.hint,
        details=error.details,
    )
    return answer(body, status)


@web.middleware
async def errors_as_answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error leaves as the documented body. A page of another site may not use a person's browser to ask."""
    request_id = str(uuid.uuid4())
    try:
        _refuse_other_sites(request)
        return await handler(request)
    except TarponError as error:
        return error_answer(error, request_id)
    except web.HTTPRequestEntityTooLarge:
        return error_answer(PayloadTooLarge("The request", request.content_length or 0, MAX_BODY_BYTES), request_id)
    except web.HTTPException as error:
        body = rest.ErrorBody(
            status=error.status,
            message=f"There is no {request.method} {request.path}.",
            request_id=request_id,
            code="NotFound" if error.status == 404 else "BadRequest",
            component="Orchestrator",
        )
        return answer(body, error.status)
    except TimeoutError:
        return error_answer(MessagingUnavailable("The state could not be written in time."), request_id)
    except Exception:  # noqa: BLE001  # the per-message handler: one request must not end the service
        _log.exception("A request failed: %s %s (%s)", request.method, request.path, request_id)
        body = rest.ErrorBody(
            status=500,
            message="The orchestrator failed to answer; its log tells how.",
            request_id=request_id,
            code="InternalError",
            component="Orchestrator",
        )
        return answer(body, 500)


def _refuse_other_sites(request: web.Request) -> None:
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        raise Refused("A web page of another site asked.", hint="Use the API from a program.")


class Api:
    """Reads come from the model and cost no round trip."""

    def __init__(
        self,
        *,
        name: str,
        model: Model,
        store: Store,
        nodes: Nodes,
        submissions: Submissions,
        locations: Locations,
    ) -> None:
        self._name = name
        self._model = model
        self._store = store
        self._nodes = nodes
        self._submissions = submissions
        self._locations = locations

    def application(self) -> web.Application:
        application = web.Application(middlewares=[errors_as_answers], client_max_size=MAX_BODY_BYTES)
        jobs, nodes, agent = (
            f"{rest.BASE_PATH}/{part}" for part in ("orchestrator/jobs", "orchestrator/nodes", "agent")
        )
        application.add_routes(
            [
                web.put(jobs, self.submit),
                web.post(jobs, self.submit),
                web.get(jobs, self.list_jobs),
                web.get(f"{jobs}/{{job}}", self.get_job),
                web.delete(f"{jobs}/{{job}}", self.stop_job),
                web.get(f"{jobs}/{{job}}/history", self.get_history),
                web.get(f"{jobs}/{{job}}/executions", self.get_executions),
                web.get(f"{jobs}/{{job}}/results", self.get_results),
                web.get(f"{jobs}/{{job}}/events", self.get_events),
                web.get(nodes, self.list_nodes),
                web.get(f"{nodes}/{{node}}", self.get_node),
                web.get(f"{agent}/alive", self.get_alive),
                web.get(f"{agent}/version", self.get_version),
                web.get(f"{agent}/node", self.get_agent_node),
            ]
        )
        return application

    # ---- jobs ---------------------------------------------------------------------------------------------------

    async def submit(self, request: web.Request) -> web.Response:
        data = _json(await request.read(), "The request")
        if "job" not in {key.lower() for key in data}:
            raise InvalidDocument("The request has no Job.", hint='Send {"Job": {...}}.')
        wanted, warnings = decode(data, rest.SubmitRequest, what="The request", unknown="report")
        async with asyncio.timeout(STORE_SECONDS):
            done = await self._submissions.submit(wanted.job, force=wanted.force, token=wanted.idempotency_token[:200])
        return answer(
            rest.SubmitResponse(
                job_id=done.job_id, evaluation_id=_evaluation(done.job_id), warnings=(*warnings, *done.warnings)
            )
        )

    async def list_jobs(self, request: web.Request) -> web.Response:
        self._store.check_ready()
        query = request.query
        namespace = query.get("namespace", "default")
        limit = min(MAX_PAGE, _number(query.get("limit", ""), DEFAULT_PAGE) or DEFAULT_PAGE)
        offset = _number(query.get("next_token", ""), 0)
        found = newest_first(entry for entry in self._model.jobs.values() if namespace in {"*", entry.job.namespace})
        if query.get("reverse", "").lower() == "true":
            found.reverse()
        page = found[offset : offset + limit]
        more = str(offset + limit) if offset + limit < len(found) else ""
        return answer(
            rest.ListJobsResponse(next_token=more, items=tuple(views.job_view(self._model, entry) for entry in page))
        )

    async def get_job(self, request: web.Request) -> web.Response:
        entry = self._entry(request)
        include = {part for value in request.query.getall("include", []) for part in value.split(",")}
        return answer(
            rest.JobResponse(
                job=views.job_view(self._model, entry),
                history=rest.Page(items=views.history(entry)) if "history" in include else None,
                executions=rest.Page(items=views.execution_views(self._model, entry))
                if "executions" in include
                else None,
            )
        )

    async def stop_job(self, request: web.Request) -> web.Response:
        entry = self._entry(request)
        reason = request.query.get("reason", "")
        body = await request.read()
        if body:
            data = _json(body, "The request")
            reason = decode(data, rest.StopRequest, what="The request", unknown="report")[0].reason or reason
        async with asyncio.timeout(STORE_SECONDS):
            stopped = await self._submissions.stop(entry, reason)
        return answer(rest.StopResponse(evaluation_id=_evaluation(entry.job.id) if stopped else ""))

    async def get_history(self, request: web.Request) -> web.Response:
        return answer(rest.Page(items=views.history(self._entry(request))))

    async def get_executions(self, request: web.Request) -> web.Response:
        return answer(rest.Page(items=views.execution_views(self._model, self._entry(request))))

    async def get_results(self, request: web.Request) -> web.Response:
        return answer(rest.Page(items=await results(self._entry(request), self._locations)))

    async def get_events(self, request: web.Request) -> web.StreamResponse:
        return await stream_events(request, self._model, self._entry(request))

    def _entry(self, request: web.Request) -> JobEntry:
        self._store.check_ready()
        return self._model.find(request.match_info["job"], request.query.get("namespace", "default"))

    # ---- nodes and this process ---------------------------------------------------------------------------------

    async def list_nodes(self, _: web.Request) -> web.Response:
        self._store.check_ready()
        found = tuple(views.node_state(self._model, self._nodes, node) for node in sorted(self._model.nodes))
        return answer(rest.ListNodesResponse(nodes=found))

    async def get_node(self, request: web.Request) -> web.Response:
        self._store.check_ready()
        text = request.match_info["node"]
        found = [node for node in self._model.nodes if node == text] or [
            node for node in self._model.nodes if node.startswith(text)
        ]
        if len(found) != 1:
            raise NodeNotFound(text)
        return answer(rest.NodeResponse(node=views.node_state(self._model, self._nodes, NodeId(found[0]))))

    async def get_alive(self, _: web.Request) -> web.Response:
        return answer(rest.AliveResponse(status="OK"))

    async def get_version(self, _: web.Request) -> web.Response:
        return answer(views.version_view(version_text()))

    async def get_agent_node(self, _: web.Request) -> web.Response:
        return answer(
            rest.AgentNodeResponse(
                node_id=self._name,
                node_type=rest.REQUESTER,
                version=views.version_view(version_text()),
                publishers=rest.PublishersHealth(s3managed=publisher_health(self._locations)),
            )
        )


def publisher_health(locations: Locations) -> rest.PublisherHealth | None:
    """How the bucket of the managed publisher is; None where it is not configured."""
    if locations.current is None:
        return None
    outcome = locations.current.health.outcome
    problem = outcome.problem
    return rest.PublisherHealth(
        ready=outcome.ready,
        create_only=outcome.create_only if outcome.ready else None,
        problem=rest.Problem(code=problem.code, message=problem.message, hint=problem.hint) if problem else None,
    )


def _json(body: bytes, what: str) -> dict[str, Any]:
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidDocument(f"{what} is not JSON: {str(error)[:200]}.") from None
    if not isinstance(data, dict):
        raise InvalidDocument(f"{what} must be a JSON object.")
    return data


def _number(text: str, default: int) -> int:
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidDocument(f"{text[:40]!r} is not a number.")
    return int(text)


def _evaluation(job: str) -> str:
    """The reference answers with the id of an evaluation; here the job's own id stands for it."""
    return f"v-{job.removeprefix('j-')}"
