"""Calls to an orchestrator over its HTTP API, one request each."""

import base64
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from shared.jobs.spec import Job, JobView
from shared.protocol.jobs.rest_files import ResultFilesRequest, ResultFilesResponse
from shared.protocol.jobs.rest_schedules import ScheduleRequest, ScheduleResponse
from shared.protocol.jobs.rest_waits import WaitsResponse
from shared.protocol.namespaces.rest_namespaces import (
    ListNamespacesResponse,
    NamespaceResponse,
    NamespaceView,
    SetNamespaceRequest,
)
from shared.protocol.namespaces.rest_secrets import (
    DeleteSecretResponse,
    ListSecretsResponse,
    PutSecretRequest,
    PutSecretResponse,
    SecretView,
)
from shared.protocol.rest import (
    DeleteResponse,
    ExecutionResponse,
    ExecutionView,
    HistoryItem,
    JobResponse,
    Page,
    RerunRequest,
    RerunResponse,
    ResultItem,
    StopRequest,
    StopResponse,
    SubmitAllRequest,
    SubmitAllResponse,
    SubmitRequest,
    SubmitResponse,
)
from shared.runtime.local_socket import data_dir_of, local_url
from tarpon.http.addresses import addresses, is_named
from tarpon.http.calls import Calls
from tarpon.http.credentials import Credentials, credentials_from
from tarpon.http.data_calls import DataCalls
from tarpon.http.given_job import as_job
from tarpon.http.operator_calls import OperatorCalls
from tarpon.http.paths import JOBS, job_path, jobs_query, query_of
from tarpon.http.trust import ClientTrust, known_by, trust_from

T = TypeVar("T")

NOT_BEGUN = frozenset({"Pending", "Queued"})


