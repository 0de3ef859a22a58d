"""Signatures between NATS servers and their auth callout: JSON web tokens over nkeys.

The format is that of github.com/nats-io/jwt version 2: base64url without padding, algorithm `ed25519-nkey`. An nkey is
base32 of a type byte, a public Ed25519 key and a CRC (github.com/nats-io/nkeys).
"""

import base64
from collections.abc import Mapping

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from nkeys import PREFIX_BYTE_ACCOUNT, PREFIX_BYTE_SERVER, PREFIX_BYTE_USER, KeyPair

from shared.data.nkey import raw_public_key
from shared.errors import Refused

MAX_TOKEN_BYTES = 64 * 1024
"""A request carries the client's certificates where it uses TLS, so it may have tens of kilobytes."""

ACCOUNT, SERVER, USER = PREFIX_BYTE_ACCOUNT, PREFIX_BYTE_SERVER, PREFIX_BYTE_USER


class BadSignature(Refused):
    """A token, a key or a signature that is not what it should be. The message never repeats it."""


class _Header(msgspec.Struct):
    typ: str
    alg: str


class _Issuer(msgspec.Struct):
    iss: str


_HEADER = msgspec.json.encode({"typ": "JWT", "alg": "ed25519-nkey"})


def encode(claims: Mapping[str, object], signer: KeyPair) -> bytes:
    """`claims` as a token that is issued and signed by `signer`."""
    payload = msgspec.json.encode({**claims, "iss": signer.public_key.decode()})
    signed = _to_base64(_HEADER) + b"." + _to_base64(payload)
    return signed + b"." + _to_base64(signer.sign(signed))


def decode(token: bytes, *, issuer_kind: int) -> bytes:
    """The claims, as JSON, of a token whose issuer is a key of `issuer_kind` and has signed it.

    Who the issuer is, is for the caller to judge. Raises BadSignature.
    """
    signed, _, signature = token.rpartition(b".")
    header, _, payload = signed.partition(b".")
    if len(token) > MAX_TOKEN_BYTES:
        raise BadSignature(f"A token of {len(token):,} bytes is too long.")
    try:
        if msgspec.json.decode(from_base64(header), type=_Header) != _Header("JWT", "ed25519-nkey"):
            raise BadSignature("A token names an algorithm other than ed25519-nkey.")
        claims = from_base64(payload)
        issuer = msgspec.json.decode(claims, type=_Issuer).iss
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadSignature("A token is not made of JSON in base64.") from None
    verify(signed, from_base64(signature), issuer, kind=issuer_kind)
    return claims


def verify(message: bytes, signature: bytes, public_key: str, *, kind: int) -> None:
    """Raise BadSignature unless `public_key` is an nkey of this kind and has signed `message`."""
    try:
        VerifyKey(raw_key(public_key, kind)).verify(message, signature)
    except (BadSignatureError, ValueError):
        raise BadSignature("A signature does not belong to its key.") from None


def raw_key(public_key: str, kind: int) -> bytes:
    try:
        return raw_public_key(public_key, kind)
    except ValueError:
        raise BadSignature("A key is not an nkey of the kind that is expected here.") from None


def from_base64(text: bytes) -> bytes:
    """Accept base64url, padded or not. Raises BadSignature."""
    try:
        return base64.b64decode(text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise BadSignature("A part of a token is not base64.") from None


def _to_base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
