"""The jobs of the HTTP API: submit, compare, list, describe, run again and stop them."""

import asyncio
from typing import Any

import msgspec
from aiohttp import web
from msgspec.structs import replace

from orchestrator.admission.principals import Principal
from orchestrator.api.access.auditing import tell
from orchestrator.api.bodies import answer, body_of, query_of
from orchestrator.api.job_details import JobDetailRoutes
from orchestrator.api.job_filters import job_filter
from orchestrator.api.job_pages import job_page, job_window
from orchestrator.api.queries import DeleteQuery, InNamespace, JobQuery, ListJobsQuery, StopQuery
from orchestrator.api.routes import JOBS, SUBMISSIONS, Route, principal_of
from orchestrator.assembly import Assembly
from orchestrator.inputs.resolvers import LOOK_UP_SECONDS
from orchestrator.jobs import views
from orchestrator.jobs.dry_runs.validation import problems_of, validated
from orchestrator.jobs.job_warnings import about_replaced
from orchestrator.jobs.submissions import Submitted
from orchestrator.storage.wall_clock import now_ns
from shared.errors import InvalidDocument, InvalidInput
from shared.jobs.spec import Job
from shared.protocol import job_problems, rest
from shared.protocol.capabilities import READ_JOB, WRITE_JOB

STORE_SECONDS = 15.0
MAX_LIST_BYTES = 4 << 20
ITEMS_OF_A_STEP = 50
"""Of a list of jobs, which takes about a millisecond."""
"""Of the jobs in one answer, which are fewer than were asked for where more would be larger."""

_INCLUDES = frozenset({"history", "executions"})


