"""Identities: by which key somebody is known, and why one that is shown is not taken.

Users are those that are stored (`tarpon user`), by the digest of their secrets, and those of API.Auth.Users. A secret
compares in the same time wherever it differs. Of a key that is not right nothing more is told; who has the right one of
a user that was revoked, or that has expired, is told that.
"""

import base64
import time
from collections.abc import Iterable
from typing import NamedTuple

from orchestrator.admission.bounds.guesses import Guesses
from orchestrator.admission.principals import ANONYMOUS, Principal
from orchestrator.rules.records import UserRecord
from orchestrator.state.users import Users
from shared.errors import Unauthorized
from shared.protocol import pasted
from shared.protocol.pasted import ApiKey, Credential, PastedTextInvalid
from shared.protocol.request_signature import (
    VALID_SECONDS,
    Signed,
    digest_of,
    is_signed,
    key_id_of,
    proof_of,
    read_signed,
    same,
    verify_key_of,
)
from shared.settings.api_users import MOST_NAME, ApiUser
from shared.settings.config import ApiAuth

OPEN_TOKEN = "everybody"  # noqa: S105  # it opens nothing that is not open
"""What a client of the reference keeps that was let in by the open challenge (orchestrator/api/access/auth.py)."""
MOST_SEEN = 100_000
"""So many signatures are remembered at most, so that none is taken twice."""
_MEANT = f"What should be {ApiKey.WHAT} "
_HINT = (
    "On the orchestrator's machine, as its user, `tarpon` needs no key where no address is named (--api-host,"
    " --api-port or their variables), and `tarpon user create` makes one. Set it as TARPON_API_KEY."
)


class KeyMissing(Unauthorized):
    """The message begins as that of the reference, for which programs look."""

    def __init__(self, *, or_sign_in: bool = False) -> None:
        hint = f"`tarpon auth sso login` signs in. {_HINT}" if or_sign_in else _HINT
        super().__init__("Request Unauthorized: this takes a key, and none is shown.", hint=hint)


class KeyWrong(Unauthorized):
    def __init__(self, why: str = "it is not known here, or not right") -> None:
        super().__init__(f"Request Unauthorized: the key that is shown is not taken: {why}.", hint=_HINT)


class KeyExpired(Unauthorized):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"Request Unauthorized: the key of user {name!r} has expired.",
            hint=f"`tarpon user create {name} ...` makes another one, once `tarpon user revoke {name}` has ended this.",
        )


class KeyRevoked(Unauthorized):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"Request Unauthorized: the key of user {name!r} was revoked.",
            hint="Ask whoever runs the orchestrator for another one.",
        )


class SignedRequest(NamedTuple):
    """What a signature has to be of."""

    method: str
    target: str
    body: bytes


class _Known(NamedTuple):
    """One way to be known: the digest of the secret, what recognises its signatures, and who that is."""

    digest: str
    verify_key: str
    user: UserRecord | Principal


