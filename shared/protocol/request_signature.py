"""Signatures of requests: how a key is shown over plain HTTP without being sent.

Whoever happens to listen on a port of one's own machine gets no key, and nothing that could be shown elsewhere: the
client signs each request with an Ed25519 key that follows from its secret, of which the orchestrator keeps the public
half. So nobody can sign who has read what is stored. A signature is of one method, path, query and body, holds for a
few minutes, and is taken once by an orchestrator. The answer carries a proof that its sender knows the digest of the
secret, so that a stranger's is not believed.

    Authorization: Tarpon <key id>.<seconds since 1970>.<nonce>.<Ed25519 signature, base64url>
    X-Tarpon-Proof: <HMAC-SHA-256>
"""

import base64
import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, NamedTuple

from shared.ids import is_safe_id

if TYPE_CHECKING:
    from nacl.signing import SigningKey

SCHEME = "Tarpon"
PROOF = "X-Tarpon-Proof"
VALID_SECONDS = 300
_NONCE_BYTES = 16
_MAX_LENGTH = 300
_CODE = re.compile(r"[A-Za-z0-9_-]{85}[AQgw]\Z")
"""Of 64 bytes; the last character has four bits that mean nothing, and one signature is to have one text alone."""


class Signed(NamedTuple):
    """What stands in the header."""

    key_id: str
    at: int
    nonce: str
    code: str

    @property
    def header(self) -> str:
        return f"{SCHEME} {self.key_id}.{self.at}.{self.nonce}.{self.code}"


class Signer:
    """Signs requests with the key that follows from a secret."""

    __slots__ = ("_key",)

    def __init__(self, secret: bytes) -> None:
        self._key = _signing_key(secret)

    def sign(self, key_id: str, *, method: str, target: str, body: bytes, now: float) -> Signed:
        """`target` is path and query as they are sent."""
        bare = Signed(key_id, int(now), secrets.token_hex(_NONCE_BYTES), "")
        code = self._key.sign(_said(bare, method=method, target=target, body=body)).signature
        return bare._replace(code=base64.urlsafe_b64encode(code).decode().rstrip("="))

    def __repr__(self) -> str:
        return "<Signer>"


def verify_key_of(secret: bytes) -> str:
    """What the orchestrator keeps to recognise signatures, in hexadecimal; it is no secret."""
    return bytes(_signing_key(secret).verify_key).hex()


def is_signed(signed: Signed, verify_key: str, *, method: str, target: str, body: bytes) -> bool:
    """Whether the signature is of this request, and by whoever has the secret."""
    from nacl.exceptions import BadSignatureError  # see _signing_key
    from nacl.signing import VerifyKey

    code = base64.urlsafe_b64decode(f"{signed.code}==")
    try:
        VerifyKey(bytes.fromhex(verify_key)).verify(_said(signed, method=method, target=target, body=body), code)
    except (BadSignatureError, ValueError):
        return False
    return True


def proof_of(digest: str, signed: Signed) -> str:
    """What the answer to a signed request carries; `digest` is that of the secret in hexadecimal."""
    return hmac.new(bytes.fromhex(digest), f"tarpon answer 1\n{signed.code}".encode(), hashlib.sha256).hexdigest()


def read_signed(header: str) -> Signed | None:
    """None for what is no signature."""
    scheme, _, rest = header.partition(" ")
    parts = rest.strip().split(".")
    if scheme != SCHEME or len(header) > _MAX_LENGTH or len(parts) != 4 or not all(map(is_safe_id, parts[:3])):
        return None
    key_id, at, nonce, code = parts
    is_one = at.isdecimal() and at.isascii() and _CODE.match(code)
    return Signed(key_id, int(at), nonce, code) if is_one else None


def key_id_of(secret: str) -> str:
    """The name of a key or password that people have chosen, by which alone nobody finds it out from few guesses."""
    return hashlib.sha256(f"tarpon key id\n{secret}".encode()).hexdigest()[:16]


def digest_of(secret: str) -> str:
    """Of a key or password that people have chosen."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """In the same time, wherever they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def _said(signed: Signed, *, method: str, target: str, body: bytes) -> bytes:
    said = (
        "tarpon request 1",
        signed.key_id,
        str(signed.at),
        signed.nonce,
        method,
        target,
        hashlib.sha256(body).hexdigest(),
    )
    return "\n".join(said).encode()


def _signing_key(secret: bytes) -> "SigningKey":
    from nacl.signing import SigningKey  # a command that signs nothing starts sooner without

    return SigningKey(hashlib.sha256(b"tarpon request key\n" + secret).digest())
