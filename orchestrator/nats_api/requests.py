"""The NATS API: what programs ask as users of their own, answered by a micro service of NATS.

Any orchestrator answers, from its model or through its submissions, as the HTTP API does. Answers have the same
shapes. Who asks is the principal that the subject names; the server lets each ask on its own subjects alone.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from itertools import islice
from typing import Any, TypeVar

import msgspec
import nats.errors
from nats import micro
from nats.micro.request import Request

from orchestrator.admission.bounds.company import CHANGE_COST
from orchestrator.admission.bounds.shares import TooManyRequests
from orchestrator.admission.identities import principal_named
from orchestrator.admission.principals import ALL_CAPABILITIES, Principal
from orchestrator.api.errors import status_of
from orchestrator.api.jobs import in_namespace, submitted
from orchestrator.assembly import Assembly
from orchestrator.jobs import views
from orchestrator.jobs.answer_room import AnswerRoom
from orchestrator.jobs.results import results, results_signed
from orchestrator.nats_api.auditing import NatsAudit, Objects
from orchestrator.nats_api.lines import Lines
from orchestrator.nodes.upload_progress import upload_of
from orchestrator.nodes.views import node_state, nodes_seen
from orchestrator.s3.signed_events import FROM_NATS
from orchestrator.state.job_entry import JobEntry
from shared.data.decoding import decode
from shared.data.plain_data import parse_object
from shared.errors import (
    RETRY_AFTER,
    InvalidDocument,
    InvalidInput,
    MessagingUnavailable,
    NotReady,
    PayloadTooLarge,
    TarponError,
    TooMuchAtOnce,
)
from shared.messaging.client import taken_in
from shared.messaging.transport import MAX_PAYLOAD_BYTES
from shared.protocol import job_problems, nats_api, rest, rest_nodes, subjects
from shared.protocol.capabilities import EVERYTHING, READ_JOB, READ_NODE, WRITE_JOB
from shared.protocol.jobs import rest_waits
from shared.runtime.aio import raising_cancellation
from shared.runtime.version import version_text

_log = logging.getLogger(__name__)

_NEEDS = {
    **dict.fromkeys(("jobs.submit", "jobs.submit-all", "jobs.stop", "jobs.delete", "jobs.schedule"), WRITE_JOB),
    **dict.fromkeys(("jobs.get", "jobs.list", "jobs.results", "jobs.history", "jobs.waits"), READ_JOB),
    "nodes.list": READ_NODE,
}
"""Which capability each request takes; one that is not named here takes all."""
WAIT_SECONDS = 1.0
"""After how long a program may ask again that has too much waiting."""
ANSWER_SECONDS = 15.0
RETRY_SECONDS = 1.0
MAX_LIST = 500
MAX_RESULTS = 1000
"""So many are signed for one answer at most."""
MAX_DIGITS = 20

R = TypeVar("R")


class Integrations:
    """The service; `run` offers it over each connection, and `offered` is set when it has been for the first time."""

    def __init__(self, assembly: Assembly) -> None:
        self._name = assembly.name
        self._connection = assembly.connection
        self._model = assembly.model
        self._store = assembly.store
        self._nodes = assembly.nodes
        self._waits = assembly.waits
        self._submissions = assembly.submissions
        self._joint_submissions = assembly.joint_submissions
        self._removals = assembly.removals
        self._schedules = assembly.schedules
        self._locations = assembly.locations
        self._audit = assembly.audit
        self._audited = NatsAudit(assembly.audit)
        self._held_back = assembly.measures.held_back
        self._changing = assembly.changing
        self._per_second = assembly.config.api.limits.program_requests_per_second
        self._lines: Lines[Request] | None = None
        self.offered = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled."""
        number = 0
        async with asyncio.TaskGroup() as group:
            lines = Lines(
                group,
                self._attend,
                _refuse_for_now,
                self._held_back,
                per_second=self._per_second,
                clock=time.monotonic,
            )
            self._lines = lines
            while True:
                new = await self._connection.next_connection(number)
                try:
                    await self._offer(lines)
                    number = new
                    await self._connection.lost(new)
                except (nats.errors.Error, OSError, TimeoutError, MessagingUnavailable) as error:
                    _log.warning("The NATS API cannot be offered at present: %r", error)
                    await asyncio.sleep(RETRY_SECONDS)

    async def _offer(self, lines: Lines[Request]) -> None:
        async def take(request: Request) -> None:
            who = _who(request.subject)
            lines.take(who, request, len(request.data), cost=self._cost(who, request))

        service = await raising_cancellation(
            micro.add_service(
                self._connection.client,
                name=subjects.SERVICE,
                version=version_text(),
                metadata={subjects.ORCHESTRATOR: self._name},
                description="Submit, watch and stop batch jobs, and get at their results.",
            )
        )
        api = service.add_group(name=subjects.API_GROUP)
        for what in nats_api.REQUESTS:
            await raising_cancellation(api.add_endpoint(name=what.replace(".", "-"), subject=what, handler=take))
        await taken_in(self._connection.client)
        self.offered.set()

    def _cost(self, who: str, request: Request) -> int:
        """Beside other programs."""
        if _NEEDS.get(request.subject.split(".", 4)[4]) != WRITE_JOB:
            return 1
        self._changing.note(f"program {who}")
        return CHANGE_COST if self._changing.has_others(f"program {who}") else 1

    async def _attend(self, request: Request) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._answer(request)
        except TarponError as error:
            await _refuse(request, error)
        except TimeoutError:
            await _refuse(request, NotReady("The answer took too long.", hint="Ask again."))
        except Exception:  # noqa: BLE001  # the per-message handler: one request must not end the service
            _log.exception("A request on %s failed.", request.subject)
            await _refuse(request, MessagingUnavailable("The orchestrator failed; its log tells how."))

    async def _answer(self, request: Request) -> None:
        *_, name, what = request.subject.split(".", 4)
        principal = self._principal(name)
        needs = _NEEDS.get(what, EVERYTHING)

        async def act(told: Objects) -> msgspec.Struct:
            principal.check(needs)
            return await self._dispatch(what, request.data, request.headers or {}, principal, told)

        answer = msgspec.json.encode(await self._audited.answered(what, needs, principal, act))
        if len(answer) > MAX_PAYLOAD_BYTES:
            raise PayloadTooLarge("The answer", len(answer), MAX_PAYLOAD_BYTES)
        await _respond(request, answer)

    def _principal(self, name: str) -> Principal:
        """Who asks, as the server has let only that one ask. Raises Unauthorized for a user whose key has ended."""
        user = subjects.keyed_user(name)
        if user:
            return principal_named(self._model.users, user)
        return Principal(name=name, kind="integration", capabilities=ALL_CAPABILITIES)

    async def _dispatch(
        self, what: str, payload: bytes, headers: Mapping[str, str], principal: Principal, told: Objects
    ) -> msgspec.Struct:
        """`told` gets the jobs that a change is about."""
        self._store.check_ready()
        match what:
            case "jobs.submit":
                return await self._submit(payload, _traceparent(headers), principal, told)
            case "jobs.submit-all":
                return await self._submit_all(payload, _traceparent(headers), principal, told)
            case "jobs.get":
                return await self._get(_read(payload, nats_api.GetRequest), principal)
            case "jobs.list":
                return self._list(_read(payload, nats_api.ListRequest), principal)
            case "jobs.stop":
                wanted = _read(payload, nats_api.StopJobRequest)
                stopping = self._entry(wanted, principal, told)
                stopped = await self._submissions.stop(stopping, wanted.reason)
                return rest.StopResponse(evaluation_id=stopping.job.id if stopped else "")
            case "jobs.delete":
                asked = _read(payload, nats_api.DeleteRequest)
                entry = self._entry(asked, principal, told)
                deleted = await self._removals.remove(entry, results=asked.results, force=asked.force)
                return rest.DeleteResponse(job_id=entry.job.id, deleted=deleted)
            case "jobs.schedule":
                change = _read(payload, nats_api.ScheduleJobRequest)
                return await self._schedules.act(self._entry(change, principal, told), change.wanted)
            case "jobs.results":
                return await self._results(_read(payload, nats_api.ResultsRequest), principal)
            case "jobs.history":
                since = _read(payload, nats_api.HistoryRequest)
                after = max(since.after_seq_num, _number(since.next_token, default=0))
                return await self._history(self._entry(since, principal), AnswerRoom(), after=after)
            case "jobs.waits":
                why = _read(payload, nats_api.WaitsRequest)
                return await self._why(self._entry(why, principal), why.limit)
            case "nodes.list":
                return self._list_nodes(_read(payload, nats_api.NodesRequest), principal)
            case _:
                raise InvalidDocument(f"Nothing is known about {what[:80]!r}.")

    async def _submit(
        self, payload: bytes, traceparent: str, principal: Principal, told: Objects
    ) -> rest.SubmitResponse:
        data = _object(payload)
        beside = job_problems.of_request
        wanted, warnings = decode(data, rest.SubmitRequest, what="The request", unknown="report", beside=beside)
        job = in_namespace(wanted.job, principal)
        done = await self._submissions.submit(
            job,
            force=wanted.force,
            token=wanted.idempotency_token,
            traceparent=traceparent,
        )
        told.append((done.job_id, job.namespace))
        return rest.SubmitResponse(
            job_id=done.job_id,
            evaluation_id=done.job_id,
            job_version=done.version,
            warnings=(*warnings, *done.warnings),
        )

    async def _submit_all(
        self, payload: bytes, traceparent: str, principal: Principal, told: Objects
    ) -> rest.SubmitAllResponse:
        data, beside = _object(payload), job_problems.of_requests
        wanted, warnings = decode(data, rest.SubmitAllRequest, what="The request", unknown="report", beside=beside)
        jobs = [in_namespace(job, principal) for job in wanted.jobs]
        done = await self._joint_submissions.submit(
            jobs,
            force=wanted.force,
            token=wanted.idempotency_token,
            traceparent=traceparent,
        )
        told += [(each.job_id, job.namespace) for job, each in zip(jobs, done, strict=True)]
        return rest.SubmitAllResponse(jobs=tuple(map(submitted, done)), warnings=warnings)

    async def _get(self, asked: nats_api.GetRequest, principal: Principal) -> rest.JobResponse:
        entry, room = self._entry(asked, principal), AnswerRoom()
        include = {part.lower() for part in asked.include}
        job = views.job_view(self._model, entry)
        room.take(job)
        return rest.JobResponse(
            job=job,
            history=await self._history(entry, room.half() if "executions" in include else room)
            if "history" in include
            else None,
            executions=self._executions(entry, room, asked.next_token) if "executions" in include else None,
        )

    def _executions(self, entry: JobEntry, room: AnswerRoom, token: str) -> rest.Page[rest.ExecutionView]:
        """Of all versions and attempts, the oldest first; a token names the last one that was shown."""
        created, _, last = token.partition(".")
        after = (_number(created, default=-1), last)
        found = sorted((each.create_time, each.id, key, each) for key, each in entry.executions.items())
        shown, is_more = room.fill(
            views.execution_view(
                entry,
                each,
                self._model.revision_of(subjects.execution_record(key)),
                upload=upload_of(self._nodes, each),
            )
            for at, id_, key, each in found
            if (at, id_) > after and each.job_version in entry.specs
        )
        token = f"{shown[-1].create_time}.{shown[-1].id}" if is_more else ""
        return rest.Page(items=shown, next_token=token)

    async def _history(self, entry: JobEntry, room: AnswerRoom, *, after: int = 0) -> rest.Page[rest.HistoryItem]:
        await self._store.settle(entry)
        items, is_more = room.fill(views.history(entry, after=after, up_to=self._model.news.settled))
        return rest.Page(items=items, next_token=str(items[-1].seq_num) if is_more else "")

    async def _results(self, asked: nats_api.ResultsRequest, principal: Principal) -> rest.Page[rest.ResultItem]:
        entry = self._entry(asked, principal)
        signed = await results(
            entry,
            self._locations,
            version=asked.job_version,
            execution=asked.execution_id,
            after=_number(asked.next_token, default=-1),
            most=MAX_RESULTS + 1,
            refused=asked.refused,
        )
        items, is_more = AnswerRoom().fill(signed, most=MAX_RESULTS)
        await self._audit.record(*results_signed(entry, items, principal.kind, principal.name, FROM_NATS))
        return rest.Page(items=items, next_token=str(items[-1].params.partition_index) if is_more else "")

    async def _why(self, entry: JobEntry, limit: int) -> rest_waits.WaitsResponse:
        """As many nodes as fit."""
        found = await self._waits.of(entry, max(0, limit))
        room = AnswerRoom()
        room.take(msgspec.structs.replace(found, nodes=()))
        return msgspec.structs.replace(found, nodes=room.fill(found.nodes)[0])

    def _list(self, asked: nats_api.ListRequest, principal: Principal) -> rest.ListJobsResponse:
        limit = min(MAX_LIST, asked.limit) if asked.limit > 0 else MAX_LIST
        offset = _number(asked.next_token, default=0)
        namespaces, lists = principal.among(asked.namespace), self._model.lists
        listed = lists.find("*") if namespaces is None else lists.of_namespaces(namespaces, newest_first=True)
        found = (self._model.jobs[each.id] for each in islice(listed, offset, None))
        items, is_more = AnswerRoom().fill((views.job_view(self._model, entry) for entry in found), most=limit)
        return rest.ListJobsResponse(items=items, next_token=str(offset + len(items)) if is_more else "")

    def _list_nodes(self, asked: nats_api.NodesRequest, principal: Principal) -> rest_nodes.ListNodesResponse:
        sees = None if principal.sees_all else principal.sees
        left = (node for node in sorted(nodes_seen(self._model, principal)) if node > asked.next_token)
        nodes, is_more = AnswerRoom().fill(node_state(self._model, self._nodes, node, sees=sees) for node in left)
        return rest_nodes.ListNodesResponse(nodes=nodes, next_token=nodes[-1].info.node_id if is_more else "")

    def _entry(self, asked: nats_api.JobRequest, principal: Principal, told: Objects | None = None) -> JobEntry:
        """If who asks may see it."""
        found = self._model.names.find(asked.job_id, principal.meant(asked.namespace), sees=principal.sees)
        if told is not None:
            told.append((found.job.id, found.job.namespace))
        return found

    def __repr__(self) -> str:
        return f"<Integrations, {self._lines!r}>"


