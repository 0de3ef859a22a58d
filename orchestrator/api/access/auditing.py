"""Auditing of the HTTP API: each request that changes something has its line before its answer, and so have refusals.

The line has who asked and for what by the route and its path. Handlers tell what only they know, such as the id of a
job that was submitted. Nothing of a stranger's request is repeated but where it came from and what was asked for.
"""

import asyncio

import msgspec
from aiohttp import web

from orchestrator.admission.principals import Principal
from orchestrator.admission.sign_in.sign_in import PersonRefused
from orchestrator.api.access.use import use_key
from orchestrator.api.routes import Handler, Route, local_connection
from orchestrator.audit.events import SIGN_IN, Actor, AuditEvent, Outcome, bounded
from orchestrator.audit.recorder import Audit
from shared.errors import MessagingUnavailable, Refused, TarponError, Unavailable

LOCAL = "socket"


class _Told(msgspec.Struct):
    """What a handler has told about its request; of several objects each gets a line."""

    objects: list[tuple[str, str]] = []
    """Each with its namespace."""
    operation: str = ""
    detail: str = ""


_told = web.RequestKey("told", _Told)


def tell(request: web.Request, name: str = "", namespace: str = "", *, operation: str = "", detail: str = "") -> None:
    """Say which object the request is about, and what is done with it, where the route does not say it."""
    told = request.get(_told)
    if told is None:  # it changes nothing
        return
    if name:
        told.objects.append((name, namespace))
    told.operation, told.detail = operation or told.operation, detail or told.detail


class RequestAudit:
    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def __repr__(self) -> str:
        return f"<RequestAudit by {self._audit!r}>"

    def refused(self, request: web.Request, route: Route, principal: Principal | None, error: Refused) -> None:
        """Of who is not known nothing is told but where it asked from, and for what."""
        actor = Actor("stranger")
        if principal is not None:
            actor = Actor(principal.kind, principal.name)
        elif isinstance(error, PersonRefused):
            actor = Actor("person", error.name)
        event = AuditEvent(
            kind=actor.kind,
            who=actor.name,
            source=source_of(request),
            action=route.needs or SIGN_IN,  # nothing else that is open is refused
            operation=route.audited_as,
            outcome="refused",
            code=error.code,
        )
        self._audit.note(event)

    def signed_in(self, request: web.Request, person: Principal) -> None:
        """Somebody has come with a new token of the issuer."""
        event = AuditEvent(
            kind=person.kind,
            who=person.name,
            source=source_of(request),
            action=SIGN_IN,
            operation="sign_in",
            detail=bounded(person.shown),
        )
        self._audit.note(event)

    def began_session(self, request: web.Request, principal: Principal) -> None:
        """Somebody has signed in at the page."""
        event = AuditEvent(
            kind=principal.kind,
            who=principal.name,
            source=source_of(request),
            action=SIGN_IN,
            operation="begin_session",
            detail=bounded(principal.shown),
        )
        self._audit.note(event)

    async def answered(
        self, request: web.Request, handler: Handler, route: Route, principal: Principal
    ) -> web.StreamResponse:
        """The handler's answer, once what it did is written. Raises AuditUnwritable where it cannot be."""
        if not route.is_change:
            try:
                return await handler(request)
            except Refused as error:
                self.refused(request, route, principal, error)
                raise
        self._audit.check()
        told = request[_told] = _Told()
        try:
            response = await handler(request)
        except BaseException as error:
            outcome, code = outcome_of(error)
            for event in _events(request, route, principal, told):
                self._audit.note(msgspec.structs.replace(event, outcome=outcome, code=code))
            raise
        await self._audit.record(*_events(request, route, principal, told))
        return response


def outcome_of(error: BaseException) -> tuple[Outcome, str]:
    """How what raised this is told. Where it is not known what was done, it has failed."""
    match error:
        case TarponError():
            return "failed" if isinstance(error, Unavailable) else "refused", error.code
        case TimeoutError():
            return "failed", MessagingUnavailable.code
        case web.HTTPException():
            return "refused", f"HTTP{error.status}"
        case asyncio.CancelledError():
            return "failed", "Cancelled"
        case _:
            return "failed", "InternalError"


def source_of(request: web.Request) -> str:
    """Where it came from: an address, also through a trusted proxy, or the local socket."""
    return LOCAL if local_connection(request) else request[use_key].address[:64]


def _events(request: web.Request, route: Route, principal: Principal, told: _Told) -> list[AuditEvent]:
    objects = told.objects or [("/".join(request.match_info.values()), request.query.get("namespace", ""))]
    return [
        AuditEvent(
            kind=principal.kind,
            who=principal.name,
            source=source_of(request),
            action=route.needs,
            operation=told.operation or route.audited_as,
            object=bounded(name),
            namespace=bounded(namespace),
            detail=bounded(told.detail),
        )
        for name, namespace in objects
    ]
