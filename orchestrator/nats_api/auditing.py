"""Auditing of the NATS API: each request that changes something has its line before its answer, as over HTTP."""

from collections.abc import Awaitable, Callable

import msgspec

from orchestrator.admission.principals import Principal
from orchestrator.api.access.auditing import outcome_of
from orchestrator.audit.events import AuditEvent, bounded
from orchestrator.audit.recorder import Audit
from orchestrator.s3.signed_events import FROM_NATS
from shared.errors import Refused

CHANGES = frozenset({"jobs.submit", "jobs.submit-all", "jobs.stop", "jobs.delete", "jobs.schedule"})

Objects = list[tuple[str, str]]
"""What a request was found to be about, each with its namespace."""


class NatsAudit:
    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def __repr__(self) -> str:
        return f"<NatsAudit by {self._audit!r}>"

    async def answered(
        self, what: str, needs: str, principal: Principal, act: Callable[[Objects], Awaitable[msgspec.Struct]]
    ) -> msgspec.Struct:
        """The answer of `act`, once what it did is written. Raises AuditUnwritable where it cannot be."""
        if what in CHANGES:
            self._audit.check()
        told: Objects = []
        try:
            answer = await act(told)
        except BaseException as error:
            if what in CHANGES or isinstance(error, Refused):
                outcome, code = outcome_of(error)
                for event in _events(what, needs, principal, told):
                    self._audit.note(msgspec.structs.replace(event, outcome=outcome, code=code))
            raise
        if what in CHANGES:
            await self._audit.record(*_events(what, needs, principal, told))
        return answer


def _events(what: str, needs: str, principal: Principal, told: Objects) -> list[AuditEvent]:
    return [
        AuditEvent(
            kind=principal.kind,
            who=principal.name,
            source=FROM_NATS,
            action=needs,
            operation=bounded(what),
            object=bounded(name),
            namespace=bounded(namespace),
        )
        for name, namespace in told or [("", "")]
    ]