class OrchestratorCalls(OperatorCalls, DataCalls):
    """The calls of `tarpon.Client`, which tells more of them: each of them one request and its answer."""

    def __init__(
        self,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        api_key: str | None = None,
        trust: ClientTrust | None = None,
        timeout: float = 30.0,
        patience: float = 120.0,
        sign_ins: str | os.PathLike[str] | None = None,
    ) -> None:
        credentials = credentials_from(api_key, os.environ)
        self.trust = known_by(trust_from(os.environ) if trust is None else trust, credentials)
        urls = () if host is not None or port is not None else _unnamed(credentials, os.environ)
        urls = urls or addresses(host, port, os.environ, scheme=self.trust.scheme)
        kept = _own_folder(os.environ) if sign_ins is None else Path(sign_ins)
        self._calls = Calls(urls, timeout=timeout, credentials=credentials, trust=self.trust, sign_ins=kept)
        self._patience = patience

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._calls.told}>"

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
        request = SubmitRequest(job=as_job(job), force=force, idempotency_token=token)
        return await self._calls.call("PUT", JOBS, SubmitResponse, body=request)

    async def submit_all(
        self, jobs: Iterable[Job | Mapping[str, Any]], *, force: bool = False, idempotency_token: str | None = None
    ) -> tuple[SubmitResponse, ...]:
        """Run jobs that may need each other, all of them or none; what came of each, in their order."""
        token = idempotency_token or str(uuid.uuid4())
        request = SubmitAllRequest(jobs=tuple(map(as_job, jobs)), force=force, idempotency_token=token)
        return (await self._calls.call("PUT", "/orchestrator/submissions", SubmitAllResponse, body=request)).jobs

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
        query = query_of(namespace=namespace, include=",".join(include), job_version=str(job_version or ""))
        return await self._calls.call("GET", job_path(job), JobResponse, query=query)

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
        schedules: bool = False,
    ) -> Page[JobView]:
        """Some jobs, the newest first unless `reverse` says otherwise; the orchestrator itself begins with the oldest.

        All that is given has to hold; a page may hold fewer than `limit` although more follow. `namespace` "*" means
        all; `labels` is a selector such as `team=a,env in (x,y)`; `since` a length such as `12h` or a time; in `name`
        `*` and `?` stand for anything; the exit code `nonzero` is all but 0; `schedules` are those alone.
        """
        query = jobs_query(
            namespace=namespace,
            limit=limit,
            next_token=next_token,
            order_by=order_by,
            reverse=reverse,
            labels=labels,
            states=states,
            exit_codes=exit_codes,
            since=since,
            name=name,
            schedules=schedules,
        )
        return await self._calls.call("GET", JOBS, Page[JobView], query=query)

    async def waits(self, job: str, *, namespace: str = "", limit: int | None = None) -> WaitsResponse:
        """What the job waits for, with at most `limit` nodes and what they lack."""
        query = query_of(namespace=namespace, limit="" if limit is None else str(limit))
        return await self._calls.call("GET", job_path(job, "/waits"), WaitsResponse, query=query)

    async def stop(self, job: str, *, reason: str = "", namespace: str = "") -> StopResponse:
        query, body = query_of(namespace=namespace), StopRequest(reason=reason)
        return await self._calls.call("DELETE", job_path(job), StopResponse, query=query, body=body)

    async def rerun(
        self, job: str, *, job_version: int = 0, failed: bool = False, reason: str = "", namespace: str = ""
    ) -> RerunResponse:
        """Run a version of a job, the newest if it is 0, again as a new version; safe to send twice.

        With `failed` only those of its parts that have not completed: the new version keeps the results of the others.
        """
        query = query_of(namespace=namespace)
        body = RerunRequest(job_version=job_version, failed=failed, reason=reason, idempotency_token=str(uuid.uuid4()))
        return await self._calls.call("PUT", job_path(job, "/rerun"), RerunResponse, query=query, body=body)

    async def pause_schedule(self, job: str, *, reason: str = "", namespace: str = "") -> ScheduleResponse:
        """Have the schedule of a job begin no further run."""
        return await self._on_schedule(job, namespace, ScheduleRequest(action="pause", reason=reason))

    async def resume_schedule(self, job: str, *, reason: str = "", namespace: str = "") -> ScheduleResponse:
        """Have a schedule go on with what is due from now on."""
        return await self._on_schedule(job, namespace, ScheduleRequest(action="resume", reason=reason))

    async def run_schedule_now(self, job: str, *, namespace: str = "") -> ScheduleResponse:
        """Begin a run of a schedule at once, also of one that is paused; safe to send twice."""
        request = ScheduleRequest(action="run-now", idempotency_token=str(uuid.uuid4()))
        return await self._on_schedule(job, namespace, request)

    async def _on_schedule(self, job: str, namespace: str, request: ScheduleRequest) -> ScheduleResponse:
        query = query_of(namespace=namespace)
        return await self._calls.call("PUT", job_path(job, "/schedule"), ScheduleResponse, query=query, body=request)

    async def delete(
        self, job: str, *, results: bool = False, force: bool = False, namespace: str = ""
    ) -> DeleteResponse:
        """Have an ended job forgotten, with `results` also what it published; with `force` it is stopped first."""
        query = query_of(namespace=namespace, results="true" if results else "", force="true" if force else "")
        return await self._calls.call("DELETE", job_path(job, "/record"), DeleteResponse, query=query)

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
        query = query_of(
            namespace=namespace,
            limit=str(limit or ""),
            next_token=next_token,
            event_type=event_type,
            execution_id=execution_id,
            **_versions(job_version, every=all_job_versions),
        )
        return await self._calls.call("GET", job_path(job, "/history"), Page[HistoryItem], query=query)

    async def executions(
        self,
        job: str,
        *,
        namespace: str = "",
        next_token: str = "",
        job_version: int = 0,
        all_job_versions: bool = False,
    ) -> Page[ExecutionView]:
        query = query_of(namespace=namespace, next_token=next_token, **_versions(job_version, every=all_job_versions))
        return await self._calls.call("GET", job_path(job, "/executions"), Page[ExecutionView], query=query)

    async def all_executions(
        self, job: str, *, namespace: str = "", job_version: int = 0, all_job_versions: bool = False
    ) -> tuple[ExecutionView, ...]:
        """The executions of all pages."""
        query = query_of(namespace=namespace, **_versions(job_version, every=all_job_versions))
        return await self._all(job_path(job, "/executions"), Page[ExecutionView], query)

    async def execution(self, execution: str) -> ExecutionView:
        """The execution of this whole id, whatever its job."""
        path = f"/orchestrator/executions/{quote(execution, safe='')}"
        return (await self._calls.call("GET", path, ExecutionResponse)).execution

    async def versions(self, job: str, *, namespace: str = "") -> tuple[JobView, ...]:
        """The job as it was submitted each time that it changed or was forced to run again."""
        return await self._all(job_path(job, "/versions"), Page[JobView], query_of(namespace=namespace))

    async def results(
        self,
        job: str,
        *,
        namespace: str = "",
        job_version: int = 0,
        execution_id: str = "",
        refused: bool = False,
        records: bool = False,
    ) -> tuple[ResultItem, ...]:
        """The results of a version, each with a freshly signed URL; version 0 is the newest.

        Or that of one execution, of whichever version. Fetch them with tarpon.results.get_results. `refused` tells the
        orchestrator that S3 has refused the URLs that it gave last. With `records` they have URLs of the records beside
        results as well, whether there are any or not.
        """
        query = query_of(
            namespace=namespace,
            job_version=str(job_version or ""),
            execution_id=execution_id,
            refused="true" if refused else "",
            records="true" if records else "",
        )
        return await self._all(job_path(job, "/results"), Page[ResultItem], query)

    async def result_files(
        self, job: str, execution_id: str, names: Sequence[str], *, namespace: str = "", refused: bool = False
    ) -> tuple[str, ...]:
        """Freshly signed URLs of files of a plain result, at most 512, by their names as objects.

        How a path is spelled there is in shared/protocol/results/object_names.py. `refused` is as that of `results`.
        """
        body = ResultFilesRequest(execution_id=execution_id, names=tuple(names), refused=refused)
        path, query = job_path(job, "/results/files"), query_of(namespace=namespace)
        return (await self._calls.call("POST", path, ResultFilesResponse, query=query, body=body)).urls

    async def _all(self, path: str, page_type: type[Page[T]], query: dict[str, str]) -> tuple[T, ...]:
        page = await self._calls.call("GET", path, page_type, query=query)
        items = page.items
        while page.next_token:
            page = await self._calls.call("GET", path, page_type, query=query | {"next_token": page.next_token})
            items += page.items
        return items

    # ---- namespaces ---------------------------------------------------------------------------------------------

    async def namespaces(self) -> tuple[NamespaceView, ...]:
        """Those that have jobs or a weight, with what their executions hold."""
        return (await self._calls.call("GET", "/orchestrator/namespaces", ListNamespacesResponse)).namespaces

    async def set_namespace(self, name: str, *, weight: int) -> NamespaceView:
        """Set how much of the fleet a namespace has a right to, compared with others."""
        path, body = f"/orchestrator/namespaces/{quote(name, safe='')}", SetNamespaceRequest(weight=weight)
        return (await self._calls.call("PUT", path, NamespaceResponse, body=body)).namespace

    # ---- secrets of tasks ---------------------------------------------------------------------------------------

    async def put_secret(self, name: str, value: str | bytes, *, namespace: str = "") -> SecretView:
        """Store a secret for the tasks of a namespace, or another value of it."""
        content = value.encode() if isinstance(value, str) else value
        body = PutSecretRequest(value=base64.b64encode(content).decode(), encoding="base64")
        path, query = f"/orchestrator/secrets/{quote(name, safe='')}", query_of(namespace=namespace)
        return (await self._calls.call("PUT", path, PutSecretResponse, query=query, body=body)).secret

    async def secrets(self, *, namespace: str = "") -> tuple[SecretView, ...]:
        """The secrets of a namespace, without their values."""
        query = query_of(namespace=namespace)
        return (await self._calls.call("GET", "/orchestrator/secrets", ListSecretsResponse, query=query)).secrets

    async def delete_secret(self, name: str, *, namespace: str = "") -> None:
        """Tasks that have it keep it; executions that are offered from now on fail for it."""
        path, query = f"/orchestrator/secrets/{quote(name, safe='')}", query_of(namespace=namespace)
        await self._calls.call("DELETE", path, DeleteSecretResponse, query=query)


def _unnamed(credentials: Credentials | None, env: Mapping[str, str]) -> tuple[str, ...]:
    """Where an orchestrator is that nobody names: where the key was made for, or in DataDir on this machine."""
    if is_named(env):
        return ()
    if credentials is not None:
        return credentials.addresses
    local = local_url(data_dir_of(env))
    return (local,) if local else ()


def _own_folder(env: Mapping[str, str]) -> Path | None:
    """DataDir; None where it is in the home of a user who has none, as in a container."""
    try:
        return data_dir_of(env)
    except RuntimeError:
        return None


def _versions(version: int, *, every: bool) -> dict[str, str]:
    return {"job_version": str(version or ""), "all_job_versions": "true" if every else ""}
