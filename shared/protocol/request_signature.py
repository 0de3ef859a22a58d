"""Signatures of requests: how a key is shown over plain HTTP without being sent.

Whoever happens to listen on a port of one's own machine gets no key, and nothing that could be shown elsewhere: the
client signs each request, with the digest of its secret, which the orchestrator keeps. A signature is of one method,
path, query and body, holds for a few minutes, and is taken once. The answer carries a proof that its sender knows the
digest too, so that a stranger's is not believed.

    Authorization: Tarpon <key id>.<seconds since 1970>.<nonce>.<HMAC-SHA-256>
    X-Tarpon-Proof: <HMAC-SHA-256>
"""

import hashlib
import hmac
import secrets
from typing import NamedTuple

from shared.ids import is_safe_id

SCHEME = "Tarpon"
PROOF = "X-Tarpon-Proof"
VALID_SECONDS = 300
_NONCE_BYTES = 16
_MAX_LENGTH = 300


class Signed(NamedTuple):
    """What stands in the header."""

    key_id: str
    at: int
    nonce: str
    code: str

    @property
    def header(self) -> str:
        return f"{SCHEME} {self.key_id}.{self.at}.{self.nonce}.{self.code}"


def sign(digest: str, key_id: str, *, method: str, target: str, body: bytes, now: float) -> Signed:
    """`target` is path and query as they are sent, `digest` that of the secret in hexadecimal."""
    bare = Signed(key_id, int(now), secrets.token_hex(_NONCE_BYTES), "")
    return bare._replace(code=code_of(digest, bare, method=method, target=target, body=body))


def code_of(digest: str, signed: Signed, *, method: str, target: str, body: bytes) -> str:
    """The code that the signature has to have."""
    said = (
        "tarpon request 1",
        signed.key_id,
        str(signed.at),
        signed.nonce,
        method,
        target,
        hashlib.sha256(body).hexdigest(),
    )
    return _code(digest, "\n".join(said))


def proof_of(digest: str, signed: Signed) -> str:
    """What the answer to a signed request carries."""
    return _code(digest, f"tarpon answer 1\n{signed.code}")


def read_signed(header: str) -> Signed | None:
    """None for what is no signature."""
    scheme, _, rest = header.partition(" ")
    parts = rest.strip().split(".")
    if scheme != SCHEME or len(header) > _MAX_LENGTH or len(parts) != 4 or not all(map(is_safe_id, parts)):
        return None
    key_id, at, nonce, code = parts
    return Signed(key_id, int(at), nonce, code) if at.isdecimal() and at.isascii() else None


def key_id_of(secret: str) -> str:
    """The name of a key or password that people have chosen, by which alone nobody finds it out from few guesses."""
    return hashlib.sha256(f"tarpon key id\n{secret}".encode()).hexdigest()[:16]


def digest_of(secret: str) -> str:
    """Of a key or password that people have chosen."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """In the same time, wherever they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def _code(digest: str, text: str) -> str:
    return hmac.new(bytes.fromhex(digest), text.encode(), hashlib.sha256).hexdigest()
