"""The auth callout: what nats-server asks about a connection, and the form of the answers.

The format is that of ADR-26 of NATS (auth callout): a request is signed by the server, an answer by the issuer whose
public key is in the server's configuration, and a user inside of an answer by the same issuer.
"""

from typing import Any

import msgspec
import nkeys

from orchestrator.admission import nats_jwt

ANSWER_SECONDS = 120
"""How long a user may answer a message that it received; nats-server forgets the reply subject after 2 min itself."""

_UNLIMITED = -1


class Server(msgspec.Struct):
    id: str


class ConnectingClient(msgspec.Struct):
    """What the server knows about the connection."""

    host: str = ""
    kind: str = ""
    nonce: str = ""


class ConnectOptions(msgspec.Struct):
    """What the client claims. `sig` is its signature of the nonce in base64url, `auth_token` a secret."""

    name: str = ""
    nkey: str = ""
    sig: str = ""
    auth_token: str = ""
    user: str = ""
    password: str = msgspec.field(name="pass", default="")

    def __repr__(self) -> str:
        return f"<ConnectOptions {self.name[:64]!r}>"


class AuthRequest(msgspec.Struct):
    """The part of a request that matters here; what else a server tells is ignored."""

    type: str
    server_id: Server
    user_nkey: str
    client_info: ConnectingClient
    connect_opts: ConnectOptions


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Who a connection is from now on, and what it may do. Answers to what it receives it may always publish."""

    name: str
    account: str
    may_publish: tuple[str, ...]
    may_subscribe: tuple[str, ...]
    lives_seconds: int = 0
    """After how long the server ends the connection; 0 is never."""


class _Claims(msgspec.Struct):
    iss: str
    aud: str
    sub: str
    nats: AuthRequest


def parse_request(token: bytes, *, issuer: str) -> AuthRequest:
    """The request that a server has signed for the callout whose answers `issuer` signs. Raises BadSignature.

    Its `exp` is not looked at: the server drops late answers itself, and a wrong clock would keep every node out.
    """
    try:
        claims = msgspec.json.decode(nats_jwt.decode(token, issuer_kind=nats_jwt.SERVER), type=_Claims)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise nats_jwt.BadSignature("A request does not have the form of a callout's.") from None
    request = claims.nats
    if (claims.aud, claims.sub, request.type) != ("nats-authorization-request", issuer, "authorization_request"):
        raise nats_jwt.BadSignature("A request is not meant for this callout.")
    if request.server_id.id != claims.iss:
        raise nats_jwt.BadSignature("A request is signed by another server than it names.")
    return request


def claimed(token: bytes) -> AuthRequest | None:
    """What a request says, before it is known whether a server has said so: enough to let it wait, or drop it."""
    try:
        payload = nats_jwt.from_base64(token.split(b".", 2)[1])
        return msgspec.json.decode(payload, type=_Claims).nats
    except (IndexError, ValueError, nats_jwt.BadSignature, msgspec.DecodeError, RecursionError):
        return None


def admission(request: AuthRequest, user: User, signer: nkeys.KeyPair, *, now: int) -> bytes:
    """The answer that lets the connection in. `now` is in seconds since 1970.

    A user that is to stay never expires: clients of NATS give up for good when theirs does (nats.py issue 1019).
    """
    claims: dict[str, Any] = {
        "iat": now,
        "sub": request.user_nkey,
        "aud": user.account,
        "name": user.name,
        "nats": {
            "type": "user",
            "version": 2,
            "pub": {"allow": user.may_publish},
            "sub": {"allow": user.may_subscribe},
            "resp": {"max": 1, "ttl": ANSWER_SECONDS * 10**9},
            "subs": _UNLIMITED,
            "data": _UNLIMITED,
            "payload": _UNLIMITED,
        },
    }
    if user.lives_seconds:
        claims["exp"] = now + user.lives_seconds
    return _response(request, {"jwt": nats_jwt.encode(claims, signer).decode()}, signer, now)


def refusal(request: AuthRequest, reason: str, signer: nkeys.KeyPair, *, now: int) -> bytes:
    """The answer that keeps the connection out. The server logs the reason and tells the client nothing."""
    return _response(request, {"error": reason}, signer, now)


def _response(request: AuthRequest, verdict: dict[str, str], signer: nkeys.KeyPair, now: int) -> bytes:
    claims = {
        "iat": now,
        "sub": request.user_nkey,
        "aud": request.server_id.id,
        "nats": {"type": "authorization_response", "version": 2, **verdict},
    }
    return nats_jwt.encode(claims, signer)
