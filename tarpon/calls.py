"""How one call to the HTTP API is made, repeated where that may help, and explained where it failed."""

import asyncio
import random
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import msgspec

from shared.errors import InvalidInput, OrchestratorUnreachable, RemoteError, Unavailable
from shared.rest import BASE_PATH, TARPON_CODE, ErrorBody

T = TypeVar("T")

ATTEMPTS = 4
FIRST_BACKOFF_SECONDS = 0.2
CONNECT_SECONDS = 5
_WORTH_ANOTHER_TRY = frozenset({500, 502, 503, 504})


class NotAnOrchestrator(Unavailable):
    """Something else listens there."""

    retryable = False

    def __init__(self, url: str, status: int) -> None:
        super().__init__(
            f"What answers at {url} is not a Tarpon orchestrator (HTTP status {status}).",
            hint="Check API.Host and API.Port; the orchestrator's log says where it listens.",
        )


class Calls:
    """The connections to one orchestrator. Every call is safe to repeat, so every call is."""

    def __init__(self, url: str, *, timeout: float) -> None:
        self.url = url
        self.reached = False
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<Calls to {self.url}, {'open' if self._session else 'closed'}>"

    async def __aenter__(self) -> Self:
        limits = aiohttp.ClientTimeout(total=self._timeout, sock_connect=CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(timeout=limits)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

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

        What may pass (a lost connection, a timeout, a 5xx) is tried ATTEMPTS times; a refused connection once.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._once(method, path, answer, query=query, body=body)
            except aiohttp.ClientConnectorError as error:
                raise OrchestratorUnreachable(self.url) from error
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as error:
                if attempt == ATTEMPTS:
                    raise OrchestratorUnreachable(self.url) from error
            except RemoteError as error:
                if attempt == ATTEMPTS or error.status not in _WORTH_ANOTHER_TRY:
                    raise
            await asyncio.sleep(backoff_seconds(attempt))
        raise AssertionError("the last attempt returns or raises")

    async def _once(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        query: Mapping[str, str] | None,
        body: msgspec.Struct | None,
    ) -> T:
        data = None if body is None else msgspec.json.encode(body)
        headers = {} if data is None else {"Content-Type": "application/json"}
        try:
            async with self.session.request(
                method, self.address(path), params=query, data=data, headers=headers
            ) as response:
                payload = await response.read()
                self.reached = True
                if response.status >= 400:
                    raise self.refusal(response.status, payload)
                return self._decoded(response.status, payload, answer)
        except aiohttp.InvalidURL as error:
            raise InvalidInput(f"{self.url!r} is not the address of an orchestrator.") from error

    def _decoded(self, status: int, payload: bytes, answer: type[T]) -> T:
        try:
            return msgspec.json.decode(payload, type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NotAnOrchestrator(self.url, status) from error

    def address(self, path: str) -> str:
        return f"{self.url}{BASE_PATH}{path}"

    def refusal(self, status: int, payload: bytes) -> RemoteError | NotAnOrchestrator:
        """The error that the body of a failed answer tells."""
        try:
            body: Any = msgspec.json.decode(payload, type=ErrorBody)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return NotAnOrchestrator(self.url, status)
        details = dict(body.details)
        code = details.pop(TARPON_CODE, body.code) or "UnknownError"
        return RemoteError(code, body.message, hint=body.hint, status=status, details=details)


def backoff_seconds(attempt: int, *, longest: float = 5.0) -> float:
    """How long to wait after the `attempt`th failure in a row."""
    spread = random.uniform(0.5, 1.0)  # noqa: S311  # spreads load, keeps no secret
    return float(spread * min(longest, FIRST_BACKOFF_SECONDS * 2**attempt))
