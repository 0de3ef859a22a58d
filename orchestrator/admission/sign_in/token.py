"""Tokens of an issuer (RFC 7519, 9068; OpenID Connect Core): what one says, and why it is not taken.

What is read before the signature is checked can only have a token refused, or choose a key among those that are
published. `now` is in seconds since 1970. No error tells anything of a token but the number, name or kind of a part.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.admission.sign_in.key_set import MAX_KID, SigningKey
from shared.errors import Unauthorized
from shared.settings.sign_in import SECTION, Oauth2

MAX_TOKEN_BYTES = 12 << 10
MAX_SUBJECT = 255
_SIGN_IN = "`tarpon auth sso login` gets another one."
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_KINDS = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""Other kinds that an issuer signs, such as those that tell of a sign-out, are not meant to let anybody in."""


class TokenRefused(Unauthorized):
    """The message begins as that of the reference, for which programs look."""

    def __init__(self, why: str, *, hint: str = _SIGN_IN) -> None:
        super().__init__(f"Request Unauthorized: the token that is shown is not taken: {why}.", hint=hint)


class TokenTooLarge(TokenRefused):
    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            f"it has {size_bytes:,} bytes, and {MAX_TOKEN_BYTES:,} are the most",
            hint="Have the issuer put less into it, such as only the groups that matter here.",
        )


class TokenMalformed(TokenRefused):
    """It cannot be read as a token."""


class TokenEncrypted(TokenRefused):
    def __init__(self) -> None:
        super().__init__("it is encrypted (JWE)", hint="Have the issuer give signed tokens for this audience.")


class TokenAlgorithmRefused(TokenRefused):
    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(
            f"it is signed in a way that is not taken here, which is {', '.join(allowed)}",
            hint=f"{SECTION}.Algorithms says what is taken; `none` and shared secrets never are.",
        )


class TokenSignatureWrong(TokenRefused):
    def __init__(self) -> None:
        super().__init__("its signature is not that of the issuer's key")


class TokenIssuerWrong(TokenRefused):
    def __init__(self) -> None:
        super().__init__(f"it is of another issuer than {SECTION}.Issuer")


class TokenAudienceWrong(TokenRefused):
    def __init__(self) -> None:
        super().__init__(
            f"it is made for another service: its `aud` has not what {SECTION}.Audience says",
            hint="Ask the issuer for a token for this API; whoever runs the orchestrator knows its name there.",
        )


class TokenPartyWrong(TokenRefused):
    def __init__(self) -> None:
        super().__init__("it is made for a client that may not sign in here", hint=f"See {SECTION}.AuthorizedParties.")


class TokenExpired(TokenRefused):
    def __init__(self) -> None:
        super().__init__("it has expired")


class TokenTooOld(TokenRefused):
    def __init__(self) -> None:
        super().__init__(f"it was issued longer ago than {SECTION}.MaxTokenLife allows")


class TokenNotYetValid(TokenRefused):
    def __init__(self) -> None:
        super().__init__(
            "it is not valid yet by the orchestrator's clock",
            hint=f"Compare the clocks of the orchestrator and the issuer; {SECTION}.Leeway is how far they may differ.",
        )


class TokenIncomplete(TokenRefused):
    def __init__(self, claim: str) -> None:
        super().__init__(
            f"it has no {claim!r} that can be used", hint="Have the issuer give tokens with iss, sub, aud, iat and exp."
        )


class TokenHolder(msgspec.Struct, frozen=True, kw_only=True):
    """Who a token is of, that was found right. `expires` is in seconds since 1970, with the leeway."""

    issuer: str
    subject: str
    expires: float
    claims: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"<TokenHolder {self.subject[:20]!r}>"