class Identities:
    """`users` are those that are stored; `anonymous` is whether somebody is let in who shows no key.

    `guesses` slows down who guesses at what people have chosen: passwords and keys of the configuration. `origin` is
    from where somebody asks.
    """

    def __init__(self, users: Users, settings: ApiAuth, guesses: Guesses | None = None) -> None:
        self._guesses = guesses
        self.anonymous = settings.anonymous
        self._signs_in = bool(settings.oauth2.issuer)
        self._users = users
        self._configured = dict(_configured(settings.users.users))
        self._seen: dict[str, float] = {}

    def of_header(self, header: str | None, origin: str = "") -> Principal:
        """Who shows this as `Authorization`, or nothing. Raises Unauthorized.

        Where nobody has to show anything, what is not known counts as nothing: clients of the reference send what
        another orchestrator at the same address gave them.
        """
        if not header:
            return self._nobody()
        try:
            return self._of_shown(header, origin)
        except KeyWrong:
            if self.anonymous:
                return ANONYMOUS
            raise

    def _of_shown(self, header: str, origin: str) -> Principal:
        if not _is_text(header):
            raise KeyWrong("it is no text")
        scheme, _, shown = header.partition(" ")
        match scheme.lower():
            case "bearer":
                return self._of_bearer(shown.strip(), origin)
            case "basic":
                return self._of_basic(shown.strip(), origin)
            case _:
                raise KeyWrong(f"it is to be a Bearer or Basic one, not {scheme[:20]!r}")

    def _nobody(self) -> Principal:
        if self.anonymous:
            return ANONYMOUS
        raise KeyMissing(or_sign_in=self._signs_in)

    def _of_bearer(self, shown: str, origin: str) -> Principal:
        if shown == OPEN_TOKEN:
            return self._nobody()
        credential = _credential(shown)
        if credential is not None:
            return self._of_credential(credential, origin)
        return self._of_secret(shown, origin)

    def _of_basic(self, shown: str, origin: str) -> Principal:
        """The name and the key of a user that is stored, or the name and the password of one in the configuration."""
        try:
            name, _, password = base64.b64decode(shown, validate=True).decode().partition(":")
        except ValueError:  # of its letters, its padding, or what they stand for
            raise KeyWrong("it is no Basic one") from None
        credential = _credential(password)
        record = self._users.named(name)
        if credential is not None and record is not None and same(record.key_id, credential.id):
            return self._of_credential(credential, origin)
        return self._of_secret(_with_name(name, password), origin, name.lower()[:MOST_NAME])

    def _of_secret(self, secret: str, origin: str, name: str = "") -> Principal:
        known = self._guessed(key_id_of(secret), origin, name)
        if known is None or not same(known.digest, digest_of(secret)):
            raise KeyWrong
        return _valid(known)

    def _of_credential(self, credential: Credential, origin: str) -> Principal:
        known = self._known(credential.id, origin)
        if known is None or not same(known.digest, credential.digest):
            raise KeyWrong
        return _valid(known)

    def _known(self, key_id: str, origin: str) -> _Known | None:
        """Raises TooManyAttempts. The secrets of users that are stored are made by chance, and nobody guesses them."""
        record = self._users.of_key(key_id)
        if record is not None:
            return _Known(record.digest, record.verify_key, record)
        return self._guessed(key_id, origin, "")

    def _guessed(self, key_id: str, origin: str, name: str) -> _Known | None:
        """Whose id follows from the secret, so that to find it is to have guessed. Raises TooManyAttempts."""
        if not self._configured or self._guesses is None or self.anonymous or not origin:
            return self._configured.get(key_id)
        self._guesses.check(origin, name)
        known = self._configured.get(key_id)
        if known is None:
            self._guesses.on_wrong(origin, name)
        else:
            self._guesses.on_right(origin, name)
        return known

    def of_user(self, name: str, shown: str) -> Principal:
        """The user of this name, whose key is shown as the password. Raises Unauthorized."""
        credential, record = _credential(shown), self._users.named(name)
        if credential is None or record is None or not same(record.key_id, credential.id):
            raise KeyWrong
        return self._of_credential(credential, "")

    # ---- signed requests --------------------------------------------------------------------------------------------

    def check_known(self, signed: Signed, origin: str = "") -> None:
        """Raise KeyWrong where no key has this id."""
        if self._known(signed.key_id, origin) is None:
            raise KeyWrong

    def proof(self, signed: Signed, request: SignedRequest) -> str:
        """What the answer has to carry. Raises KeyWrong for a signature that is not right.

        Of a key that was revoked, and of a signature that comes too late, it is told too, so that its holder can
        believe what is said about that.
        """
        known = self._known(signed.key_id, "")
        if known is None:
            raise KeyWrong
        method, target, body = request
        if not is_signed(signed, known.verify_key, method=method, target=target, body=body):
            raise KeyWrong("it is not known here, or signs another request")
        return proof_of(known.digest, signed)

    def take(self, signed: Signed) -> None:
        """Raise KeyWrong for a signature that was found right, and is too old, or not the first."""
        now = time.time()
        if abs(now - signed.at) > VALID_SECONDS:
            raise KeyWrong("its signature is of another time; compare the clocks of both machines")
        self._note(signed.code, now)

    def of_signed(self, signed: Signed) -> Principal:
        """Whose signature it is that was found right. Raises Unauthorized."""
        return self.of_key(signed.key_id)

    def of_key(self, key_id: str) -> Principal:
        """Whose key this is, which was shown before. Raises Unauthorized."""
        known = self._known(key_id, "")
        if known is None:
            raise KeyWrong
        return _valid(known)

    def _note(self, code: str, now: float) -> None:
        if code in self._seen:
            raise KeyWrong("its signature was taken before")
        while self._seen and (
            len(self._seen) >= MOST_SEEN or next(iter(self._seen.values())) < now - 2 * VALID_SECONDS
        ):
            del self._seen[next(iter(self._seen))]
        self._seen[code] = now

    def __repr__(self) -> str:
        return f"<Identities: {len(self._users)} users, {len(self._configured)} configured>"


def principal_named(users: Users, name: str) -> Principal:
    """A user that has been let in by its key earlier. Raises KeyWrong, KeyRevoked, KeyExpired."""
    record = users.named(name)
    if record is None:
        raise KeyWrong
    return _valid_user(record)


def is_key(shown: str) -> bool:
    """Whether this is meant to be a key of a user, and not another password."""
    return pasted.is_meant(shown, ApiKey) or pasted.read_credential(shown) is not None


def signed_by(header: str | None) -> Signed | None:
    """The signature that a request carries; None where it carries none."""
    return read_signed(header) if header else None


def _valid(known: _Known) -> Principal:
    return known.user if isinstance(known.user, Principal) else _valid_user(known.user)


def _valid_user(user: UserRecord) -> Principal:
    if user.revoked:
        raise KeyRevoked(user.name)
    if user.expires and user.expires <= time.time_ns():
        raise KeyExpired(user.name)
    return Principal(
        name=user.name,
        capabilities=frozenset(user.capabilities),
        namespaces=frozenset(user.namespaces),
        key_id=user.key_id,
        expires=user.expires,
    )


def _credential(shown: str) -> Credential | None:
    """That of a whole key, or of what is sent of one. Raises KeyWrong for a key that is mistyped or cut off."""
    if not pasted.is_meant(shown, ApiKey):
        return pasted.read_credential(shown)
    try:
        key = pasted.read(shown, ApiKey)
    except PastedTextInvalid as error:
        raise KeyWrong(f"it {error.message.removeprefix(_MEANT).rstrip('.')}") from None
    return Credential(key.id, key.digest)


def _configured(users: Iterable[ApiUser]) -> Iterable[tuple[str, _Known]]:
    for user in users:
        key = user.api_key.reveal()
        secret = key or _with_name(user.username, user.password.reveal())
        principal = Principal(
            name=user.name,
            capabilities=frozenset(user.capabilities),
            namespaces=frozenset(user.namespaces),
            key_id=key_id_of(secret),
        )
        shown = pasted.read_secret(key)
        if shown is not None:
            yield shown.id, _Known(pasted.digest(shown.secret), verify_key_of(shown.secret), principal)
        yield key_id_of(secret), _Known(digest_of(secret), verify_key_of(secret.encode()), principal)


def _is_text(header: str) -> bool:
    """False where it came with bytes that are no UTF-8."""
    try:
        header.encode()
    except UnicodeEncodeError:
        return False
    return True


def _with_name(name: str, password: str) -> str:
    return f"{name.lower()}:{password}"
