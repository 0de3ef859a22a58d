"""Calls to the HTTP API: each is repeated where that may help, and explained where it failed."""

import asyncio
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
from yarl import URL

from shared.errors import InvalidInput, OrchestratorUnreachable, RemoteError, Unavailable
from shared.protocol.request_signature import Signed
from shared.protocol.rest import BASE_PATH, TARPON_CODE, ErrorBody
from shared.protocol.rest_nodes import AliveResponse
from shared.runtime.backoff import Backoff
from shared.runtime.local_socket import SCHEME as LOCAL
from shared.runtime.local_socket import addressable, path_in
from shared.runtime.network_problems import (
    NO_TLS,
    NOT_TRUSTED,
    OF_OWN_CERTIFICATE,
    OTHER_NAME,
    OUT_OF_DATE,
    REFUSED_CERTIFICATE,
    SPEAKS_TLS,
    why_unreachable,
)
from shared.runtime.tls.probe import refused_certificate, speaks_tls
from tarpon.http.credentials import Credentials, KeyNotKnownThere, plain_text_in
from tarpon.http.held_back import HeldBackWaits
from tarpon.http.sessions import new_session
from tarpon.http.sign_in.signed_in import SignedIn, signed_in
from tarpon.http.trust import ClientCertificateRefused, ClientTrust, OneSideEncrypts, OrchestratorNotTrusted

T = TypeVar("T")

ATTEMPTS = 4
FIRST_BACKOFF_SECONDS = 0.4
CONNECT_SECONDS = 5
HTTP_PORT, HTTPS_PORT = 80, 443
_WORTH_ANOTHER_TRY = frozenset({500, 502, 503, 504})
_OF_PROXIES = frozenset({502, 503, 504})
"""By which a proxy says that what it stands before is away."""
_OPEN = frozenset({"/agent/alive", "/agent/version", "/agent/authconfig"})
"""What is told to anybody, also to who has to sign in again."""
_BROKEN = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)


class _Refused(Exception):
    """No connection came about with any of the orchestrators."""


class NotAnOrchestrator(Unavailable):
    """Something else listens there, or a proxy whose orchestrator is away (`is_of_proxy`)."""

    retryable = False

    def __init__(self, url: str, status: int) -> None:
        self.is_of_proxy = status in _OF_PROXIES
        self.status = status
        super().__init__(
            f"What answers at {url} is not a Tarpon orchestrator (HTTP status {status}).",
            hint="Check API.Host and API.Port; the orchestrator's log says where it listens.",
        )


class Absence(NamedTuple):
    """For how long nobody has answered at `told`, and `why`, as shared/runtime/network_problems.py has it."""

    seconds: float
    why: str
    told: str


