"""Identity: who asks is found out before anything is answered, and may do what the route needs, or not.

Over the Unix socket it is the user as whom the other end runs, which the kernel tells. Over TCP it is a key, shown as
`Authorization`, or signed with, or a token of the issuer with which people sign in; or the cookie of a session.
"""

import asyncio
import contextlib
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
from orchestrator.admission.sessions.sessions import Session, Sessions
from orchestrator.admission.sign_in.sign_in import SignIn
from orchestrator.admission.sign_in.token import token_in
from orchestrator.api.access.auditing import RequestAudit
from orchestrator.api.access.other_sites import refuse_led_here, refuse_pages_by_other_names
from orchestrator.api.access.session_cookies import CSRF_HEADER, SessionCookies, session_key
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


class WhoAsks:
    """Finds out who asks, by whatever that one shows; `cookies` are those of sessions."""

    def __init__(
        self,
        identities: Identities,
        users: Users,
        *,
        sessions: Sessions,
        cookies: SessionCookies,
        sign_in: SignIn | None = None,
    ) -> None:
        self.sign_in = sign_in
        self._identities = identities
        self._users = users
        self._sessions = sessions
        self._cookies = cookies

    async def principal(self, request: web.Request, origin: str) -> Principal:
        """Raises Unauthorized, TooManyAttempts, and of a token what `SignIn.principal` does."""
        peer = local_connection(request)
        if peer is not None:
            return _of_peer(peer)
        session = self._session_of(request)
        if session is not None:
            principal = await self._sessions.principal(session.known)
            request[session_key] = session
            return principal
        header = request.headers.get("Authorization")
        signed = signed_by(header)
        if signed is None:
            if self.sign_in is not None and (token := token_in(header)):
                return await self.sign_in.principal(token)
            return self._identities.of_header(header, origin)
        request[_proof] = await self._proof_of(signed, request, origin)
        self._identities.take(signed)
        return self._identities.of_signed(signed)

    def _session_of(self, request: web.Request) -> Session | None:
        """Raises as `SessionCookies.session_of`; where nobody has to show anything, what is not good is nothing."""
        try:
            return self._cookies.session_of(request)
        except Unauthorized:
            if self._identities.anonymous:
                return None
            raise

    async def _proof_of(self, signed: Signed, request: web.Request, origin: str) -> str:
        """Raises KeyWrong, TooManyAttempts."""
        self._identities.check_known(signed, origin)  # before anything of a stranger's is read
        body = await received(request) if request.can_read_body else b""
        return self._identities.proof(signed, SignedRequest(request.method, request.raw_path, body))

    async def known(self, request: web.Request, origin: str) -> Principal | None:
        """Who asks where no key is asked for; None for a stranger. Who signs there too believes no other answer."""
        header = request.headers.get("Authorization")
        if local_connection(request) is None and not header and not self._cookies.are_in(request):
            return None
        signed = signed_by(header)
        try:
            if signed is None:
                return await self.principal(request, origin)
            request[_proof] = await self._proof_of(signed, request, origin)
            return self._identities.of_signed(signed)
        except (Refused, Unavailable, TooManyAttempts):
            return None

    def check_change(self, request: web.Request) -> None:
        """Raise CSRFTokenWrong for a change that only a session's cookie speaks for."""
        session = request.get(session_key)
        if session is not None:
            self._sessions.check_csrf_token(session, request.headers.get(CSRF_HEADER))

    async def stream(self, request: web.Request, handler: Handler, principal: Principal) -> web.StreamResponse:
        """The answer, which is broken off when the key or the session ends by which it was asked for.

        Its reader comes again, and is told.
        """
        session = request.get(session_key)
        with contextlib.ExitStack() as stack:
            ends = [request[use_key].until_gone()]
            if principal.key_id:
                told = f"A stream of user {principal.name} ends, as the key or token does."
                gone = stack.enter_context(self._users.held(principal.key_id))
                ends.append(_until(gone, principal.expires / 1e9, told))
            if session is not None:
                told = f"A stream of user {principal.name} ends, as the session does."
                ends.append(_until(stack.enter_context(self._sessions.held(session)), session.expires, told))
            return await first_of(_answer(request, handler), *ends)


def identifying(routes: Iterable[Route], who: WhoAsks, audited: RequestAudit) -> Middleware:
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
            known = await who.known(request, use.origin)
            await (use.admit_stranger() if known is None else use.admit(known, streams=False))
            if known is not None:
                request[principal_key] = known
            return await handler(request)
        principal: Principal | None = None
        try:
            principal = await who.principal(request, use.origin)
            await use.admit(principal, streams=route.streams, changes=route.is_change)
            if principal is ANONYMOUS:
                refuse_led_here(request)
                refuse_pages_by_other_names(request)
            if who.sign_in is not None and principal.kind == "person" and who.sign_in.is_first_use(principal):
                audited.signed_in(request, principal)
            principal.check(route.needs, everywhere=route.everywhere)
            if route.is_change:
                who.check_change(request)
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
        return await who.stream(request, handler, principal)

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


def _of_peer(connection: socket.socket) -> Principal:
    uid = peer_uid(connection)
    if uid not in {0, os.geteuid()}:
        raise PeerRefused(uid)
    return OPERATOR


async def _until(ended: asyncio.Event, expires: float, told: str) -> web.StreamResponse:
    """Raise ConnectionAbortedError then, or when it expires, in seconds since 1970; 0 is never."""
    try:
        async with asyncio.timeout(expires - time.time() if expires else None):
            await ended.wait()
    except TimeoutError:
        pass
    _log.info("%s", told)
    raise ConnectionAbortedError("What let its reader in has ended.")


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await handler(request)
