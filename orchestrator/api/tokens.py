"""The join tokens of the HTTP API."""

from aiohttp import web

from orchestrator.api.access.auditing import tell
from orchestrator.api.bodies import answer, body_of
from orchestrator.api.routes import TOKENS, Route
from orchestrator.assembly import Assembly
from orchestrator.nodes.join_tokens import JoinTokens, view
from orchestrator.rules.records import TokenRecord
from orchestrator.storage.wall_clock import now_ns
from shared.protocol import rest_tokens
from shared.protocol.capabilities import READ_NODE, WRITE_NODE
from shared.protocol.pasted import JoinToken


class TokenRoutes:
    def __init__(self, assembly: Assembly, tokens: JoinTokens) -> None:
        self._store = assembly.store
        self._tokens = tokens

    def routes(self) -> tuple[Route, ...]:
        make = "Make a join token, whose text is in this answer alone."
        return (
            Route(
                "GET",
                TOKENS,
                self.list_tokens,
                "The join tokens.",
                rest_tokens.ListTokensResponse,
                needs=READ_NODE,
                everywhere=True,
            ),
            Route(
                "PUT",
                TOKENS,
                self.create_token,
                make,
                rest_tokens.TokenCreated,
                body=rest_tokens.CreateTokenRequest,
                needs=WRITE_NODE,
                everywhere=True,
            ),
            Route(
                "DELETE",
                f"{TOKENS}/{{token}}",
                self.revoke_token,
                "Let no more nodes in with this join token. Those that are in stay.",
                rest_tokens.TokenResponse,
                needs=WRITE_NODE,
                everywhere=True,
            ),
        )

    async def list_tokens(self, _: web.Request) -> web.Response:
        self._store.check_ready()
        return answer(rest_tokens.ListTokensResponse(tokens=self._tokens.views()))

    async def create_token(self, request: web.Request) -> web.Response:
        self._store.check_ready()
        wanted, _ = await body_of(request, rest_tokens.CreateTokenRequest, optional=True)
        token, text = await self._tokens.create(wanted)
        tell(request, token.id)
        return created(token, text)

    async def revoke_token(self, request: web.Request) -> web.Response:
        self._store.check_ready()
        token = await self._tokens.revoke(request.match_info["token"])
        return answer(rest_tokens.TokenResponse(token=view(token, (), now_ns())))


def created(token: TokenRecord, text: JoinToken, warning: str = "") -> web.Response:
    """The one answer that has the token's secret in it."""
    response = answer(rest_tokens.TokenCreated(token=view(token, (), now_ns()), text=text.text(), warning=warning))
    response.headers["Cache-Control"] = "no-store"
    return response