class Calls:
    """The connections to an orchestrator, or to several with the same jobs. Every call is safe to repeat, so it is.

    `sign_ins` is the DataDir in which sign-ins are kept; one of them counts where there are no credentials.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        timeout: float,
        credentials: Credentials | SignedIn | None = None,
        trust: ClientTrust | None = None,
        sign_ins: Path | None = None,
    ) -> None:
        self.url = urls[0]
        self._sign_ins = sign_ins
        self._credentials = credentials
        self._opened = ExitStack()
        self.reached = False
        self._urls = tuple(urls)
        self._silent: set[str] = set()
        self._proven: set[str] = set()
        self._missed_at: float | None = None
        self._missed_why = ""
        self._timeout = timeout
        self._trust = trust or ClientTrust()
        self._context: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<Calls to {self.told}, {'open' if self._session else 'closed'}>"

    @property
    def told(self) -> str:
        """All addresses, for people."""
        return ", ".join(self._urls)

    def answered(self) -> None:
        """The one that is asked at present."""
        self.reached = True
        self._silent.clear()
        self._missed_at = None

    def missed(self, why: str) -> None:
        """None of them has given an answer, and `why`, as shared/runtime/network_problems.py has it."""
        self._missed_at = self._missed_at or time.monotonic()
        self._missed_why = why

    def absence(self) -> Absence | None:
        """How it is that they do not answer, where one did before and has not since."""
        if self._missed_at is None or not self.reached:
            return None
        return Absence(time.monotonic() - self._missed_at, self._missed_why, self.told)

    def turn(self, url: str) -> bool:
        """From the one at `url`, which did not answer, to the next; whether that is worth a try.

        It is if one has ever answered, or not all have been tried. Somebody else may have turned already.
        """
        self._silent.add(url)
        if url == self.url:
            self.url = self._in_turn()[1 % len(self._urls)]
        return self.reached or len(self._silent) < len(self._urls)

    def _in_turn(self) -> tuple[str, ...]:
        at = self._urls.index(self.url)
        return self._urls[at:] + self._urls[:at]

    async def __aenter__(self) -> Self:
        limits = aiohttp.ClientTimeout(total=self._timeout, sock_connect=CONNECT_SECONDS)
        local = self._local_connector()
        await self._sign_in()
        self._context = None if local else await asyncio.to_thread(self._trust.api_context, self._urls)
        self._session = new_session(self._context, timeout=limits, connector=local)
        return self

    async def _sign_in(self) -> None:
        if self._credentials is None and self._sign_ins is not None and path_in(self.url) is None:
            find = partial(signed_in, self._sign_ins, self._urls, self._trust, plain_text=plain_text_in(os.environ))
            self._credentials = await asyncio.to_thread(find)

    async def fresh(self) -> None:
        """Have what is shown be valid, before `asking`. Raises SignInOver, SignInFailed, IssuerUnreachable."""
        if isinstance(self._credentials, SignedIn):
            await self._credentials.fresh()

    def _local_connector(self) -> aiohttp.BaseConnector | None:
        """None where the address is not that of a local socket, of which there is one alone."""
        path = path_in(self.url)
        if path is None:
            return None
        try:
            return aiohttp.UnixConnector(path=self._opened.enter_context(addressable(path)))
        except OSError as error:
            raise OrchestratorUnreachable(self.told, why_unreachable(error)) from error

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        self._opened.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("The client is used outside of its `async with` block.")
        return self._session

    async def call(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        query: Mapping[str, str] | None = None,
        body: msgspec.Struct | None = None,
    ) -> T:
        """The decoded answer. Raise RemoteError with the server's own words, or OrchestratorUnreachable.

        What may pass (a lost connection, a timeout, a 5xx) is tried ATTEMPTS times; refused connections once. Where it
        was too much it is asked again after a while.
        """
        waits = HeldBackWaits()
        while True:
            try:
                return await self._tried(method, path, answer, query=query, body=body)
            except RemoteError as error:
                if not await waits.after(error):
                    raise

    async def _tried(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        query: Mapping[str, str] | None,
        body: msgspec.Struct | None,
    ) -> T:
        pauses = new_pauses()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._of_any(method, path, answer, query=query, body=body)
            except _Refused as error:
                self.missed(why := why_unreachable(error.args[0]))
                raise _unreachable(self.told, why) from error
            except _BROKEN as error:
                self.missed(why := why_unreachable(error))
                if not self.reached and (encrypting := await self._encrypting()):
                    raise OneSideEncrypts(encrypting, SPEAKS_TLS) from error
                if (not self.reached or attempt == ATTEMPTS) and (refused := await self._refused_certificate()):
                    raise ClientCertificateRefused(self.told, refused) from error
                if attempt == ATTEMPTS:
                    raise _unreachable(self.told, why) from error
            except RemoteError as error:
                if attempt == ATTEMPTS or error.status not in _WORTH_ANOTHER_TRY:
                    raise
            except NotAnOrchestrator as error:
                if attempt == ATTEMPTS or not error.is_of_proxy:
                    raise
            await pauses.pause()
        raise AssertionError("the last attempt returns or raises")

    async def _of_any(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        query: Mapping[str, str] | None,
        body: msgspec.Struct | None,
    ) -> T:
        """Asks each orchestrator once, until one has an answer; raises what the last one came to.

        Where others broke off, the refusal of one does not say that nobody is there.
        """
        failure: Exception | None = None
        for url in self._in_turn():
            try:
                found = await self._once(url, method, path, answer, query=query, body=body)
            except aiohttp.ClientConnectorError as error:
                failure = failure or _Refused(error)
            except (*_BROKEN, NotAnOrchestrator) as error:
                failure = error
            except RemoteError as error:
                if error.status not in _WORTH_ANOTHER_TRY:
                    raise
                failure = error
            else:
                self.url = url
                self.answered()
                return found
        assert failure is not None, "there is an address"
        raise failure

    async def _once(
        self,
        url: str,
        method: str,
        path: str,
        answer: type[T],
        *,
        query: Mapping[str, str] | None,
        body: msgspec.Struct | None,
    ) -> T:
        data = None if body is None else msgspec.json.encode(body)
        headers = {} if data is None else {"Content-Type": "application/json"}
        if path not in _OPEN:
            await self.fresh()
        try:
            asked = self.asking(url, method, path, query=query, body=data or b"")
            if data is not None and asked.signed is not None and url not in self._proven:
                await self._prove(url)
            async with self.session.request(method, asked.url, data=data, headers=headers | asked.headers) as response:
                asked.check(response.headers, response.status)
                self._proven.add(url)
                payload = await response.read()
                if response.status >= 400:
                    refused = refusal(url, response.status, payload)
                    self.reached |= isinstance(refused, RemoteError)
                    raise refused
                return _decoded(url, response.status, payload, answer)
        except aiohttp.InvalidURL as error:
            raise InvalidInput(f"{url!r} is not the address of an orchestrator.") from error

    async def _prove(self, url: str) -> None:
        """Have what listens prove that it knows the key, before it is told what is in a body, such as a secret."""
        await self._once(url, "GET", "/agent/alive", AliveResponse, query=None, body=None)

    async def _encrypting(self) -> str:
        """Of the addresses with http:// one where what listens speaks TLS, and hangs up on who does not."""
        for url in self._urls:
            parts = urlsplit(url)
            if parts.scheme == "http" and parts.hostname and await speaks_tls(parts.hostname, parts.port or HTTP_PORT):
                return url
        return ""

    async def _refused_certificate(self) -> str:
        """What one of the addresses with https:// has against the certificate that it is shown, or is not."""
        for url in self._urls:
            parts = urlsplit(url)
            if parts.scheme == "https" and parts.hostname and self._context is not None:
                port = parts.port or HTTPS_PORT
                shows = self._trust.shows
                if refused := await refused_certificate(parts.hostname, port, self._context, shows=shows):
                    return refused
        return ""

    def asking(
        self, url: str, method: str, path: str, *, query: Mapping[str, str] | None = None, body: bytes = b""
    ) -> "Asking":
        """One request to the orchestrator at `url`. Raises KeyNotSent, TokenNotSent, InvalidInput."""
        try:
            whole = URL(_address(url, path))
        except ValueError as error:
            raise InvalidInput(f"{url!r} is not the address of an orchestrator.") from error
        if query:
            whole = whole.update_query(query)
        if self._credentials is None:
            return Asking(url, whole, {})
        if isinstance(self._credentials, SignedIn):
            return Asking(url, whole, self._credentials.shown(url, is_known=not self._trust.insecure))
        headers, signed = self._credentials.shown(
            url, method=method, target=whole.raw_path_qs, body=body, is_known=not self._trust.insecure
        )
        return Asking(url, whole, headers, self._credentials, signed)


