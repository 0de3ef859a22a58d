"""The Python interface to an orchestrator: submit jobs, watch them, get what they produced.

async with tarpon.Client() as client:
    submitted = await client.submit(job)
    ended = await client.wait(submitted.job_id)
"""

import os
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from msgspec.structs import replace

from shared import plain_data
from shared.decoding import decode
from shared.engine_params import unknown_told
from shared.errors import InvalidDocument, InvalidInput, NoResults, OrchestratorUnreachable
from shared.job_rules import BATCH
from shared.jobspec import Job, JobView
from shared.rest import (
    DeleteResponse,
    ExecutionView,
    HistoryItem,
    JobResponse,
    LogLine,
    Page,
    RerunRequest,
    RerunResponse,
    ResultItem,
    StopRequest,
    StopResponse,
    SubmitRequest,
    SubmitResponse,
)
from shared.rest_nodes import (
    AgentConfigResponse,
    AgentNodeResponse,
    AliveResponse,
    ListNodesResponse,
    NodeResponse,
    NodeState,
    UnfinishedUpload,
    UpdateNodeRequest,
    UpdateNodeResponse,
    VersionView,
)
from shared.rest_waits import WaitsResponse
from tarpon.api_address import addresses
from tarpon.calls import Calls
from tarpon.live_logs import LiveLogs
from tarpon.watching import Progress, is_over, patiently, watch

T = TypeVar("T")

NOT_BEGUN = frozenset({"Pending", "Queued"})


