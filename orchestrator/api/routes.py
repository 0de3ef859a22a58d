"""Routes of the HTTP API: the one entry that both serves a path and documents it."""

import socket
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiohttp import web

from orchestrator.admission.principals import Principal
from orchestrator.api.queries import NoQuery
from shared.protocol.capabilities import EVERYTHING
from shared.protocol.rest import BASE_PATH

JOBS = f"{BASE_PATH}/orchestrator/jobs"
EXECUTIONS = f"{BASE_PATH}/orchestrator/executions"
SUBMISSIONS = f"{BASE_PATH}/orchestrator/submissions"
NODES = f"{BASE_PATH}/orchestrator/nodes"
USERS = f"{BASE_PATH}/orchestrator/users"
TOKENS = f"{BASE_PATH}/orchestrator/tokens"
NAMESPACES = f"{BASE_PATH}/orchestrator/namespaces"
SECRETS = f"{BASE_PATH}/orchestrator/secrets"
DATA = f"{BASE_PATH}/orchestrator/data"
AGENT = f"{BASE_PATH}/agent"

JSON = "application/json"
EVENT_STREAM = "text/event-stream"
PLAIN_TEXT = "text/plain"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


principal_key = web.RequestKey("principal", Principal)


def principal_of(request: web.Request) -> Principal:
    """Who asks, as orchestrator/api/access/identity.py has found out. What another may not see is not there."""
    return request[principal_key]


def local_connection(request: web.Request) -> socket.socket | None:
    """The connection, where it came by the Unix socket."""
    transport = request.transport
    found = transport.get_extra_info("socket") if transport is not None else None
    return found if found is not None and found.family == socket.AF_UNIX else None


class Route(NamedTuple):
    """`answer` and `body` are types of the API, `query` is one of queries.py; `redirects` has no answer.

    `needs` is a capability that whoever asks has to have, and the largest where a route says nothing. What is about
    things of all namespaces at once is `everywhere`: who is limited to some may not ask for it. One that `streams`
    answers for long, and ends when the key of its reader does. What is asked for by another method than GET is audited
    as a change, unless it only `reads`.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answer: Any = None
    query: Any = NoQuery
    body: Any = None
    media: str = JSON
    redirects: bool = False
    needs: str = EVERYTHING
    everywhere: bool = False
    streams: bool = False
    reads: bool = False

    @property
    def is_change(self) -> bool:
        return self.method != "GET" and not self.reads

    @property
    def audited_as(self) -> str:
        """What is done, however it is asked for."""
        return self.handler.__name__

    @property
    def operation(self) -> str:
        """A name of its own for each route."""
        name = self.handler.__name__
        return f"{name}_by_post" if self.method == "POST" else name
