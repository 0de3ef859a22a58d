"""The quick client: what is read and shown at once, asked by who knows the usual answer alone.

It is `tarpon.Client` for those who can do without an event loop and aiohttp, which take longer to load than most
answers to come. Whatever else comes than an answer is left to the real one: errors, patience, signing in.
"""

from http.client import HTTPException
from typing import Any, TypeVar

import msgspec

from shared.errors import TarponError
from shared.jobs.spec import JobView
from shared.protocol.rest import Page
from tarpon.http.paths import JOBS, jobs_query
from tarpon.http.quick_calls import QuickCalls

T = TypeVar("T")


class NoQuickAnswer(Exception):
    """Ask `tarpon.Client` the same, which will have an answer or know why there is none."""


class QuickClient:
    """Its methods never wait for a loop. All block, and raise NoQuickAnswer."""

    def __init__(self, calls: QuickCalls) -> None:
        self._calls = calls

    def __repr__(self) -> str:
        return f"<QuickClient with {self._calls!r}>"

    async def list(self, **asked: Any) -> Page[JobView]:
        return self._read(JOBS, Page[JobView], jobs_query(**asked))

    def _read(self, path: str, answer: type[T], query: dict[str, str]) -> T:
        try:
            return msgspec.json.decode(self._calls.read(path, query), type=answer)
        except (OSError, ValueError, LookupError, HTTPException, TarponError, msgspec.DecodeError) as error:
            raise NoQuickAnswer from error