async def _refuse_for_now(who: str, request: Request) -> None:
    await _refuse(request, TooManyRequests(f"program {who}", "makes too many requests", WAIT_SECONDS))


def _who(subject: str) -> str:
    """Which program asks; the server lets each ask on its own subjects alone."""
    return subject.split(".", 4)[3]


def _traceparent(headers: Mapping[str, str]) -> str:
    """Names of headers are the same in any case, and libraries write this one in several."""
    return next((value for name, value in headers.items() if name.lower() == "traceparent"), "")


def _number(token: str, *, default: int) -> int:
    """Raises InvalidInput for a token that was not given here."""
    if not token:
        return default
    if not token.isascii() or not token.isdecimal() or len(token) > MAX_DIGITS:
        raise InvalidInput(
            f"{token[:80]!r} is not a token of this list.",
            hint="Use the NextToken of the last answer as it is, or none to begin anew.",
        )
    return int(token)


def _object(payload: bytes) -> dict[str, Any]:
    return parse_object(payload or b"{}", what="The request")


def _read(payload: bytes, shape: type[R]) -> R:
    return decode(_object(payload), shape, what="The request", unknown="report")[0]


async def _refuse(request: Request, error: TarponError) -> None:
    waits = {RETRY_AFTER: f"{error.wait_seconds:.2f}"} if isinstance(error, TooMuchAtOnce) else {}
    body = rest.ErrorBody(
        status=status_of(error),
        message=error.message,
        code=error.code,
        component="Orchestrator",
        hint=error.hint,
        details=error.details | waits,
    )
    headers = {"Nats-Service-Error-Code": str(body.status), "Nats-Service-Error": error.code}
    await _respond(request, msgspec.json.encode(body), headers)


async def _respond(request: Request, payload: bytes, headers: dict[str, str] | None = None) -> None:
    """An answer that nobody can receive any more is dropped."""
    try:
        await request.respond(payload, headers=headers)
    except (nats.errors.Error, OSError) as error:
        _log.debug("An answer on %s could not be sent: %r", request.subject, error)
