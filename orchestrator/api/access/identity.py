"""Identity: who asks is found out before anything is answered, and may do what the route needs, or not.

Over the Unix socket it is the user as whom the other end runs, which the kernel tells. Over TCP it is a key, shown as
`Authorization`, or signed with, or a token of the issuer with which people sign in.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Middleware

from orchestrator.admission.bounds.guesses import TooManyAttempts
from orchestrator.admission.bounds.refusal_log import RefusalLog
from orchestrator.admission.identities import Identities, SignedRequest, signed_by
from orchestrator.admission.principals import ANONYMOUS, OPERATOR, Principal
from orchestrator.admission.sign_in.sign_in import SignIn
from orchestrator.admission.sign_in.token import token_in
from orchestrator.api.access.auditing import RequestAudit
from orchestrator.api.access.other_sites import refuse_led_here
from orchestrator.api.access.use import use_key
from orchestrator.api.bodies import received
from orchestrator.api.routes import Handler, Route, local_connection, principal_key
from orchestrator.state.users import Users
from shared.errors import Refused, Unauthorized, Unavailable
from shared.protocol.capabilities import OPEN
from shared.protocol.request_signature import Signed
from shared.runtime.aio import first_of
from shared.runtime.local_socket import peer_uid

_log = logging.getLogger(__name__)
_proof = web.RequestKey("proof", str)


class PeerRefused(Unauthorized):
    def __init__(self, uid: int) -> None:
        super().__init__(
            f"Request Unauthorized: this socket is for the user {os.geteuid()} as whom the orchestrator runs, and for"
            f" root, not for the user {uid}.",
            hint="Run the command as that user, or use a key over TCP.",
        )


def identifying(
    routes: Iterable[Route],
    identities: Identities,
    users: Users,
    audited: RequestAudit,
    sign_in: SignIn | None = None,
) -> Middleware:
    """Let pass whom the route lets pass; all others are refused before the handler is called."""
    table = {(route.method, route.path): route for route in routes}
    refusals = RefusalLog()

    @web.middleware
    async def identified(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = _route(table, request)
        use = request[use_key]
        if route is None or route.needs == OPEN:
            if "Authorization" not in request.headers:
                refuse_led_here(request)
            known = await _known(request, identities, sign_in, use.origin)
            await (use.admit_stranger() if known is None else use.admit(known, streams=False))
            return await handler(request)
        principal: Principal | None = None
        try:
            principal = await _principal(request, identities, sign_in, use.origin)
            await use.admit(principal, streams=route.streams, changes=route.is_change)
            if principal is ANONYMOUS:
                refuse_led_here(request)
            if sign_in is not None and principal.kind == "person" and sign_in.is_first_use(principal):
                audited.signed_in(request, principal)
            principal.check(route.needs, everywhere=route.everywhere)
        except Refused as error:
            if principal is None:
                await use.admit_stranger()
            refusals.note(f"{request.method} {route.path} from {use.address}: {error.message}", now=time.monotonic())
            audited.refused(request, route, principal, error)
            raise
        except Unavailable:
            if principal is None:  # whose token it is cannot be told at present
                await use.admit_stranger()
            raise
        request[principal_key] = principal
        if not route.streams:
            return await audited.answered(request, handler, route, principal)
        if principal.key_id:
            return await _while_valid(request, handler, principal, users)
        return await first_of(_answer(request, handler), use.until_gone())

    return identified


def proof_for(request: web.BaseRequest) -> str:
    """What the answer to a signed request carries; empty where there is none to prove anything to."""
    return str(request.get(_proof, ""))


def _route(table: dict[tuple[str, str], Route], request: web.Request) -> Route | None:
    """None for what no route answers, which is told to anybody."""
    resource = request.match_info.route.resource
    if resource is None:
        return None
    return table["GET" if request.method == "HEAD" else request.method, resource.canonical]


async def _principal(request: web.Request, identities: Identities, sign_in: SignIn | None, origin: str) -> Principal:
    """Raises Unauthorized, TooManyAttempts, and of a token what `SignIn.principal` does."""
    peer = local_connection(request)
    if peer is not None:
        return _of_peer(peer)
    header = request.headers.get("Authorization")
    signed = signed_by(header)
    if signed is None:
        if sign_in is not None and (token := token_in(header)):
            return await sign_in.principal(token)
        return identities.of_header(header, origin)
    request[_proof] = await _proof_of(signed, request, identities, origin)
    identities.take(signed)
    return identities.of_signed(signed)


async def _proof_of(signed: Signed, request: web.Request, identities: Identities, origin: str) -> str:
    """Raises KeyWrong, TooManyAttempts."""
    identities.check_known(signed, origin)  # before anything of a stranger's is read
    body = await received(request) if request.can_read_body else b""
    return identities.proof(signed, SignedRequest(request.method, request.raw_path, body))


async def _known(request: web.Request, identities: Identities, sign_in: SignIn | None, origin: str) -> Principal | None:
    """Who asks where no key is asked for; None for a stranger. Who signs there too believes no other answer."""
    header = request.headers.get("Authorization")
    if local_connection(request) is None and not header:
        return None
    signed = signed_by(header)
    try:
        if signed is None:
            return await _principal(request, identities, sign_in, origin)
        request[_proof] = await _proof_of(signed, request, identities, origin)
        return identities.of_signed(signed)
    except (Refused, Unavailable, TooManyAttempts):
        return None


def _of_peer(connection: socket.socket) -> Principal:
    uid = peer_uid(connection)
    if uid not in {0, os.geteuid()}:
        raise PeerRefused(uid)
    return OPERATOR


async def _while_valid(
    request: web.Request, handler: Handler, principal: Principal, users: Users
) -> web.StreamResponse:
    """The answer, which is broken off when the key is revoked, or it or a token expires.

    Its reader comes again, and is told.
    """
    left = (principal.expires - time.time_ns()) / 1e9 if principal.expires else None

    async def until_it_ends(gone: asyncio.Event) -> web.StreamResponse:
        try:
            async with asyncio.timeout(left):
                await gone.wait()
        except TimeoutError:
            pass
        _log.info("A stream of user %s ends, as the key or token does.", principal.name)
        raise ConnectionAbortedError("The key has ended.")

    with users.held(principal.key_id) as gone:
        return await first_of(_answer(request, handler), until_it_ends(gone), request[use_key].until_gone())


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await handler(request)
