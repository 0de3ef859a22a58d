"""A receiver of webhooks that answers as a test says, and checks what comes as the specification has it (no tests)."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.servers import HOST, free_ports


class WebhookReceiver:
    """`answers` gives the status for each event, by how many came before; 0 does not answer."""

    def __init__(self, secret: str, *, answers: Callable[[int], int] = lambda _: 204) -> None:
        self.answers = answers
        self.seen: list[tuple[str, Any]] = []
        """The ids and bodies of all that came, also of what was refused."""
        (self.port,) = free_ports(1)
        self.url = f"http://{HOST}:{self.port}/hooks/token-of-the-path"
        self._key = base64.b64decode(secret.removeprefix("whsec_"))

    @property
    def ids(self) -> list[str]:
        return [event for event, _ in self.seen]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["WebhookReceiver"]:
        application = web.Application()
        application.router.add_post("/{path:.*}", self._take)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, HOST, self.port).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        event, at = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        signed = hmac.new(self._key, f"{event}.{at}.".encode() + body, hashlib.sha256).digest()
        assert request.headers["webhook-signature"] == f"v1,{base64.b64encode(signed).decode()}"
        status = self.answers(len(self.seen))
        self.seen.append((event, json.loads(body)))
        if not status:
            await asyncio.Event().wait()
        return web.Response(status=status)
