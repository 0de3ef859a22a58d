"""Routes for clients of the reference that want to prove who they are before they ask for anything.

Such a client refuses every command where no method is offered. So one is, the challenge of the reference, and every
answer to it that has the right form is taken: nobody is told apart by it, and it protects nothing. What proves who
somebody is has to replace it, and offer no method, so that such a client asks for an API key.
"""

import base64
from typing import Any

import msgspec
from aiohttp import web

from orchestrator.api.bodies import answer, body_of
from orchestrator.api.routes import Route
from shared.data.decoding import decode
from shared.data.plain_data import parse_object
from shared.protocol import rest_nodes
from shared.protocol.rest import BASE_PATH

AUTH = f"{BASE_PATH}/auth"
CLIENT_KEY = "ClientKey"
"""The name that the reference gives its challenge."""
PHRASE = b"Tarpon lets everybody in who reaches this address: what is signed here proves nothing."
OPEN_TOKEN = "everybody"  # noqa: S105  # it opens nothing that is not open
"""What such a client keeps and sends from now on. It is the same for all, and nobody looks at it."""
MAX_ANSWER_BYTES = 64 << 10
"""Of an answer to the challenge: a signature and a public key have some thousand."""

METHOD = rest_nodes.AuthMethod(type="challenge", params={"InputPhrase": base64.b64encode(PHRASE).decode()})


class AuthRoutes:
    def routes(self) -> tuple[Route, ...]:
        listed = "The ways to authenticate, for clients that insist on one: it lets everybody in."
        one, authenticated = f"{AUTH}/{CLIENT_KEY}", "Everybody is let in, with a token that nobody looks at."
        return (
            Route("GET", AUTH, self.get_auth_methods, listed, rest_nodes.AuthMethodsResponse),
            Route("GET", one, self.get_auth_method, "The challenge.", rest_nodes.AuthMethod),
            Route(
                "POST",
                one,
                self.authenticate,
                authenticated,
                rest_nodes.AuthenticationResponse,
                body=rest_nodes.AuthenticationRequest,
            ),
        )

    async def get_auth_methods(self, _: web.Request) -> web.Response:
        return answer(rest_nodes.AuthMethodsResponse(methods={CLIENT_KEY: METHOD}))

    async def get_auth_method(self, _: web.Request) -> web.Response:
        return answer(METHOD)

    async def authenticate(self, request: web.Request) -> web.Response:
        """Raises InvalidDocument for what is no answer to the challenge."""
        wanted, _ = await body_of(request, rest_nodes.AuthenticationRequest, at_most=MAX_ANSWER_BYTES)
        data: Any = parse_object(wanted.method_data, what="MethodData")
        decode(data, ChallengeAnswer, what="MethodData", unknown="report")
        return answer(
            rest_nodes.AuthenticationResponse(
                authentication=rest_nodes.Authentication(success=True, token=OPEN_TOKEN),
            )
        )


class ChallengeAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What a client makes of the phrase with a key of its own. It is not looked into."""

    phrase_signature: str
    public_key: str
