"""Pasted texts: the one line that somebody is given to join with, or to be let in with.

A join token starts a node, an API key lets a person or a program in. Each holds its secret, where to go, and the
certificates by which the one who answers there is known. The form is a prefix that names the kind, then in base64url
without padding: the length of the next part (two bytes), a MessagePack map with short keys, and a CRC-32 of all before
it, the prefix included. So a text that was mistyped or cut off is told apart from one that is not valid any more. Keys
that a program does not know are left out, so that later versions can add some.

A secret has 32 random bytes, so no slow hash is needed: whoever has to recognise it keeps its `digest` alone.
"""

import base64
import hashlib
import re
import secrets
import struct
import zlib
from typing import Annotated, ClassVar, NamedTuple, TypeVar

import msgspec

from shared.errors import InvalidInput
from shared.ids import is_safe_id

MAX_CHARACTERS = 8000
"""Of a whole text, so that it fits into a header of HTTP (8,190 bytes) and into a variable of the environment."""
SECRET_BYTES = 32
MAX_ADDRESS = 512
_ID_BYTES = 8
_ALPHABET = re.compile(r"[A-Za-z0-9_-]*\Z")
_LENGTH, _CHECKSUM = struct.Struct(">H"), struct.Struct(">I")
_AGAIN = "Copy all of it again, in one line, without spaces or line breaks inside."

_Certificate = Annotated[bytes, msgspec.Meta(max_length=4096)]
_Address = Annotated[str, msgspec.Meta(max_length=MAX_ADDRESS)]
_SecretBytes = Annotated[bytes, msgspec.Meta(min_length=SECRET_BYTES, max_length=SECRET_BYTES)]


class PastedTextInvalid(InvalidInput):
    """A text that cannot be what was asked for. The message never repeats it."""


class PastedTextMistyped(PastedTextInvalid):
    def __init__(self, what: str) -> None:
        super().__init__(f"What should be {what} is mistyped: its checksum does not fit.", hint=_AGAIN)


class PastedTextTruncated(PastedTextInvalid):
    def __init__(self, what: str) -> None:
        super().__init__(f"What should be {what} is cut off: its end is missing.", hint=_AGAIN)


class PastedTextOfOtherKind(PastedTextInvalid):
    def __init__(self, what: str, prefix: str, found: str) -> None:
        super().__init__(
            f"What should be {what} {f'is {found}' if found else f'does not begin with {prefix}'}.",
            hint="`tarpon node token create` makes join tokens (tj1_...), with which nodes join, and"
            " `tarpon user create` API keys (tk1_...), which let people and programs in.",
        )


