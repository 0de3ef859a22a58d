"""Routes of sessions: who looks at the page in a browser signs in, and out; and links that sign somebody in once."""

import base64
from datetime import UTC, datetime

from aiohttp import web
from msgspec.structs import replace

from orchestrator.admission.identities import Identities
from orchestrator.admission.principals import ANONYMOUS, Principal
from orchestrator.admission.sessions.sessions import KnownBy, Session, Sessions, known_of
from orchestrator.admission.sign_in.device_flow import DeviceFlow, PageSignInNotOffered
from orchestrator.admission.sign_in.sign_in import SignIn
from orchestrator.admission.sign_in.token import token_in
from orchestrator.admission.tls.encryption import api_has_tls
from orchestrator.api.access.auditing import RequestAudit, tell
from orchestrator.api.access.session_cookies import SessionCookies, session_key
from orchestrator.api.access.use import use_key
from orchestrator.api.access.users import EVERYWHERE
from orchestrator.api.bodies import answer, body_of
from orchestrator.api.routes import Route, principal_key, principal_of
from shared.errors import InvalidInput, Refused
from shared.protocol.capabilities import ANY_KEY, OPEN
from shared.protocol.rest import BASE_PATH
from shared.protocol.rest_sessions import (
    LinkResponse,
    ProviderSignInResponse,
    ProviderView,
    SessionEndedResponse,
    SessionRequest,
    SessionResponse,
)
from shared.settings.config import ApiSettings

SESSION = f"{BASE_PATH}/auth/session"
LINK = f"{BASE_PATH}/auth/link"
PROVIDER = f"{BASE_PATH}/auth/provider"
MAX_REQUEST_BYTES = 64 << 10


class SessionRoutes:
    """`api` tells where the page is."""

    def __init__(
        self,
        sessions: Sessions,
        cookies: SessionCookies,
        identities: Identities,
        audited: RequestAudit,
        *,
        sign_in: SignIn | None,
        device_flow: DeviceFlow | None,
        api: ApiSettings,
    ) -> None:
        self._device_flow = device_flow
        self._page = _page(api)
        self._sessions = sessions
        self._cookies = cookies
        self._identities = identities
        self._audited = audited
        self._sign_in = sign_in

    def routes(self) -> tuple[Route, ...]:
        begin = "Sign in at the page, by a cookie: with a key, a token, a user's password, or the code of a link."
        self._begun = Route(
            "POST", SESSION, self.begin_session, begin, SessionResponse, body=SessionRequest, needs=OPEN
        )
        return (
            Route("GET", SESSION, self.get_session, "Who asks, and by which session.", SessionResponse, needs=OPEN),
            self._begun,
            Route(
                "POST",
                PROVIDER,
                self.begin_provider_sign_in,
                "Begin a sign-in at the identity provider; its handle then begins a session.",
                ProviderSignInResponse,
                needs=OPEN,
            ),
            Route(
                "DELETE",
                SESSION,
                self.end_session,
                "Sign out: the session's cookie is good nowhere any more.",
                SessionEndedResponse,
                needs=ANY_KEY,
            ),
            Route(
                "POST",
                LINK,
                self.create_link,
                "A code with which the page signs in once, as whoever asks for it, within two minutes.",
                LinkResponse,
                needs=ANY_KEY,
            ),
        )

    async def get_session(self, request: web.Request) -> web.Response:
        return answer(self._told(request.get(principal_key), request.get(session_key)))

    async def begin_session(self, request: web.Request) -> web.Response:
        """What is shown is in no log, and in no answer."""
        wanted, _ = await body_of(request, SessionRequest, at_most=MAX_REQUEST_BYTES)
        try:
            if wanted.handle and not (token := await self._token(wanted.handle, request[use_key].origin)):
                return answer(replace(self._told(None, None), pending=True))
            if wanted.handle:
                wanted = SessionRequest(key=token)
            principal, known = await self._shown(wanted, request[use_key].origin)
        except Refused as error:
            self._audited.refused(request, self._begun, None, error)
            raise
        if known.by == "anonymous":
            return answer(self._told(None, None))
        session, text = self._sessions.begin(known, request.host)
        self._audited.began_session(request, principal)
        response = answer(self._told(principal, session))
        self._cookies.set(request, response, session, text)
        return response

    async def begin_provider_sign_in(self, request: web.Request) -> web.Response:
        if self._device_flow is None:
            raise PageSignInNotOffered
        begun = await self._device_flow.begin(request[use_key].origin)
        return answer(
            ProviderSignInResponse(
                handle=begun.handle,
                user_code=begun.user_code,
                url=begun.url,
                whole_url=begun.whole_url,
                interval_seconds=begun.interval,
                expires=datetime.fromtimestamp(begun.expires, UTC),
            )
        )

    async def _token(self, handle: str, origin: str) -> str:
        if self._device_flow is None:
            raise PageSignInNotOffered
        return await self._device_flow.token(handle, origin)

    async def end_session(self, request: web.Request) -> web.Response:
        session = request.get(session_key)
        if session is not None:
            await self._sessions.end(session)
        response = answer(SessionEndedResponse())
        self._cookies.clear(request, response)
        return response

    async def create_link(self, request: web.Request) -> web.Response:
        """One that is made by a session begins none that lasts longer."""
        session = request.get(session_key)
        if session is not None:
            known = KnownBy(session.known.by, session.known.value, session.expires)
        else:
            token = token_in(request.headers.get("Authorization")) if self._sign_in is not None else ""
            known = known_of(principal_of(request), token)
        code, expires = self._sessions.link(known)
        tell(request, detail="a link to the page")
        expires_at = datetime.fromtimestamp(expires, UTC)
        return answer(LinkResponse(link=code, expires=expires_at, page=self._page))

    async def _shown(self, wanted: SessionRequest, origin: str) -> tuple[Principal, KnownBy]:
        """Raises InvalidInput, and what a key, a token or a link raises that is not taken."""
        if wanted.link:
            known = await self._sessions.take_link(wanted.link)
            return await self._sessions.principal(known), known
        key = wanted.key.strip()
        if not key:
            raise InvalidInput("Nothing is shown to sign in with.", hint="Give Key, User and Key, or Link.")
        if wanted.user:
            shown = base64.b64encode(f"{wanted.user}:{key}".encode(errors="replace")).decode()
            header = f"Basic {shown}"
        else:
            header = f"Bearer {key}"
        if self._sign_in is not None and (token := token_in(header)):
            principal = await self._sign_in.principal(token)
            return principal, known_of(principal, token)
        principal = self._identities.of_header(header, origin)
        return principal, known_of(principal)

    def _told(self, principal: Principal | None, session: Session | None) -> SessionResponse:
        if principal is None or principal is ANONYMOUS:
            provider = self._device_flow.provider if self._device_flow is not None else ""
            return SessionResponse(
                anonymous=self._identities.anonymous, sign_in=ProviderView(name=provider) if provider else None
            )
        return SessionResponse(
            signed_in=True,
            anonymous=self._identities.anonymous,
            name=principal.told,
            capabilities=tuple(sorted(principal.capabilities)),
            namespaces=tuple(sorted(principal.namespaces)),
            csrf_token=self._sessions.csrf_token(session) if session is not None else "",
            expires=datetime.fromtimestamp(session.expires, UTC) if session is not None else None,
        )


def _page(api: ApiSettings) -> str:
    """As a browser of this machine finds it."""
    host = "localhost" if api.host in EVERYWHERE else api.host
    return f"{'https' if api_has_tls(api) else 'http'}://{f'[{host}]' if ':' in host else host}:{api.port}"
