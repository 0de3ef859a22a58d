"""What the audit log tells of connections: who was let in over NATS, which nodes joined, and who was kept out."""

from orchestrator.admission.callout import AuthRequest
from orchestrator.admission.claims import Claim, Right
from orchestrator.audit.events import JOIN, SIGN_IN, ActorKind, AuditEvent
from orchestrator.audit.recorder import Audit
from shared.ids import is_safe_id

_BY = {Right.KNOWN_KEY: "by its key", Right.JOIN_SECRET: "by the join secret"}


class AuditedConnections:
    """Nothing is told without an `audit`."""

    def __init__(self, audit: Audit | None) -> None:
        self._audit = audit

    def __repr__(self) -> str:
        return f"<AuditedConnections by {self._audit!r}>"

    def check(self) -> None:
        """Raise AuditUnwritable where no node may join now."""
        if self._audit is not None:
            self._audit.check()

    async def joined(self, request: AuthRequest, claim: Claim) -> None:
        """A node has bound its id to its key. Raises AuditUnwritable."""
        if self._audit is None:
            return
        by = f"by the join token {claim.by.id}" if not isinstance(claim.by, Right) else _BY[claim.by]
        await self._audit.record(
            AuditEvent(
                kind="node",
                who=claim.node,
                source=_host(request),
                action=JOIN,
                object=claim.node,
                detail=f"{by}, with the key {claim.public_key}",
            )
        )

    def may_have_joined(self, request: AuthRequest, claim: Claim, code: str) -> None:
        """It is not known whether the id is bound."""
        if self._audit is not None:
            self._audit.note(
                AuditEvent(
                    kind="node",
                    who=claim.node,
                    source=_host(request),
                    action=JOIN,
                    object=claim.node,
                    outcome="failed",
                    code=code,
                    detail=f"with the key {claim.public_key}",
                )
            )

    def let_in(self, request: AuthRequest, kind: ActorKind, name: str) -> None:
        if self._audit is not None:
            self._audit.note(AuditEvent(kind=kind, who=name, source=_host(request), action=SIGN_IN))

    def refused(self, request: AuthRequest, code: str) -> None:
        """A name that is only claimed is what it was about, and not who it was."""
        if self._audit is None:
            return
        offered = request.connect_opts
        claimed = offered.user or offered.name
        self._audit.note(
            AuditEvent(
                kind="stranger",
                source=_host(request),
                action=SIGN_IN,
                object=claimed if is_safe_id(claimed) else "",
                outcome="refused",
                code=code,
            )
        )


def _host(request: AuthRequest) -> str:
    return request.client_info.host[:64]
