"""The executions that a node holds, in the HTTP API: those of jobs that who asks may see."""

from collections.abc import Callable

from aiohttp import web

from orchestrator.api.bodies import answer, query_of
from orchestrator.api.nodes import NodeRoutes
from orchestrator.api.paging import page, sort_key, window_of
from orchestrator.api.queries import NodeExecutionsQuery
from orchestrator.api.routes import NODES, Route, principal_of
from orchestrator.assembly import Assembly
from orchestrator.jobs.views import execution_view
from orchestrator.nodes.upload_progress import upload_of
from orchestrator.rules.records import ExecutionRecord
from orchestrator.state.job_entry import JobEntry
from shared.protocol import subjects
from shared.protocol.capabilities import READ_JOB
from shared.protocol.rest import ExecutionView, Page

Held = tuple[JobEntry, ExecutionRecord]


class NodeExecutionRoutes:
    def __init__(self, assembly: Assembly, nodes: NodeRoutes) -> None:
        self._model = assembly.model
        self._presence = assembly.nodes
        self._nodes = nodes

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "GET",
                f"{NODES}/{{node}}/executions",
                self.list_executions,
                "The executions that a node holds: those placed on it that have not ended, the oldest first.",
                Page[ExecutionView],
                NodeExecutionsQuery,
                needs=READ_JOB,
            ),
        )

    async def list_executions(self, request: web.Request) -> web.Response:
        query, principal = query_of(request, NodeExecutionsQuery), principal_of(request)
        node = self._nodes.found(request)
        live = self._model.executions.live.get(node, {}) if node is not None else {}
        found = [
            (entry, record)
            for record in live.values()
            if (entry := self._model.jobs.get(record.job_id)) is not None
            and record.job_version in entry.specs
            and principal.sees(entry.namespace)
        ]
        window = window_of(sort_by="", reverse=False, limit=query.limit, token=query.next_token)
        items, token = page(found, window, sort_key(window, _ORDERS))
        return answer(Page(next_token=token, items=tuple(self._view(*item) for item in items)))

    def _view(self, entry: JobEntry, record: ExecutionRecord) -> ExecutionView:
        """Without its job, which is told where one asks for that."""
        revision = self._model.revision_of(subjects.execution_record(record.decision))
        return execution_view(entry, record, revision, upload=upload_of(self._presence, record))

    def __repr__(self) -> str:
        return f"<NodeExecutionRoutes of {self._presence!r}>"


def _created(held: Held) -> tuple[int, str]:
    _, record = held
    return record.create_time, record.id


_ORDERS: dict[str, Callable[[Held], tuple[int, str]]] = {"": _created}
