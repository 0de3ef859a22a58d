"""Details of one job in the HTTP API: its history, executions, versions, results and live progress."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Container, Sequence
from typing import cast

import msgspec
from aiohttp import web
from msgspec.structs import replace

from orchestrator.api.access.auditing import source_of, tell
from orchestrator.api.bodies import answer, body_of, query_of
from orchestrator.api.event_stream import stream_events
from orchestrator.api.paging import BY_NUMBER, MAX_PAGE, Window, page, sort_key, window_of
from orchestrator.api.part_ranges import part_ranges
from orchestrator.api.queries import ExecutionsQuery, HistoryQuery, InNamespace, PartsQuery, ResultsQuery, WaitsQuery
from orchestrator.api.routes import EVENT_STREAM, JOBS, Route, principal_of
from orchestrator.assembly import Assembly
from orchestrator.jobs import views
from orchestrator.jobs.history import HistoryFilter, execution_of, is_open, moment, selected
from orchestrator.jobs.part_states import part_states
from orchestrator.jobs.result_files import file_urls
from orchestrator.jobs.results import results, results_signed
from orchestrator.jobs.versions import version_of, version_view, version_views
from orchestrator.nodes.upload_progress import upload_of
from orchestrator.rules.records import ExecutionRecord
from orchestrator.state.job_entry import JobEntry
from shared.jobs.spec import JobView
from shared.protocol import rest, subjects
from shared.protocol.capabilities import READ_JOB
from shared.protocol.jobs.rest_files import ResultFilesRequest, ResultFilesResponse
from shared.protocol.jobs.rest_parts import PartsResponse
from shared.protocol.jobs.rest_waits import WaitsResponse
from shared.protocol.rest import ExecutionView, HistoryItem, Page

DEFAULT_HISTORY = 100
MAX_JOBS_BYTES = 4 << 20
"""How much a list of executions grows at most by the job that each is told with."""

Stored = tuple[str, ExecutionRecord]
"""An execution with the key under which it is stored."""


class JobDetailRoutes:
    """Reads come from the model and cost no round trip, but for results, which are signed when asked for."""

    def __init__(self, assembly: Assembly) -> None:
        self._audit = assembly.audit
        self._model = assembly.model
        self._store = assembly.store
        self._locations = assembly.locations
        self._records_key = assembly.result_signer.public_key
        self._nodes = assembly.nodes
        self._waits = assembly.waits
        self._shares = assembly.shares

    def routes(self) -> tuple[Route, ...]:
        one = f"{JOBS}/{{job}}"
        return (
            Route(
                "GET",
                f"{one}/history",
                self.get_history,
                "What happened to a job. There is a NextToken until the job has ended and all is told.",
                Page[HistoryItem],
                HistoryQuery,
                needs=READ_JOB,
            ),
            Route(
                "GET",
                f"{one}/executions",
                self.get_executions,
                "The attempts at the parts of a job.",
                Page[ExecutionView],
                ExecutionsQuery,
                needs=READ_JOB,
            ),
            Route(
                "GET",
                f"{one}/parts",
                self.get_parts,
                "How the parts of a job stand: a letter for each of them.",
                PartsResponse,
                PartsQuery,
                needs=READ_JOB,
            ),
            Route(
                "GET",
                f"{one}/versions",
                self.get_versions,
                "All versions of a job.",
                Page[JobView],
                InNamespace,
                needs=READ_JOB,
            ),
            Route(
                "GET",
                f"{one}/results",
                self.get_results,
                "A freshly signed URL for each result.",
                Page[rest.ResultItem],
                ResultsQuery,
                needs=READ_JOB,
            ),
            Route(
                "POST",
                f"{one}/results/files",
                self.get_result_files,
                "Freshly signed URLs of files of a result that is an object for each file.",
                ResultFilesResponse,
                InNamespace,
                ResultFilesRequest,
                needs=READ_JOB,
                reads=True,
            ),
            Route(
                "GET",
                f"{one}/waits",
                self.get_waits,
                "What a job waits for: where its parts are, and what each node lacks for those that are on none.",
                WaitsResponse,
                WaitsQuery,
                needs=READ_JOB,
            ),
            Route(
                "GET",
                f"{one}/events",
                self.get_events,
                "The history and the states of a job as they happen, until it has ended.",
                query=InNamespace,
                media=EVENT_STREAM,
                needs=READ_JOB,
                streams=True,
            ),
        )

    def entry(self, request: web.Request) -> JobEntry:
        """The job that the path names, if who asks may see it. Raises NotReady, JobNotFound or JobAmbiguous."""
        self._store.check_ready()
        principal = principal_of(request)
        namespace = principal.meant(query_of(request, InNamespace).namespace)
        found = self._model.names.find(request.match_info["job"], namespace, sees=principal.sees)
        tell(request, found.job.id, found.job.namespace)
        return found

    async def get_history(self, request: web.Request) -> web.Response:
        entry, query = self.entry(request), query_of(request, HistoryQuery)
        window = window_of(
            sort_by="", reverse=False, limit=query.limit, token=query.next_token, default_limit=DEFAULT_HISTORY
        )
        if query.limit:  # here it counts beside a token, too
            window = replace(window, limit=min(query.limit, MAX_PAGE))
        asked = HistoryFilter(
            since=moment(query.since),
            level=query.event_type,
            execution=execution_of(entry, query.execution_id),
            version=0 if query.all_job_versions else version_of(entry, query.job_version),
        )
        return answer(await self._history_page(entry, asked, window))

    async def history(self, entry: JobEntry, version: int) -> Page[HistoryItem]:
        """The beginning of one version's history."""
        return await self._history_page(entry, HistoryFilter(version=version), Window())

    async def _history_page(self, entry: JobEntry, asked: HistoryFilter, window: Window) -> Page[HistoryItem]:
        """A part begins after the item whose number is its offset, so that none moves into another part."""
        await self._store.settle(entry)
        settled = self._model.news.settled
        found = selected(views.history(entry, up_to=settled), asked)
        begin = bisect_right(found, window.offset, key=_number)
        items = found[begin : begin + window.limit]
        is_more = len(found) > begin + window.limit or is_open(entry, asked) or not views.is_told(entry, settled)
        after = items[-1].seq_num if items else window.offset
        following = Window(sort_by=BY_NUMBER, limit=window.limit, offset=after)
        return Page(next_token=following.token() if is_more else "", items=tuple(items))

    async def get_executions(self, request: web.Request) -> web.Response:
        entry, query = self.entry(request), query_of(request, ExecutionsQuery)
        window = window_of(
            sort_by=query.order_by,
            reverse=query.reverse,
            limit=query.limit,
            token=query.next_token,
        )
        version = 0 if query.all_job_versions else version_of(entry, query.job_version)
        return answer(await self._executions_page(entry, version, window, part_ranges(query.partitions)))

    async def executions(self, entry: JobEntry, version: int) -> Page[ExecutionView]:
        """The first executions of one version."""
        return await self._executions_page(entry, version, Window())

    async def _executions_page(
        self, entry: JobEntry, version: int, window: Window, parts: Container[int] | None = None
    ) -> Page[ExecutionView]:
        """Of all versions if `version` is 0; of one also those that it keeps of earlier ones."""
        wanted = entry.with_kept(version) if version else entry.executions.values()
        found = [
            (record.decision, record)
            for record in wanted
            if record.job_version in entry.specs and (parts is None or record.partition in parts)
        ]
        items, token = page(found, window, sort_key(window, _ORDERS))
        inputs = await self._shares.shown([record for _, record in items])
        jobs = self._jobs_of(entry, [record for _, record in items])
        return Page(
            next_token=token,
            items=tuple(
                views.execution_view(
                    entry,
                    record,
                    self._model.revision_of(subjects.execution_record(key)),
                    jobs.get(record.job_version, msgspec.UNSET),
                    upload=upload_of(self._nodes, record),
                    inputs=inputs.get(record.id),
                )
                for key, record in items
            ),
        )

    def _jobs_of(self, entry: JobEntry, executions: Sequence[ExecutionRecord]) -> dict[int, JobView]:
        """The job in each version that these executions are of; none where an answer would grow too large by it."""
        counts = Counter(each.job_version for each in executions)
        encoded = {version: msgspec.json.encode(version_view(self._model, entry, version)) for version in counts}
        if sum(count * len(encoded[version]) for version, count in counts.items()) > MAX_JOBS_BYTES:
            return {}
        # Encoded once for all: msgspec writes what is raw as it is, whatever type its place has.
        return {version: cast(JobView, msgspec.Raw(job)) for version, job in encoded.items()}

    async def get_parts(self, request: web.Request) -> web.Response:
        entry, query = self.entry(request), query_of(request, PartsQuery)
        version = version_of(entry, query.job_version)
        states = part_states(entry, version)
        return answer(PartsResponse(job_id=entry.job.id, job_version=version, total=len(states), states=states))

    async def get_versions(self, request: web.Request) -> web.Response:
        return answer(Page(items=version_views(self._model, self.entry(request))))

    def version_view(self, entry: JobEntry, version: int) -> JobView:
        """The job, or one version of it where that is not 0. Raises NotFound."""
        if version == 0:
            return views.job_view(self._model, entry)
        return version_view(self._model, entry, version_of(entry, version))

    async def get_results(self, request: web.Request) -> web.Response:
        entry, query = self.entry(request), query_of(request, ResultsQuery)
        found = await results(
            entry,
            self._locations,
            version=query.job_version,
            execution=query.execution_id,
            refused=query.refused,
            records_key=self._records_key if query.records else "",
        )
        who = principal_of(request)
        await self._audit.record(*results_signed(entry, found, who.kind, who.name, source_of(request)))
        return answer(Page(items=found))

    async def get_result_files(self, request: web.Request) -> web.Response:
        entry, (asked, _) = self.entry(request), await body_of(request, ResultFilesRequest)
        who = principal_of(request)
        given, told = await file_urls(
            entry, self._locations, asked, kind=who.kind, who=who.name, source=source_of(request)
        )
        await self._audit.record(*told)
        return answer(given)

    async def get_waits(self, request: web.Request) -> web.Response:
        entry, query = self.entry(request), query_of(request, WaitsQuery)
        return answer(await self._waits.of(entry, query.limit))

    async def get_events(self, request: web.Request) -> web.StreamResponse:
        return await stream_events(request, self._model, self.entry(request))


def _number(item: HistoryItem) -> int:
    return item.seq_num


def _created(stored: Stored) -> tuple[int, str]:
    return stored[1].create_time, stored[0]


def _modified(stored: Stored) -> tuple[int, str]:
    return stored[1].modify_time, stored[0]


def _by_id(stored: Stored) -> tuple[int, str]:
    return 0, stored[1].id


def _by_state(stored: Stored) -> tuple[int, str]:
    return rest.execution_state_number(stored[1].state), stored[0]


_ORDERS: dict[str, Callable[[Stored], tuple[int, str]]] = {
    "": _created,
    "created_at": _created,
    "create_time": _created,
    "modified_at": _modified,
    "modify_time": _modified,
    "id": _by_id,
    "state": _by_state,
}
