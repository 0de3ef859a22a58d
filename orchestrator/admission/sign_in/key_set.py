"""Key sets of an issuer (RFC 7517): what it publishes, read into keys that can check a signature and nothing else.

PyJWT makes the keys; nothing of a token chooses how they are used. It is imported where it is used, because most
orchestrators have no issuer.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from shared.errors import Unauthorized

MAX_KEYS = 64
MAX_KID = 256
LEAST_RSA_BITS, MOST_RSA_BITS = 2048, 8192
MOST_EXPONENT_BITS = 64
"""A larger one would make each check slow, and nobody has one."""
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})


class KeySetUnusable(Exception):
    """What is wrong with a whole key set, in words that go on from "its key set"."""


class KeysWithdrawn(KeySetUnusable):
    """It is one, and no key is in it that can be used: what was published before does not count any more."""


class SigningKeyUnfit(Unauthorized):
    def __init__(self, why: str) -> None:
        super().__init__(
            f"Request Unauthorized: the issuer's key that signed the token is not taken: {why}.",
            hint="Whoever runs the issuer has to sign with another key.",
        )


class SigningKey(msgspec.Struct, frozen=True):
    """`algorithms` are those that the key is for; `public` is a key of PyJWT's."""

    kid: str
    algorithms: frozenset[str]
    public: Any
    unfit: str = ""
    """Why no signature of this key is taken."""

    def __repr__(self) -> str:
        return f"<SigningKey {self.kid[:20]!r}>"


class KeySet:
    """`kid` is no secret, and may stand in it twice: for keys of different kinds."""

    def __init__(self, keys: tuple[SigningKey, ...]) -> None:
        self._keys = keys

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "KeySet":
        """Raises KeySetUnusable. Single keys that cannot be used are kept, so that it can be told why."""
        listed = document.get("keys")
        if not isinstance(listed, list):
            raise KeySetUnusable("has no list of keys")
        if len(listed) > MAX_KEYS:
            raise KeySetUnusable(f"has {len(listed):,} keys, and at most {MAX_KEYS} are taken")
        keys = tuple(_key(each) for each in listed if isinstance(each, dict))
        if not any(not each.unfit for each in keys):
            why = next((f": {each.unfit}" for each in keys), "")
            raise KeysWithdrawn(f"has no key that can be used{why}")
        return cls(keys)

    def find(self, kid: str | None, algorithm: str) -> SigningKey | None:
        """The key of a token; of one that names none the only one of its kind. Raises SigningKeyUnfit."""
        named = [each for each in self._keys if kid is None or each.kid == kid]
        fit = [each for each in named if not each.unfit and algorithm in each.algorithms]
        if fit:
            return fit[0] if kid is not None or len(fit) == 1 else None
        if kid is not None and named:
            raise SigningKeyUnfit(named[0].unfit or f"it is not for {algorithm}")
        return None

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<KeySet of {len(self)} keys>"


def _key(jwk: dict[str, Any]) -> SigningKey:
    kid = jwk.get("kid")
    name = kid if isinstance(kid, str) and len(kid) <= MAX_KID else ""
    try:
        algorithms = _algorithms(jwk)
        return SigningKey(name, algorithms, _public(jwk, min(algorithms)))
    except _Unfit as error:
        return SigningKey(name, frozenset(), None, str(error))


class _Unfit(Exception):
    pass


def _algorithms(jwk: dict[str, Any]) -> frozenset[str]:
    """By the kind of the key, and by its `alg` where it has one; never by what a token says."""
    uses = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(uses, list) or "verify" not in uses:
        raise _Unfit("it is not published for signatures")
    if "d" in jwk or "k" in jwk:
        raise _Unfit("it is not a public key")
    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", _:
            possible = _RSA
        case "EC", str() as curve if curve in _CURVES:
            possible = frozenset({_CURVES[curve]})
        case "OKP", "Ed25519":
            possible = frozenset({"EdDSA"})
        case _:
            raise _Unfit("it is of a kind that is not taken")
    named = "EdDSA" if jwk.get("alg") == "Ed25519" else jwk.get("alg")  # its newer name, in RFC 9864
    if named is None:
        return possible
    if not isinstance(named, str) or named not in possible:
        raise _Unfit("its algorithm is not one of its kind")
    return frozenset({named})


def _public(jwk: dict[str, Any], algorithm: str) -> Any:
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    if jwk["kty"] == "RSA":
        _check_rsa(jwk)
    try:
        return PyJWK({**jwk, "alg": algorithm}).key
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise _Unfit("what is published of it is no key") from None


def _check_rsa(jwk: dict[str, Any]) -> None:
    """Its size, before anything is made of it."""
    modulus, exponent = (_bits(jwk.get(name)) for name in ("n", "e"))
    if modulus < LEAST_RSA_BITS:
        raise _Unfit(f"it is an RSA key of {modulus} bits, and {LEAST_RSA_BITS} are the least")
    if modulus > MOST_RSA_BITS or exponent > MOST_EXPONENT_BITS:
        raise _Unfit("it is an RSA key that is larger than any is")


def _bits(text: object) -> int:
    if not isinstance(text, str) or len(text) > MOST_RSA_BITS:
        return 0 if not isinstance(text, str) else MOST_RSA_BITS + 1
    try:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))).bit_length()
    except (binascii.Error, ValueError):
        raise _Unfit("what is published of it is no key") from None
