"""Short questions to the orchestrator, by those who would rather have no answer than wait for one.

Without aiohttp, the import of which alone takes longer than such an answer.
"""

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlencode, urlsplit

from shared.protocol.rest import BASE_PATH
from shared.runtime.local_socket import addressable, path_in
from tarpon.http.credentials import Credentials
from tarpon.http.trust import ClientTrust

T = TypeVar("T")

CONNECT_SECONDS = 0.9
MAX_BYTES = 4 << 20


_NONE: Mapping[str, str] = MappingProxyType({})


class _LocalConnection(http.client.HTTPConnection):
    """Over the Unix socket at this path."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=CONNECT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_SECONDS)
        with addressable(self._path) as name:
            self.sock.connect(name)


def _connection(parts: SplitResult, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=CONNECT_SECONDS, context=context)
    return http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)


def within(seconds: float, act: Callable[[], T]) -> T | None:
    """What `act` gives, unless it takes longer or comes to nothing. Its thread ends with the program at the latest."""
    found: list[T] = []

    def run() -> None:
        with suppress(OSError, ValueError, LookupError, TypeError, http.client.HTTPException):  # it is away, or another
            found.append(act())

    thread = threading.Thread(target=run, name="quick call", daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else None


class QuickCalls:
    """Asks the first of some orchestrators that answers."""

    def __init__(self, urls: Sequence[str], trust: ClientTrust, credentials: Credentials | None = None) -> None:
        self.trust = trust
        self._urls = tuple(urls)
        self._credentials = credentials

    def __repr__(self) -> str:
        return f"<QuickCalls to {', '.join(self._urls)}>"

    def get(self, path: str, **query: str) -> Any:
        """The answer, as plain data. Raises as `read`, and ValueError."""
        return json.loads(self.read(path, query))

    def read(self, path: str, query: Mapping[str, str]) -> bytes:
        """The answer. Raises OSError, ValueError, LookupError, HTTPException or TarponError where there is none."""
        failure: OSError | None = None
        context = self.trust.api_context(self._urls)
        wanted = urlencode({name: value for name, value in query.items() if value})
        target = f"{BASE_PATH}{path}?{wanted}" if wanted else f"{BASE_PATH}{path}"
        for url in self._urls:
            try:
                return self._asked(url, target, context)
            except OSError as error:
                failure = error
        raise failure or LookupError("no address")

    def _asked(self, url: str, target: str, context: ssl.SSLContext | None) -> bytes:
        """Raises LookupError also where what answers has not proven that it knows the key."""
        if self._credentials is None:
            return fetched(f"{url}{target}", context)
        known = not self.trust.insecure
        headers, signed = self._credentials.shown(url, method="GET", target=target, is_known=known)
        return fetched(
            f"{url}{target}",
            context,
            headers,
            lambda told: signed is None or self._credentials is None or self._credentials.is_proven(signed, told),
        )


def fetched(
    url: str,
    context: ssl.SSLContext | None = None,
    headers: Mapping[str, str] = _NONE,
    believes: Callable[[Mapping[str, str]], bool] = lambda _: True,
) -> bytes:
    """What is there. Raises ValueError where it is too much, and LookupError for any answer but 200."""
    path = path_in(url)
    parts = urlsplit(url if path is None else f"http://localhost{BASE_PATH}{url.partition(BASE_PATH)[2]}")
    connection = (
        _connection(parts, context) if path is None else _LocalConnection(Path(str(path).partition(BASE_PATH)[0]))
    )
    try:
        connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=dict(headers))
        response = connection.getresponse()
        if response.status != http.client.OK or not believes(dict(response.headers.items())):
            raise LookupError(response.status)
        content = response.read(MAX_BYTES + 1)
    finally:
        connection.close()
    if len(content) > MAX_BYTES:
        raise ValueError("too much")
    return content
