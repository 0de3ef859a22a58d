"""Short questions to the orchestrator, by those who would rather have no answer than wait for one.

Without aiohttp, the import of which alone takes longer than such an answer.
"""

import http.client
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from shared.protocol.rest import BASE_PATH

T = TypeVar("T")

CONNECT_SECONDS = 0.25
MAX_BYTES = 4 << 20


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

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls

    def __repr__(self) -> str:
        return f"<QuickCalls to {', '.join(self._urls)}>"

    def get(self, path: str, **query: str) -> Any:
        """The answer, as plain data. Raises OSError, ValueError, LookupError or HTTPException where there is none."""
        failure: OSError | None = None
        wanted = {name: value for name, value in query.items() if value}
        for url in self._urls:
            try:
                return json.loads(fetched(f"{url}{BASE_PATH}{path}?{urlencode(wanted)}"))
            except OSError as error:
                failure = error
        raise failure or LookupError("no address")


def fetched(url: str) -> bytes:
    """What is there. Raises ValueError where it is too much, and LookupError for any answer but 200."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=CONNECT_SECONDS)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path)
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise LookupError(response.status)
        content = response.read(MAX_BYTES + 1)
    finally:
        connection.close()
    if len(content) > MAX_BYTES:
        raise ValueError("too much")
    return content