class _Pasted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`authority` are certificates in DER, by one of which the other side is known; none where there are none of it."""

    PREFIX: ClassVar[str]
    WHAT: ClassVar[str]

    id: str = msgspec.field(name="i")
    secret: _SecretBytes = msgspec.field(name="s")
    authority: tuple[_Certificate, ...] = msgspec.field(name="c", default=())
    addresses: tuple[_Address, ...] = msgspec.field(name="a", default=())

    @property
    def credential(self) -> str:
        """What is shown to whoever lets its bearer in: the id and the secret, as `read_credential` takes them."""
        return f"{self.id}.{_to_base64(self.secret)}"

    @property
    def digest(self) -> str:
        return digest(self.secret)

    def text(self) -> str:
        """All of it, which is a secret. Raises PastedTextInvalid where it would be too long."""
        body = _encoder.encode(self)
        if len(body) > MAX_CHARACTERS:
            raise _too_long(self.WHAT, len(body))
        packed = _LENGTH.pack(len(body)) + body
        text = self.PREFIX + _to_base64(packed + _checksum(self.PREFIX, packed))
        if len(text) > MAX_CHARACTERS:
            raise _too_long(self.WHAT, len(text))
        return text

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"


class JoinToken(_Pasted, frozen=True, kw_only=True, omit_defaults=True):
    """`addresses` are those of NATS, as the orchestrator tells them."""

    PREFIX: ClassVar[str] = "tj1_"
    WHAT: ClassVar[str] = "a join token"

    __repr__ = _Pasted.__repr__


class ApiKey(_Pasted, frozen=True, kw_only=True, omit_defaults=True):
    """`addresses` are URLs of the API; there may be none."""

    PREFIX: ClassVar[str] = "tk1_"
    WHAT: ClassVar[str] = "an API key"

    __repr__ = _Pasted.__repr__


_P = TypeVar("_P", JoinToken, ApiKey)
_KINDS: tuple[type[JoinToken] | type[ApiKey], ...] = (JoinToken, ApiKey)
_encoder = msgspec.msgpack.Encoder()


class Credential(NamedTuple):
    """What a bearer has shown: which record is meant, and the digest that it must have."""

    id: str
    digest: str


class ShownSecret(NamedTuple):
    """What a credential is made of."""

    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"<ShownSecret {self.id}>"


def new_secret() -> tuple[str, bytes]:
    """The id and the secret of a new text. An id is no secret, and names it in lists and logs."""
    return secrets.token_hex(_ID_BYTES), secrets.token_bytes(SECRET_BYTES)


def digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()


def is_meant(text: str, kind: type[JoinToken] | type[ApiKey]) -> bool:
    """Whether a text is meant to be of this kind; whether it is, only `read` tells."""
    return text.strip().startswith(kind.PREFIX)


def read(text: str, kind: type[_P]) -> _P:
    """The text of this kind. Raises PastedTextInvalid."""
    text = text.strip()
    if not text.startswith(kind.PREFIX):
        meant = next((other.WHAT for other in _KINDS if text.startswith(other.PREFIX)), "")
        raise PastedTextOfOtherKind(kind.WHAT, kind.PREFIX, meant)
    if len(text) > MAX_CHARACTERS:
        raise _too_long(kind.WHAT, len(text))
    try:
        found = msgspec.msgpack.decode(_body(text.removeprefix(kind.PREFIX), kind), type=kind)
    except (msgspec.DecodeError, RecursionError):
        raise _unknown_form(kind) from None
    if not is_safe_id(found.id):
        raise _unknown_form(kind)
    return found


def read_credential(text: str) -> Credential | None:
    """What `credential` of a text holds; None where this is no such thing, such as a password."""
    shown = read_secret(text)
    return Credential(shown.id, digest(shown.secret)) if shown is not None else None


def read_secret(text: str) -> ShownSecret | None:
    """As `read_credential`, with the secret itself, for whoever has to sign with it."""
    id_, _, secret = text.partition(".")
    raw = _from_base64(secret)
    return ShownSecret(id_, raw) if is_safe_id(id_) and raw is not None and len(raw) == SECRET_BYTES else None


def _body(text: str, kind: type[JoinToken] | type[ApiKey]) -> bytes:
    """What is between length and checksum, if these fit."""
    whole = _from_base64(text[: len(text) - 1 if len(text) % 4 == 1 else len(text)], strict=False)
    if whole is None:
        raise PastedTextMistyped(kind.WHAT)
    end = _LENGTH.size + (_LENGTH.unpack_from(whole)[0] if len(whole) >= _LENGTH.size else 0)
    if len(whole) < end + _CHECKSUM.size or len(whole) <= _LENGTH.size:
        raise PastedTextTruncated(kind.WHAT)
    if _from_base64(text) is None or whole[end:] != _checksum(kind.PREFIX, whole[:end]):
        raise PastedTextMistyped(kind.WHAT)
    return whole[_LENGTH.size : end]


def _checksum(prefix: str, packed: bytes) -> bytes:
    return _CHECKSUM.pack(zlib.crc32(packed, zlib.crc32(prefix.encode())))


def _too_long(what: str, characters: int) -> PastedTextInvalid:
    return PastedTextInvalid(
        f"A text of {characters:,} characters is too long for {what}: at most {MAX_CHARACTERS:,} are possible.",
        hint="Where it was pasted, paste it once and alone. Where it is made, certificates and addresses make it long.",
    )


def _unknown_form(kind: type[JoinToken] | type[ApiKey]) -> PastedTextInvalid:
    return PastedTextInvalid(
        f"What should be {kind.WHAT} is whole, and has a form that this version does not know.",
        hint="A newer version has made it: use that one here too, or have this version make another.",
    )


def _to_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _from_base64(text: str, *, strict: bool = True) -> bytes | None:
    """None where it is not in base64url without padding; if `strict`, also where bits are set that no byte has."""
    if not _ALPHABET.match(text) or len(text) % 4 == 1:
        return None
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return None if strict and _to_base64(data) != text else data
