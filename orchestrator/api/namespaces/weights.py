"""Namespaces in the HTTP API: what each has of the fleet, and what it has a right to."""

from aiohttp import web

from orchestrator.admission.namespace_weights import set_weight
from orchestrator.api.bodies import answer, body_of
from orchestrator.api.routes import NAMESPACES, Route, principal_of
from orchestrator.assembly import Assembly
from orchestrator.rules.fair_share import DEFAULT_WEIGHT, Held
from shared.jobs.capacity import Capacity
from shared.protocol.capabilities import READ_JOB, WRITE_NODE
from shared.protocol.namespaces.rest_namespaces import (
    ListNamespacesResponse,
    NamespaceResponse,
    NamespaceView,
    SetNamespaceRequest,
)


class NamespaceRoutes:
    def __init__(self, assembly: Assembly) -> None:
        self._model = assembly.model
        self._store = assembly.store

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "GET",
                NAMESPACES,
                self.list_namespaces,
                "The namespaces that have jobs or a weight, with what their executions hold.",
                ListNamespacesResponse,
                needs=READ_JOB,
            ),
            Route(
                "PUT",
                f"{NAMESPACES}/{{namespace}}",
                self.set_namespace,
                "Set how much of the fleet a namespace has a right to, compared with others.",
                NamespaceResponse,
                body=SetNamespaceRequest,
                needs=WRITE_NODE,
                everywhere=True,
            ),
        )

    async def list_namespaces(self, request: web.Request) -> web.Response:
        self._store.check_ready()
        self._model.find_out()
        principal = principal_of(request)
        names = self._model.lists.namespaces | self._model.namespaces.weights.keys()
        views = tuple(self._view(name) for name in sorted(names) if principal.sees(name))
        return answer(ListNamespacesResponse(namespaces=views))

    async def set_namespace(self, request: web.Request) -> web.Response:
        name = request.match_info["namespace"]
        wanted, _ = await body_of(request, SetNamespaceRequest)
        await set_weight(self._model, self._store, name, wanted.weight)
        return answer(NamespaceResponse(namespace=self._view(name)))

    def _view(self, name: str) -> NamespaceView:
        held = self._model.namespaces.held.get(name) or Held()
        return NamespaceView(
            name=name,
            weight=self._model.namespaces.weights.get(name, DEFAULT_WEIGHT),
            jobs=self._model.lists.count_of(name),
            waiting=self._model.backlog.pending.count_of(name),
            running=held.executions,
            held=Capacity(cpu=round(held.cpu, 3), memory=held.memory, disk=held.disk, gpu=held.gpu),
        )