class Asking(NamedTuple):
    """A request: where it goes, and how it shows who asks."""

    base: str
    url: URL
    headers: dict[str, str]
    credentials: Credentials | None = None
    signed: Signed | None = None

    def check(self, headers: Mapping[str, str], status: int) -> None:
        """Raise KeyNotKnownThere for an answer of who does not know the key; of a proxy's own, NotAnOrchestrator."""
        if self.credentials is None or self.signed is None or self.credentials.is_proven(self.signed, headers):
            return
        if status in _OF_PROXIES:
            raise NotAnOrchestrator(self.base, status)
        raise KeyNotKnownThere(self.base)


def _unreachable(told: str, why: str) -> OrchestratorUnreachable:
    if why == NO_TLS:
        return OneSideEncrypts(told, why)
    if why in OF_OWN_CERTIFICATE:
        return ClientCertificateRefused(told, why)
    if why in {OTHER_NAME, NOT_TRUSTED, OUT_OF_DATE} or why.startswith(REFUSED_CERTIFICATE):
        return OrchestratorNotTrusted(told, why)
    return OrchestratorUnreachable(told, why)


def _address(url: str, path: str) -> str:
    base = "http://localhost" if url.startswith(LOCAL) else url
    return f"{base}{BASE_PATH}{path}"


def _decoded(url: str, status: int, payload: bytes, answer: type[T]) -> T:
    try:
        return msgspec.json.decode(payload, type=answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotAnOrchestrator(url, status) from error


def refusal(url: str, status: int, payload: bytes) -> RemoteError | NotAnOrchestrator:
    """The error that the body of a failed answer tells."""
    try:
        body: Any = msgspec.json.decode(payload, type=ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return NotAnOrchestrator(url, status)
    details = dict(body.details)
    code = details.pop(TARPON_CODE, body.code) or "UnknownError"
    return RemoteError(code, body.message, hint=body.hint, status=status, details=details)


def new_pauses(*, longest_seconds: float = 5.0) -> Backoff:
    """Those of a client between the tries of what fails several times in a row."""
    return Backoff(FIRST_BACKOFF_SECONDS, longest_seconds, spread=0.5)
