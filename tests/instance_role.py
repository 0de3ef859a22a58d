"""A stand-in for the metadata service of a cloud machine (IMDSv2) that hands out keys which expire soon (no tests).

SeaweedFS knows static keys only and refuses session tokens, so the token is empty: the keys stay the same and only
their `Expiration` moves with each request, as a role's does.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from aiohttp import web

from tests.servers import HOST, Keys, aws_environment

ROLE = "tarpon-test-role"
PATH = "/latest/meta-data/iam/security-credentials/"


class InstanceRole:
    """What the service hands out, and what it was asked."""

    def __init__(self, keys: Keys, life_seconds: float) -> None:
        self.keys = keys
        self.life_seconds = life_seconds
        self.is_away = False
        self.endpoint = ""
        self.handed_out_at: list[float] = []
        """Monotonic times at which keys were handed out."""
        self.expirations: list[datetime] = []
        self._handed_out = asyncio.Condition()
        self._token = secrets.token_urlsafe()

    def environment(self) -> dict[str, str]:
        """Variables with which the default chain finds this role and nothing else."""
        return aws_environment() | {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.endpoint,
        }

    async def handed_out(self, count: int) -> None:
        """Wait until keys have been handed out `count` times."""
        async with self._handed_out:
            await self._handed_out.wait_for(lambda: len(self.expirations) >= count)

    async def give_token(self, request: web.Request) -> web.Response:
        if "x-aws-ec2-metadata-token-ttl-seconds" not in request.headers:
            raise web.HTTPBadRequest
        return web.Response(text=self._token)

    async def name_role(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.Response(text=ROLE)

    async def give_keys(self, request: web.Request) -> web.Response:
        self._check(request)
        now = datetime.now(UTC)
        # The real service has whole seconds too.
        expiration = (now + timedelta(seconds=self.life_seconds)).replace(microsecond=0)
        self.handed_out_at.append(time.monotonic())
        async with self._handed_out:
            self.expirations.append(expiration)
            self._handed_out.notify_all()
        return web.json_response(
            {
                "Code": "Success",
                "LastUpdated": f"{now:%Y-%m-%dT%H:%M:%SZ}",
                "Type": "AWS-HMAC",
                "AccessKeyId": self.keys.access,
                "SecretAccessKey": self.keys.secret,
                "Token": "",
                "Expiration": f"{expiration:%Y-%m-%dT%H:%M:%SZ}",
            }
        )

    def _check(self, request: web.Request) -> None:
        if self.is_away:
            raise web.HTTPServiceUnavailable
        if request.headers.get("x-aws-ec2-metadata-token") != self._token:
            raise web.HTTPUnauthorized


@asynccontextmanager
async def instance_role(keys: Keys, *, life_seconds: float) -> AsyncIterator[InstanceRole]:
    """A running metadata service on a loopback port."""
    role = InstanceRole(keys, life_seconds)
    app = web.Application()
    app.router.add_put("/latest/api/token", role.give_token)
    app.router.add_get(PATH, role.name_role)
    app.router.add_get(PATH + ROLE, role.give_keys)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        role.endpoint = f"http://{HOST}:{runner.addresses[0][1]}/"
        yield role
    finally:
        await runner.cleanup()
