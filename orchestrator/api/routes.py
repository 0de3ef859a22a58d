"""Routes of the HTTP API: the one entry that both serves a path and documents it."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiohttp import web

from orchestrator.api.queries import NoQuery
from shared.protocol.rest import BASE_PATH

JOBS = f"{BASE_PATH}/orchestrator/jobs"
NODES = f"{BASE_PATH}/orchestrator/nodes"
AGENT = f"{BASE_PATH}/agent"

JSON = "application/json"
EVENT_STREAM = "text/event-stream"
PLAIN_TEXT = "text/plain"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """`answer` and `body` are types of the API, `query` is one of queries.py; `redirects` has no answer."""

    method: str
    path: str
    handler: Handler
    summary: str
    answer: Any = None
    query: Any = NoQuery
    body: Any = None
    media: str = JSON
    redirects: bool = False

    @property
    def operation(self) -> str:
        """A name of its own for each route."""
        name = self.handler.__name__
        return f"{name}_by_post" if self.method == "POST" else name