class JobRoutes:
    """Reads come from the model and cost no round trip."""

    def __init__(self, assembly: Assembly, details: JobDetailRoutes) -> None:
        self._model = assembly.model
        self._store = assembly.store
        self._submissions = assembly.submissions
        self._joint_submissions = assembly.joint_submissions
        self._removals = assembly.removals
        self._details = details

    def routes(self) -> tuple[Route, ...]:
        one, submit = f"{JOBS}/{{job}}", "Run a job, or a new version of the job that has its name."
        delete = "Delete an ended job and, if asked, its results. DELETE of the job itself stops it."
        rerun = "Run a version of a job again, as a new version: all of it, or what it has not completed."
        return (
            Route("PUT", JOBS, self.submit, submit, rest.SubmitResponse, body=rest.SubmitRequest, needs=WRITE_JOB),
            Route("POST", JOBS, self.submit, submit, rest.SubmitResponse, body=rest.SubmitRequest, needs=WRITE_JOB),
            Route(
                "PUT",
                SUBMISSIONS,
                self.submit_all,
                "Run several jobs, which may need each other: all of them or none.",
                rest.SubmitAllResponse,
                body=rest.SubmitAllRequest,
                needs=WRITE_JOB,
            ),
            Route("GET", JOBS, self.list_jobs, "Some jobs.", rest.ListJobsResponse, ListJobsQuery, needs=READ_JOB),
            Route(
                "PUT",
                f"{JOBS}/diff",
                self.diff,
                "What a submit would change.",
                rest.DiffResponse,
                body=rest.DiffRequest,
                needs=WRITE_JOB,
                reads=True,
            ),
            Route(
                "PUT",
                f"{JOBS}/validate",
                self.validate,
                "Everything for which a submit would be refused now, at once.",
                rest.ValidateResponse,
                body=rest.ValidateRequest,
                needs=WRITE_JOB,
                reads=True,
            ),
            Route(
                "GET",
                one,
                self.get_job,
                "One job, by name, id or beginning of an id.",
                rest.JobResponse,
                JobQuery,
                needs=READ_JOB,
            ),
            Route(
                "DELETE",
                one,
                self.stop_job,
                "Stop a job.",
                rest.StopResponse,
                StopQuery,
                rest.StopRequest,
                needs=WRITE_JOB,
            ),
            Route(
                "DELETE", f"{one}/record", self.delete_job, delete, rest.DeleteResponse, DeleteQuery, needs=WRITE_JOB
            ),
            Route(
                "PUT",
                f"{one}/rerun",
                self.rerun,
                rerun,
                rest.RerunResponse,
                InNamespace,
                rest.RerunRequest,
                needs=WRITE_JOB,
            ),
        )

    async def submit(self, request: web.Request) -> web.Response:
        wanted, warnings = await body_of(request, rest.SubmitRequest, beside=job_problems.of_request)
        async with asyncio.timeout(STORE_SECONDS + _look_up_seconds(wanted.job)):
            job = in_namespace(wanted.job, principal_of(request))
            done = await self._submissions.submit(
                job,
                force=wanted.force,
                token=wanted.idempotency_token,
                traceparent=request.headers.get("traceparent", ""),
            )
        tell(request, done.job_id, job.namespace, detail=job.name)
        told = submitted(done)
        return answer(replace(told, warnings=(*warnings, *told.warnings)))

    async def submit_all(self, request: web.Request) -> web.Response:
        wanted, warnings = await body_of(request, rest.SubmitAllRequest, beside=job_problems.of_requests)
        principal = principal_of(request)
        async with asyncio.timeout(STORE_SECONDS + _look_up_seconds(*wanted.jobs)):
            jobs = [in_namespace(job, principal) for job in wanted.jobs]
            done = await self._joint_submissions.submit(
                jobs,
                force=wanted.force,
                token=wanted.idempotency_token,
                traceparent=request.headers.get("traceparent", ""),
            )
        for job, each in zip(jobs, done, strict=True):
            tell(request, each.job_id, job.namespace)
        return answer(rest.SubmitAllResponse(jobs=tuple(map(submitted, done)), warnings=warnings))

    async def diff(self, request: web.Request) -> web.Response:
        wanted, warnings = await body_of(request, rest.DiffRequest, beside=job_problems.of_request)
        found = await self._submissions.difference(in_namespace(wanted.job, principal_of(request)))
        return answer(rest.DiffResponse(diff=found.lines, warnings=(*warnings, *found.warnings)))

    async def validate(self, request: web.Request) -> web.Response:
        """What cannot be read as a job is a problem of it; what is no request is an error."""
        self._store.check_ready()
        try:
            wanted, warnings = await body_of(request, rest.ValidateRequest, beside=job_problems.of_request)
        except InvalidDocument as error:
            if not error.problems:
                raise
            return answer(rest.ValidateResponse(valid=False, problems=problems_of(error)))
        async with asyncio.timeout(STORE_SECONDS + _look_up_seconds(wanted.job)):
            job = in_namespace(wanted.job, principal_of(request))
            found = await validated(self._model, self._submissions, job)
        return answer(replace(found, warnings=(*warnings, *found.warnings)))

    async def list_jobs(self, request: web.Request) -> web.Response:
        self._store.check_ready()
        query, principal = query_of(request, ListJobsQuery), principal_of(request)
        wanted = job_filter(
            namespaces=principal.among(query.namespace),
            limited=not principal.sees_all,
            labels=query.labels,
            states=query.state,
            exit_codes=query.exit_code,
            since=query.since,
            name=query.name,
            schedules=query.schedules,
            now=now_ns(),
        )
        window = job_window(
            sort_by=query.order_by,
            descending=query.reverse,
            limit=query.limit,
            token=query.next_token,
        )
        self._model.find_out()
        found, token = job_page(self._model.lists, wanted, window)
        items: list[Any] = []
        size_bytes = 0
        for begin in range(0, len(found), ITEMS_OF_A_STEP):
            if begin:
                await asyncio.sleep(0)  # others have their turn in between
            some = [listed.id for listed in found[begin : begin + ITEMS_OF_A_STEP]]
            for entry in self._model.jobs.some(some):  # but for those that were removed meanwhile
                view = msgspec.json.encode(views.job_view(self._model, entry))
                size_bytes += len(view)
                if items and size_bytes > MAX_LIST_BYTES:
                    token = window.after_fewer(found, begin + some.index(entry.id))
                    return answer(rest.ListJobsResponse(next_token=token, items=tuple(items)))
                items.append(msgspec.Raw(view))
        return answer(rest.ListJobsResponse(next_token=token, items=tuple(items)))

    async def get_job(self, request: web.Request) -> web.Response:
        entry = self._details.entry(request)
        query = query_of(request, JobQuery)
        include = {part.strip().lower() for text in query.include for part in text.split(",")} - {""}
        if unknown := include - _INCLUDES:
            raise InvalidInput(
                f"{min(unknown)[:80]!r} cannot be included.", hint=f"Known are {', '.join(sorted(_INCLUDES))}."
            )
        job = self._details.version_view(entry, query.job_version)
        return answer(
            rest.JobResponse(
                job=job,
                history=await self._details.history(entry, job.version) if "history" in include else None,
                executions=await self._details.executions(entry, job.version) if "executions" in include else None,
            )
        )

    async def rerun(self, request: web.Request) -> web.Response:
        wanted, warnings = await body_of(request, rest.RerunRequest, optional=True)
        entry = self._details.entry(request)
        unended = 0 if entry.progress.state.is_terminal else entry.job.version
        async with asyncio.timeout(STORE_SECONDS):
            version = await self._submissions.rerun(
                entry, wanted.job_version, wanted.reason, failed=wanted.failed, token=wanted.idempotency_token
            )
        job = entry.job.id
        if version > unended:
            warnings += about_replaced(unended, version)
        return answer(
            rest.RerunResponse(evaluation_id=evaluation(job), job_id=job, job_version=version, warnings=warnings)
        )

    async def stop_job(self, request: web.Request) -> web.Response:
        wanted, _ = await body_of(request, rest.StopRequest, optional=True)
        entry = self._details.entry(request)
        reason = wanted.reason or query_of(request, StopQuery).reason
        async with asyncio.timeout(STORE_SECONDS):
            stopped = await self._submissions.stop(entry, reason)
        return answer(rest.StopResponse(evaluation_id=evaluation(entry.job.id) if stopped else ""))

    async def delete_job(self, request: web.Request) -> web.Response:
        entry, query = self._details.entry(request), query_of(request, DeleteQuery)
        job = entry.job.id
        deleted = await self._removals.remove(entry, results=query.results, force=query.force)
        return answer(rest.DeleteResponse(job_id=job, deleted=deleted))


def in_namespace(job: Job, principal: Principal) -> Job:
    """The job in the namespace that is meant where it names none. Raises NamespaceForbidden."""
    namespace = principal.meant(job.namespace.strip())
    principal.check_namespace(namespace)
    return replace(job, namespace=namespace)


def submitted(done: Submitted) -> rest.SubmitResponse:
    return rest.SubmitResponse(
        job_id=done.job_id,
        evaluation_id=evaluation(done.job_id),
        job_version=done.version,
        warnings=done.warnings,
    )


def evaluation(job: str) -> str:
    """The reference answers with the id of an evaluation; here the job's own id stands for it."""
    return f"v-{job.removeprefix('j-')}"


def _look_up_seconds(*jobs: Job) -> float:
    """How much longer it takes where S3 is asked about inputs."""
    return LOOK_UP_SECONDS if any(task.input_sources for job in jobs for task in job.tasks) else 0.0