class Client:
    """One orchestrator, or several with the same jobs, over HTTP. Use it as an async context manager.

    `host` may also be a URL, such as that of a reverse proxy; `port` is ignored then. Of several hosts, in a list or
    parted by commas, the next one is asked where one does not answer or is not ready. Without them the environment
    names them: TARPON_API_HOST and TARPON_API_PORT, or the same with BACALHAU_. `timeout` bounds each try of a call;
    `patience` is how long a watch waits for an orchestrator that went away. Every call is safe to repeat and is
    repeated a few times where that may help. All raise OrchestratorUnreachable where nobody answers, and RemoteError
    with the server's own code, message and hint.
    """

    def __init__(
        self,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        timeout: float = 30.0,
        patience: float = 120.0,
    ) -> None:
        self._calls = Calls(addresses(host, port, os.environ), timeout=timeout)
        self._patience = patience

    def __repr__(self) -> str:
        return f"<tarpon.Client of {self._calls.told}>"

    @property
    def url(self) -> str:
        """Of the orchestrator that is asked at present."""
        return self._calls.url

    async def __aenter__(self) -> Self:
        await self._calls.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._calls.__aexit__(kind, error, trace)

    # ---- jobs ---------------------------------------------------------------------------------------------------

    async def submit(
        self, job: Job | Mapping[str, Any], *, force: bool = False, idempotency_token: str | None = None
    ) -> SubmitResponse:
        """Run a job. A mapping is read as a job file is: any case of keys, unknown keys raise InvalidDocument.

        Give a token of your own to make a repeated submit of another process the same job too.
        """
        token = idempotency_token or str(uuid.uuid4())
        request = SubmitRequest(job=_as_job(job), force=force, idempotency_token=token)
        return await self._calls.call("PUT", "/orchestrator/jobs", SubmitResponse, body=request)

    async def get(self, job: str, *, namespace: str = "", job_version: int = 0) -> JobView:
        """The job of this id, of this name, or of this unambiguous beginning of an id; version 0 is the newest."""
        return (await self.describe(job, namespace=namespace, job_version=job_version, include=())).job

    async def describe(
        self,
        job: str,
        *,
        namespace: str = "",
        job_version: int = 0,
        include: Iterable[str] = ("history", "executions"),
    ) -> JobResponse:
        query = _query(namespace=namespace, include=",".join(include), job_version=str(job_version or ""))
        return await self._calls.call("GET", _job(job), JobResponse, query=query)

    async def list(
        self,
        *,
        namespace: str = "",
        limit: int = 0,
        next_token: str = "",
        order_by: str = "",
        reverse: bool = False,
        labels: str = "",
        states: Iterable[str] = (),
        exit_codes: Iterable[int | str] = (),
        since: str = "",
        name: str = "",
    ) -> Page[JobView]:
        """Some jobs, the newest first unless `reverse` says otherwise; the orchestrator itself begins with the oldest.

        All that is given has to hold; a page may hold fewer than `limit` although more follow. `namespace` "*" means
        all; `labels` is a selector such as `team=a,env in (x,y)`; `since` a length such as `12h` or a time; in `name`
        `*` and `?` stand for anything; the exit code `nonzero` is all but 0.
        """
        query = _query(
            namespace=namespace,
            limit=str(limit or ""),
            next_token=next_token,
            order_by=order_by,
            reverse="" if reverse else "true",
            labels=labels,
            state=",".join(states),
            exit_code=",".join(map(str, exit_codes)),
            since=since,
            name=name,
        )
        return await self._calls.call("GET", "/orchestrator/jobs", Page[JobView], query=query)

    async def waits(self, job: str, *, namespace: str = "", limit: int | None = None) -> WaitsResponse:
        """What the job waits for, with at most `limit` nodes and what they lack."""
        query = _query(namespace=namespace, limit="" if limit is None else str(limit))
        return await self._calls.call("GET", _job(job, "/waits"), WaitsResponse, query=query)

    async def stop(self, job: str, *, reason: str = "", namespace: str = "") -> StopResponse:
        query, body = _query(namespace=namespace), StopRequest(reason=reason)
        return await self._calls.call("DELETE", _job(job), StopResponse, query=query, body=body)

    async def rerun(
        self, job: str, *, job_version: int = 0, failed: bool = False, reason: str = "", namespace: str = ""
    ) -> RerunResponse:
        """Run a version of a job, the newest if it is 0, again as a new version; safe to send twice.

        With `failed` only those of its parts that have not completed: the new version keeps the results of the others.
        """
        query = _query(namespace=namespace)
        body = RerunRequest(job_version=job_version, failed=failed, reason=reason, idempotency_token=str(uuid.uuid4()))
        return await self._calls.call("PUT", _job(job, "/rerun"), RerunResponse, query=query, body=body)

    async def delete(
        self, job: str, *, results: bool = False, force: bool = False, namespace: str = ""
    ) -> DeleteResponse:
        """Have an ended job forgotten, with `results` also what it published; with `force` it is stopped first."""
        query = _query(namespace=namespace, results="true" if results else "", force="true" if force else "")
        return await self._calls.call("DELETE", _job(job, "/record"), DeleteResponse, query=query)

    async def history(
        self,
        job: str,
        *,
        namespace: str = "",
        limit: int = 0,
        next_token: str = "",
        event_type: str = "",
        execution_id: str = "",
        job_version: int = 0,
        all_job_versions: bool = False,
    ) -> Page[HistoryItem]:
        """What happened; `event_type` is all, job or execution, and version 0 the newest."""
        query = _query(
            namespace=namespace,
            limit=str(limit or ""),
            next_token=next_token,
            event_type=event_type,
            execution_id=execution_id,
            **_versions(job_version, every=all_job_versions),
        )
        return await self._calls.call("GET", _job(job, "/history"), Page[HistoryItem], query=query)

    async def executions(
        self,
        job: str,
        *,
        namespace: str = "",
        next_token: str = "",
        job_version: int = 0,
        all_job_versions: bool = False,
    ) -> Page[ExecutionView]:
        query = _query(namespace=namespace, next_token=next_token, **_versions(job_version, every=all_job_versions))
        return await self._calls.call("GET", _job(job, "/executions"), Page[ExecutionView], query=query)

    async def all_executions(
        self, job: str, *, namespace: str = "", job_version: int = 0, all_job_versions: bool = False
    ) -> tuple[ExecutionView, ...]:
        """The executions of all pages."""
        query = _query(namespace=namespace, **_versions(job_version, every=all_job_versions))
        return await self._all(_job(job, "/executions"), Page[ExecutionView], query)

    async def versions(self, job: str, *, namespace: str = "") -> tuple[JobView, ...]:
        """The job as it was submitted each time that it changed or was forced to run again."""
        return await self._all(_job(job, "/versions"), Page[JobView], _query(namespace=namespace))

    async def results(
        self, job: str, *, namespace: str = "", job_version: int = 0, execution_id: str = "", refused: bool = False
    ) -> tuple[ResultItem, ...]:
        """The results of a version, each with a freshly signed URL; version 0 is the newest.

        Or that of one execution, of whichever version. Fetch them with tarpon.results.get_results. `refused` tells the
        orchestrator that S3 has refused the URLs that it gave last.
        """
        query = _query(
            namespace=namespace,
            job_version=str(job_version or ""),
            execution_id=execution_id,
            refused="true" if refused else "",
        )
        return await self._all(_job(job, "/results"), Page[ResultItem], query)

    async def _all(self, path: str, page_type: type[Page[T]], query: dict[str, str]) -> tuple[T, ...]:
        page = await self._calls.call("GET", path, page_type, query=query)
        items = page.items
        while page.next_token:
            page = await self._calls.call("GET", path, page_type, query=query | {"next_token": page.next_token})
            items += page.items
        return items

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` gives, which is called again while an orchestrator that has answered before is away for a while.

        It is as patient as a watch.
        """
        return await patiently(self._calls, ask, patience=self._patience)

    async def watch(self, job: str, *, namespace: str = "") -> AsyncGenerator[Progress, None]:
        """History items from the first on, and the job at each change of its state; ends when the job has ended.

        A lost connection is made again and goes on where it was.
        """
        progress = watch(self._calls, _job(job, "/events"), _query(namespace=namespace), patience=self._patience)
        async with aclosing(progress) as events:
            async for event in events:
                yield event

    async def logs(
        self, job: str, *, namespace: str = "", execution_id: str = "", follow: bool = False, tail: int = -1
    ) -> AsyncGenerator[LogLine, None]:
        """What a task has written and, with `follow`, what it writes until it ends; `tail` -1 means from the beginning.

        With `follow` a task is waited for, a lost connection is made again and goes on where it was, and the end comes
        from the task's result where its node does not have it any more. Without, it is the beginning that the record
        keeps of what a task that has ended wrote.

        Raises NoResults where no task of the job has begun before its end, and OutputNotKept and what a download raises
        where what was written last is not to be had.
        """
        query = _query(namespace=namespace, execution_id=execution_id, follow="true" if follow else "", tail=str(tail))
        if follow and not execution_id:
            await self._begun(job, namespace)
        else:
            ask = partial(self.get, job, namespace=namespace)  # an error of the API is told better than by a websocket
            await (self.patiently(ask) if follow else ask())
        live = LiveLogs(self._calls, _job(job, "/logs"), query, patience=self._patience)
        async with aclosing(live.lines()) as lines:
            async for line in lines:
                yield line
        if follow and not live.is_whole:
            from tarpon.rest_of_output import rest_of_output

            rest = rest_of_output(self, job, live.place, execution_id=execution_id, namespace=namespace)
            async with aclosing(rest) as lines:
                async for line in lines:
                    yield line

    async def _begun(self, job: str, namespace: str) -> None:
        """Return when a task of the job has begun. Raises NoResults if none has before the job's end."""
        async with aclosing(self.watch(job, namespace=namespace)) as events:
            async for event in events:
                if isinstance(event, JobView) and event.state.state_type not in NOT_BEGUN:
                    break
        if not await self.all_executions(job, namespace=namespace):
            raise NoResults(
                f"No task of job {job} has begun.", hint=f"`tarpon job describe {job}` shows what happened."
            )

    async def wait(self, job: str, *, namespace: str = "") -> JobView:
        """The job when it has ended, however it did."""
        async with aclosing(self.watch(job, namespace=namespace)) as events:
            async for event in events:
                if isinstance(event, JobView) and is_over(event):
                    return event
        raise OrchestratorUnreachable(self._calls.told)

    # ---- nodes and the orchestrator itself ------------------------------------------------------------------------

    async def nodes(self) -> ListNodesResponse:
        return await self._calls.call("GET", "/orchestrator/nodes", ListNodesResponse)

    async def node(self, node: str) -> NodeState:
        """The node of this id or of this unambiguous beginning of an id."""
        path = f"/orchestrator/nodes/{quote(node, safe='')}"
        return (await self._calls.call("GET", path, NodeResponse)).node

    async def drain(self, node: str) -> None:
        """Place nothing new on this node, and take back what it has not begun. What runs there goes on to its end."""
        await self._update_node(node, "drain")

    async def undrain(self, node: str) -> None:
        """Place work on this node again."""
        await self._update_node(node, "undrain")

    async def reject(self, node: str, *, message: str = "") -> str:
        """Cut this node off at once, and let its key in no more; what was placed on it goes elsewhere.

        Gives what could not be done, if anything: then its connection stands, and nothing that it says counts.
        """
        return await self._update_node(node, "reject", message)

    async def approve(self, node: str) -> None:
        """Let a rejected node in again."""
        await self._update_node(node, "approve")

    async def delete_node(self, node: str, *, message: str = "", force: bool = False) -> str:
        """Forget a node that has stopped and holds nothing any more, and its key; `message` goes to the log.

        With `force` it is rejected first, so that neither matters. Gives what could not be done, as `reject` does.
        """
        return await self._update_node(node, "delete", message, force=force)

    async def _update_node(self, node: str, action: str, message: str = "", *, force: bool = False) -> str:
        path = f"/orchestrator/nodes/{quote(node, safe='')}"
        wanted = UpdateNodeRequest(action=action, node_id=node, message=message, force=force)
        return (await self._calls.call("PUT", path, UpdateNodeResponse, body=wanted)).warning

    async def alive(self) -> AliveResponse:
        return await self._calls.call("GET", "/agent/alive", AliveResponse)

    async def version(self) -> VersionView:
        return await self._calls.call("GET", "/agent/version", VersionView)

    async def unfinished_uploads(self) -> Page[UnfinishedUpload]:
        """Uploads in parts that no result came of, and that could not be aborted yet."""
        return await self._calls.call("GET", "/agent/uploads", Page[UnfinishedUpload])

    async def agent_config(self) -> AgentConfigResponse:
        """The settings of the orchestrator as it runs; secrets are hidden."""
        return await self._calls.call("GET", "/agent/config", AgentConfigResponse)

    async def agent_node(self) -> AgentNodeResponse:
        """The orchestrator as a node, with the health of its publishers."""
        return await self._calls.call("GET", "/agent/node", AgentNodeResponse)


def _as_job(job: Job | Mapping[str, Any]) -> Job:
    """With its type, which an orchestrator of an earlier version wants to be told."""
    read = job if isinstance(job, Job) else _read(job)
    return read if read.type.strip() else replace(read, type=BATCH)


def _read(job: Mapping[str, Any]) -> Job:
    plain_data.check(job, what="The job")
    read = decode(job, Job, what="The job", unknown="refuse")[0]
    unknown = [f"Tasks[0].{told}" for task in read.tasks[:1] for told in unknown_told(task.engine, "is not known")]
    if unknown:
        raise InvalidDocument("The job is not valid:" + "".join(f"\n  - {problem}" for problem in unknown))
    return read


def _job(job: str, rest: str = "") -> str:
    if job in {".", ".."}:  # a step in a path, however it is written
        raise InvalidInput(f"No URL can name the job {job!r}.", hint="Give its id; `tarpon job list` shows it.")
    return f"/orchestrator/jobs/{quote(job, safe='')}{rest}"


def _versions(version: int, *, every: bool) -> dict[str, str]:
    return {"job_version": str(version or ""), "all_job_versions": "true" if every else ""}


def _query(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}
