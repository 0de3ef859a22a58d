"""Routes for clients of the reference that want to prove who they are before they ask for anything.

Where API.Auth.Anonymous lets everybody in, such a client would refuse every command if no method were offered. So one
is, the challenge of the reference, and every answer to it that has the right form is taken: nobody is told apart by it,
and it protects nothing. Where a key is asked for, no method is offered, and such a client asks for an API key.
"""

import base64
from typing import Any

import msgspec
from aiohttp import web

from orchestrator.admission.identities import OPEN_TOKEN
from orchestrator.api.bodies import answer, body_of
from orchestrator.api.routes import Route
from shared.data.decoding import decode
from shared.data.plain_data import parse_object
from shared.errors import NotFound
from shared.protocol import rest_nodes
from shared.protocol.capabilities import OPEN
from shared.protocol.rest import BASE_PATH

AUTH = f"{BASE_PATH}/auth"
CLIENT_KEY = "ClientKey"
"""The name that the reference gives its challenge."""
PHRASE = b"Tarpon lets everybody in who reaches this address: what is signed here proves nothing."
MAX_ANSWER_BYTES = 64 << 10
"""Of an answer to the challenge: a signature and a public key have some thousand."""

METHOD = rest_nodes.AuthMethod(type="challenge", params={"InputPhrase": base64.b64encode(PHRASE).decode()})


class AuthRoutes:
    """`anonymous` is whether everybody is let in."""

    def __init__(self, *, anonymous: bool) -> None:
        self._methods = {CLIENT_KEY: METHOD} if anonymous else {}

    def routes(self) -> tuple[Route, ...]:
        listed = "The ways to authenticate, for clients that insist on one: none where a key is asked for."
        one, authenticated = f"{AUTH}/{CLIENT_KEY}", "A token that opens what is open to everybody."
        return (
            Route("GET", AUTH, self.get_auth_methods, listed, rest_nodes.AuthMethodsResponse, needs=OPEN),
            Route("GET", one, self.get_auth_method, "The challenge.", rest_nodes.AuthMethod, needs=OPEN),
            Route(
                "POST",
                one,
                self.authenticate,
                authenticated,
                rest_nodes.AuthenticationResponse,
                body=rest_nodes.AuthenticationRequest,
                needs=OPEN,
            ),
        )

    async def get_auth_methods(self, _: web.Request) -> web.Response:
        return answer(rest_nodes.AuthMethodsResponse(methods=self._methods))

    async def get_auth_method(self, _: web.Request) -> web.Response:
        self._check_offered()
        return answer(METHOD)

    async def authenticate(self, request: web.Request) -> web.Response:
        """Raises InvalidDocument for what is no answer to the challenge."""
        self._check_offered()
        wanted, _ = await body_of(request, rest_nodes.AuthenticationRequest, at_most=MAX_ANSWER_BYTES)
        data: Any = parse_object(wanted.method_data, what="MethodData")
        decode(data, ChallengeAnswer, what="MethodData", unknown="report")
        return answer(
            rest_nodes.AuthenticationResponse(
                authentication=rest_nodes.Authentication(success=True, token=OPEN_TOKEN),
            )
        )

    def _check_offered(self) -> None:
        if not self._methods:
            raise NotFound("There is no such method here: a key is asked for.", hint="Set BACALHAU_API_KEY to one.")


class ChallengeAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What a client makes of the phrase with a key of its own. It is not looked into."""

    phrase_signature: str
    public_key: str