class UnverifiedToken(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says of itself. Nothing of it counts until `verify` has returned."""

    algorithm: str
    kid: str | None
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes

    def verify(self, key: SigningKey) -> None:
        """Raise TokenSignatureWrong unless this key has signed it, in a way that is the key's own."""
        from jwt.algorithms import get_default_algorithms

        checks = get_default_algorithms()[self.algorithm]
        if self.algorithm not in key.algorithms or not checks.verify(self.signed, key.public, self.signature):
            raise TokenSignatureWrong

    def __repr__(self) -> str:
        return f"<UnverifiedToken by {self.algorithm}>"


def token_in(header: str | None) -> str:
    """What a request shows, if it is meant to be a token of an issuer and not a key; else empty."""
    scheme, _, shown = (header or "").partition(" ")
    shown = shown.strip()
    return shown if scheme.lower() == "bearer" and shown.startswith("ey") and "." in shown else ""


def read_token(token: str, allowed: tuple[str, ...]) -> UnverifiedToken:
    """Raises TokenRefused for what can be no token, or is signed in another way than is allowed."""
    if len(token) > MAX_TOKEN_BYTES:
        raise TokenTooLarge(len(token))
    parts = token.split(".")
    if len(parts) == 5:
        raise TokenEncrypted
    if len(parts) != 3:
        raise TokenMalformed("it does not have three parts")
    header = _object(parts[0], "header")
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm == "Ed25519":  # the newer name, in RFC 9864
        algorithm = "EdDSA"
    if not isinstance(algorithm, str) or algorithm not in allowed:
        raise TokenAlgorithmRefused(allowed)
    if "crit" in header or "b64" in header:
        raise TokenMalformed("its header asks for something that is not known here")
    if str(header.get("typ", "JWT")).lower() not in _KINDS:
        raise TokenMalformed("it is of a kind that signs nobody in")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KID):
        raise TokenMalformed("its header names a key that cannot be")
    return UnverifiedToken(
        algorithm=algorithm,
        kid=kid,
        claims=_object(parts[1], "content"),
        signed=f"{parts[0]}.{parts[1]}".encode(),
        signature=_decoded(parts[2], "signature"),
    )


def identity(claims: Mapping[str, Any], settings: Oauth2, *, now: float) -> TokenHolder:
    """Raises TokenRefused for what is not for here, or not now. Who this is counts once the token is verified."""
    if claims.get("iss") != settings.issuer:
        raise TokenIssuerWrong
    if "events" in claims:  # it tells of something, such as a sign-out (RFC 8417)
        raise TokenMalformed("it is of a kind that signs nobody in")
    _check_audience(claims, settings)
    leeway = float(settings.leeway)
    expires, issued = _instant(claims, "exp"), _instant(claims, "iat")
    begins = _instant(claims, "nbf") if "nbf" in claims else issued
    if now >= expires + leeway:
        raise TokenExpired
    if now < max(begins, issued) - leeway:
        raise TokenNotYetValid
    latest = issued + float(settings.max_token_life)
    if now >= latest + leeway:
        raise TokenTooOld
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise TokenIncomplete("sub")
    return TokenHolder(issuer=settings.issuer, subject=subject, expires=min(expires, latest) + leeway, claims=claims)


def _check_audience(claims: Mapping[str, Any], settings: Oauth2) -> None:
    """Also which client it was made for (OpenID Connect Core, section 3.1.3.7; RFC 9068, section 2.2)."""
    given = claims.get("aud")
    audiences = [given] if isinstance(given, str) else given
    if not isinstance(audiences, list) or settings.audience not in audiences:
        raise TokenAudienceWrong
    party = claims.get("azp", claims.get("client_id"))
    if settings.authorized_parties:
        if party not in settings.authorized_parties:
            raise TokenPartyWrong
    elif settings.audience == settings.device_client_id:  # then it is for the command line itself
        is_missing = party is None and len(audiences) > 1
        if is_missing or party not in (None, settings.device_client_id):  # it may be a list
            raise TokenPartyWrong


def _instant(claims: Mapping[str, Any], name: str) -> float:
    found = claims.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 1 << 40:
        raise TokenIncomplete(name)
    return float(found)


def _object(part: str, what: str) -> dict[str, Any]:
    try:
        found: Any = msgspec.json.decode(_decoded(part, what))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TokenMalformed(f"its {what} cannot be read")
    return found


def _decoded(part: str, what: str) -> bytes:
    """Of base64url without padding (RFC 7515, section 2), and nothing else."""
    if not _BASE64URL.fullmatch(part):
        raise TokenMalformed(f"its {what} cannot be read")
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error:
        raise TokenMalformed(f"its {what} cannot be read") from None
