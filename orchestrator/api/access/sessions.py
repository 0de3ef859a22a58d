"""Sessions: who looks at the page in a browser."""

import msgspec
from aiohttp import web

from orchestrator.admission.identities import Identities
from orchestrator.api.bodies import answer
from orchestrator.api.routes import Route
from shared.protocol.capabilities import OPEN
from shared.protocol.rest import BASE_PATH

SESSION = f"{BASE_PATH}/auth/session"


class SessionView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    signed_in: bool = False
    anonymous: bool = False


class SessionRoutes:
    def __init__(self, identities: Identities) -> None:
        self._identities = identities

    def routes(self) -> tuple[Route, ...]:
        return (Route("GET", SESSION, self.get_session, "Who looks at the page.", SessionView, needs=OPEN),)

    async def get_session(self, _: web.Request) -> web.Response:
        return answer(SessionView(anonymous=self._identities.anonymous))
