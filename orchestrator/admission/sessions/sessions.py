"""Sessions: somebody who has shown who that is, is known by a sealed text until it expires; and links that begin one.

A session names the key, holds the token of the issuer, or is the operator's, so that it is good as long as these are.
What is not kept anywhere cannot be taken back; so the id of a session that was signed out of, and of a link that was
used, is stored until it would have expired.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal

import msgspec

from orchestrator.admission.identities import Identities
from orchestrator.admission.principals import ANONYMOUS, OPERATOR, Principal
from orchestrator.admission.sessions.problems import (
    CSRFTokenWrong,
    LinkExpired,
    LinkInvalid,
    LinkUsed,
    SessionEnded,
    SessionExpired,
    SessionInvalid,
    SessionOfOtherHost,
    TooManySessionsEnded,
)
from orchestrator.admission.sessions.sealing import Seal, derived
from orchestrator.admission.sign_in.sign_in import SignIn
from orchestrator.rules.records import SpentRecord
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from shared.errors import Unauthorized
from shared.settings.secret import Secret

SESSION_SECONDS = 12 * 3600.0
LINK_SECONDS = 120.0
MOST_SPENT = 20_000
"""So many that have ended before they expired are remembered."""
CLEARED_AT_ONCE = 4
"""As many that have expired are forgotten with each that is remembered."""


class KnownBy(msgspec.Struct, frozen=True, array_like=True):
    """By what somebody is known: a key, by its id; a token; the socket of the machine; or nothing where nobody is."""

    by: Literal["key", "token", "operator", "anonymous"]
    value: str = ""
    until: float = 0.0
    """After that it is not that any more; 0 is never."""

    def __repr__(self) -> str:
        return f"<KnownBy {self.by}>"


class Session(msgspec.Struct, frozen=True, array_like=True):
    """`host` is that with its port, as a browser names it. `made` and `expires` are seconds since 1970."""

    id: str
    known: KnownBy
    host: str
    made: float
    expires: float


class _Link(msgspec.Struct, frozen=True, array_like=True):
    id: str
    known: KnownBy
    expires: float


class Sessions:
    """`clock` gives seconds since 1970."""

    def __init__(
        self,
        key: Secret,
        model: Model,
        store: Store,
        identities: Identities,
        sign_in: SignIn | None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sessions, self._links = Seal(key, "tarpon session 1"), Seal(key, "tarpon link 1")
        self._csrf_key = derived(key, "tarpon csrf 1")
        self._model = model
        self._store = store
        self._identities = identities
        self._sign_in = sign_in
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Sessions, {len(self._model.spent)} spent>"

    # ---- sessions -----------------------------------------------------------------------------------------------

    def begin(self, known: KnownBy, host: str) -> tuple[Session, str]:
        """A session for this host, and the sealed text that is it."""
        now = self._clock()
        until = min(now + SESSION_SECONDS, known.until or now + SESSION_SECONDS)
        session = Session(secrets.token_hex(16), known, host.lower(), now, until)
        return session, self._sessions.close(msgspec.msgpack.encode(session))

    def read(self, text: str, host: str) -> Session:
        """Raises SessionInvalid, SessionOfOtherHost, SessionExpired, SessionEnded."""
        content = self._sessions.open(text)
        if content is None:
            raise SessionInvalid
        try:
            session = msgspec.msgpack.decode(content, type=Session)
        except msgspec.DecodeError:  # another version has sealed it
            raise SessionInvalid from None
        if session.host != host.lower():
            raise SessionOfOtherHost
        self.check(session)
        return session

    def check(self, session: Session) -> None:
        """Raises SessionExpired, SessionEnded."""
        if session.expires <= self._clock():
            raise SessionExpired
        if session.id in self._model.spent:
            raise SessionEnded

    async def principal(self, known: KnownBy) -> Principal:
        """Who that is now. Raises what a key or token that is shown raises."""
        match known.by:
            case "operator":
                return OPERATOR
            case "anonymous":
                return self._identities.of_header(None)
            case "key":
                return self._identities.of_key(known.value)
            case "token" if self._sign_in is not None:
                return await self._sign_in.principal(known.value)
            case _:
                raise SessionInvalid

    def csrf_token(self, session: Session) -> str:
        return hmac.new(self._csrf_key, session.id.encode(), hashlib.sha256).hexdigest()

    def check_csrf_token(self, session: Session, shown: str | None) -> None:
        """Raises CSRFTokenWrong."""
        if not shown or not hmac.compare_digest(shown.encode(), self.csrf_token(session).encode()):
            raise CSRFTokenWrong(is_missing=not shown)

    def held(self, session: Session) -> AbstractContextManager[asyncio.Event]:
        """What is set when somebody signs out of it."""
        return self._model.spent.held(session.id)

    async def end(self, session: Session) -> None:
        """Have it be good nowhere any more. Raises MessagingUnavailable, TooManySessionsEnded."""
        await self._spend(session.id, session.expires)  # else somebody else has ended it

    # ---- links --------------------------------------------------------------------------------------------------

    def link(self, known: KnownBy) -> tuple[str, float]:
        """A code that begins a session once, and when it expires."""
        expires = self._clock() + LINK_SECONDS
        return self._links.close(msgspec.msgpack.encode(_Link(secrets.token_hex(16), known, expires))), expires

    async def take_link(self, code: str) -> KnownBy:
        """Who made it. Raises LinkInvalid, LinkExpired, LinkUsed, TooManySessionsEnded, MessagingUnavailable."""
        content = self._links.open(code)
        if content is None:
            raise LinkInvalid
        try:
            link = msgspec.msgpack.decode(content, type=_Link)
        except msgspec.DecodeError:
            raise LinkInvalid from None
        if link.expires <= self._clock():
            raise LinkExpired
        if link.id in self._model.spent or not await self._spend(link.id, link.expires):
            raise LinkUsed
        return link.known

    async def _spend(self, id_: str, expires: float) -> bool:
        """Whether this was the first to do it."""
        now = int(self._clock() * 1e9)
        for each in self._model.spent.over(now, most=CLEARED_AT_ONCE):
            await changes.delete(self._store, SpentRecord(id=each, expires=0).key)
        if len(self._model.spent) >= MOST_SPENT:
            raise TooManySessionsEnded(MOST_SPENT)
        record = SpentRecord(id=id_, expires=int(expires * 1e9))
        return await changes.create(self._store, record)


def known_of(principal: Principal, token: str = "") -> KnownBy:
    """By what the principal was known; `token` is that of the issuer, where it was one."""
    until = principal.expires / 1e9
    if principal is OPERATOR:
        return KnownBy("operator")
    if principal is ANONYMOUS:
        return KnownBy("anonymous")
    if token:
        return KnownBy("token", token, until)
    if principal.key_id:
        return KnownBy("key", principal.key_id, until)
    raise Unauthorized("Request Unauthorized: nobody is known by what is shown.")
