"""One execution in the HTTP API, by its id alone, for whoever does not know its job."""

from aiohttp import web

from orchestrator.api.access.auditing import tell
from orchestrator.api.bodies import answer
from orchestrator.api.routes import EXECUTIONS, Route, principal_of
from orchestrator.assembly import Assembly
from orchestrator.jobs.views import execution_view
from orchestrator.nodes.upload_progress import upload_of
from orchestrator.rules.records import ExecutionRecord
from orchestrator.state.job_entry import JobEntry
from shared.errors import NotFound
from shared.ids import ExecutionId
from shared.protocol import subjects
from shared.protocol.capabilities import READ_JOB
from shared.protocol.rest import ExecutionResponse


class ExecutionRoutes:
    def __init__(self, assembly: Assembly) -> None:
        self._model = assembly.model
        self._store = assembly.store
        self._nodes = assembly.nodes

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "GET",
                f"{EXECUTIONS}/{{execution}}",
                self.get_execution,
                "One execution, by its whole id.",
                ExecutionResponse,
                needs=READ_JOB,
            ),
        )

    async def get_execution(self, request: web.Request) -> web.Response:
        self._store.check_ready()
        entry, record = self._found(request)
        tell(request, entry.id, entry.namespace)
        revision = self._model.revision_of(subjects.execution_record(record.decision))
        view = execution_view(entry, record, revision, upload=upload_of(self._nodes, record))
        return answer(ExecutionResponse(execution=view))

    def _found(self, request: web.Request) -> tuple[JobEntry, ExecutionRecord]:
        """Raises NotFound, also where whoever asks may not see its namespace."""
        text = request.match_info["execution"]
        record = self._model.execution(ExecutionId(text))
        entry = self._model.jobs.get(record.job_id) if record is not None else None
        if record is None or entry is None or not principal_of(request).sees(entry.namespace):
            raise NotFound(
                f"There is no execution {text[:80]!r}.",
                hint="`tarpon job executions JOB --all-job-versions --output json` has the whole ids of a job's.",
            )
        return entry, record

    def __repr__(self) -> str:
        return f"<ExecutionRoutes of {self._model!r}>"
