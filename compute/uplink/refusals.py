"""Refusals: why this node is not let in, found out by asking, since NATS tells nothing to whom it refuses."""

import asyncio
import logging
import ssl

import msgspec

from compute.uplink.identity import Identity
from compute.uplink.invitation import Invitation
from shared.errors import MessagingUnavailable
from shared.messaging.transport import Connection, connect
from shared.protocol import subjects
from shared.runtime.aio import first_of
from shared.runtime.log_lines import about

_log = logging.getLogger(__name__)

ASK_SECONDS = 20.0
REFUSALS = 3
PAUSE_SECONDS = 60.0
"""Between two questions; what was found out once is mostly so for good."""


class _Told(msgspec.Struct):
    """Empty where the node would be let in by now."""

    code: str = ""
    message: str = ""
    hint: str = ""


def _unknown(invitation: Invitation) -> _Told:
    """Nobody tells more to who shows no token that is known there."""
    where = ", ".join(invitation.servers)
    return _Told(
        code="JoinTokenUnknown",
        message=f"No orchestrator at {where} knows join token {invitation.token}, or none is ready.",
        hint="A token is of the cluster that has made it, and is forgotten a week after its end."
        " `tarpon node token list` shows those that there are, and `tarpon node token create` makes another.",
    )


class _Permission(msgspec.Struct):
    allow: list[str] = []


class _Permissions(msgspec.Struct):
    publish: _Permission = msgspec.field(default_factory=_Permission)


class _User(msgspec.Struct):
    permissions: _Permissions = msgspec.field(default_factory=_Permissions)


class _WhoAmI(msgspec.Struct):
    """What a server answers (nats-server, `server/events.go`, `userInfoReqSubj`), as far as it matters here."""

    data: _User = msgspec.field(default_factory=_User)


async def explain_refusals(
    connection: Connection, invitation: Invitation, identity: Identity, trust: ssl.SSLContext | None
) -> None:
    """Until cancelled, say in the log why this node is refused. Who has no join token cannot be told."""
    number, said = 0, ""
    while True:
        number = await connection.next_refusal(number)
        told = await _ask(invitation, identity, trust) if invitation.token else None
        if told is not None and told.message != said:
            said = told.message
            text = "This node is not let in: %s [%s] %s"
            _log.error(text, told.message, told.code, told.hint, extra=about(node=identity.node_id))
        await asyncio.sleep(PAUSE_SECONDS)


async def _is_let_in(asking: Connection) -> bool:
    """False after a few refusals; one alone may be due to an orchestrator that starts."""
    return await first_of(_let_in(asking), _refused(asking))


async def _let_in(asking: Connection) -> bool:
    await asking.wait_connected()
    return True


async def _refused(asking: Connection) -> bool:
    await asking.next_refusal(REFUSALS - 1)
    return False


async def _ask(invitation: Invitation, identity: Identity, trust: ssl.SSLContext | None) -> _Told | None:
    """Over a connection under a name by which nothing else can be done. None where nobody tells it anything."""
    try:
        async with (
            asyncio.timeout(ASK_SECONDS),
            connect(
                invitation.servers,
                name=subjects.asks_why(identity.node_id),
                nkey_seed=identity.nkey_seed,
                token=invitation.shown,
                inbox_prefix=subjects.refused_inbox(identity.public_key),
                trust=trust,
                quiet=True,
            ) as asking,
        ):
            if not await _is_let_in(asking):
                return _unknown(invitation)
            answer = await asking.request(subjects.WHO_AM_I, b"", timeout=ASK_SECONDS)
        allowed = msgspec.json.decode(answer, type=_WhoAmI).data.permissions.publish.allow
        return msgspec.json.decode(subjects.reason_in(allowed), type=_Told)
    except (TimeoutError, MessagingUnavailable, ValueError) as error:
        _log.debug("Why this node is refused is not told: %r", error)
        return None
