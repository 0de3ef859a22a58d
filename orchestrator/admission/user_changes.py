"""Changes of users: who may use the APIs, and who may not any more. A key is told once, and only its digest is kept."""

import logging
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from msgspec.structs import replace

from orchestrator.rules.near_names import near_names
from orchestrator.rules.records import UserRecord
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.errors import Conflict, InvalidInput, NotFound, did_you_mean
from shared.ids import is_safe_id
from shared.jobs.durations import parse_duration
from shared.jobs.namespaces import checked_namespaces
from shared.protocol.capabilities import checked_capabilities
from shared.protocol.pasted import MAX_ADDRESS, ApiKey, digest, new_secret
from shared.protocol.request_signature import verify_key_of
from shared.protocol.rest_users import CreateUserRequest, UserView
from shared.settings.secret import Secret

_log = logging.getLogger(__name__)

MOST_USERS = 10_000
MOST_ADDRESSES = 8
LEAST_SECONDS, MOST_SECONDS = 1, 100 * 365 * 86400


class UserExists(Conflict):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is a user {name!r} already, whose key is valid.",
            hint=f"Choose another name, or end that key first: `tarpon user revoke {name}`.",
        )


class UserNotFound(NotFound):
    """`near` are names that may have been meant."""

    def __init__(self, name: str, near: Iterable[str] = ()) -> None:
        hint = f"{did_you_mean(near)}`tarpon user list` shows the users."
        super().__init__(f"There is no user {name[:80]!r}.", hint=hint)


class UserNameInvalid(InvalidInput):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name[:80]!r} cannot be the name of a user.",
            hint="A name has 1 to 64 characters out of A-Z a-z 0-9 _ and -.",
        )


class UserAddressInvalid(InvalidInput):
    def __init__(self, address: str) -> None:
        super().__init__(
            f"{address[:80]!r} cannot be the address of the API in a key.",
            hint="Give the whole URL, such as https://example.com:1234.",
        )


async def create_user(
    model: Model, store: Store, wanted: CreateUserRequest, *, authority: tuple[bytes, ...] = (), made_by: str
) -> tuple[UserRecord, Secret]:
    """The user, and the text of its key. A name that was revoked, or has expired, may be given again.

    Raises UserExists, UserNameInvalid, UserAddressInvalid, CapabilityUnknown, NamespaceInvalid, InvalidInput.
    """
    key_id, secret = new_secret()
    key = ApiKey(id=key_id, secret=secret, authority=authority, addresses=_addresses(wanted.addresses))
    text, record = Secret(key.text()), _record(wanted, key_id, secret, made_by)

    async def attempt() -> None:
        known = model.users.named(record.name)
        if known is not None and not known.revoked and not (known.expires and known.expires <= record.create_time):
            raise UserExists(record.name)
        if known is None and len(model.users) >= MOST_USERS:
            raise Conflict(f"There are {MOST_USERS:,} users, and no more are possible.", hint="Give a name again.")
        if known is None:
            await store.create(record.key, record)
        else:
            await store.update(record.key, record)

    await changes.insist(store, attempt)
    may, where = ", ".join(record.capabilities), ", ".join(record.namespaces)
    _log.info("User %s is made by %s: it may %s in the namespaces %s.", record.name, made_by, may, where)
    return record, text


def _record(wanted: CreateUserRequest, key_id: str, secret: bytes, made_by: str) -> UserRecord:
    name, now = wanted.name.strip(), now_ns()
    if not is_safe_id(name):
        raise UserNameInvalid(name)
    expires = now + int(_lives_seconds(wanted.expires_in) * 1e9) if wanted.expires_in.strip() else 0
    return UserRecord(
        name=name,
        key_id=key_id,
        digest=digest(secret),
        verify_key=verify_key_of(secret),
        capabilities=checked_capabilities(wanted.capabilities),
        namespaces=checked_namespaces(wanted.namespaces),
        create_time=now,
        made_by=made_by,
        expires=expires,
    )


def _lives_seconds(text: str) -> float:
    seconds = parse_duration(text)
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        told = "A key lives for a second at least, and for 100 years at most."
        raise InvalidInput(told, hint="Say 720h, or nothing for a key that does not expire.")
    return seconds


def _addresses(texts: Iterable[str]) -> tuple[str, ...]:
    """As clients take them. Raises InvalidInput, UserAddressInvalid."""
    found = tuple(dict.fromkeys(text.strip().rstrip("/") for text in texts))
    if len(found) > MOST_ADDRESSES:
        told = f"A key holds {MOST_ADDRESSES} addresses at most, not {len(found):,}."
        raise InvalidInput(told, hint="Its holder can name others in TARPON_API_HOST.")
    for each in found:
        if not _is_address(each):
            raise UserAddressInvalid(each)
    return found


def _is_address(text: str) -> bool:
    if not (text.isascii() and text.isprintable() and " " not in text and len(text) <= MAX_ADDRESS):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and not _more(parts)
    except ValueError:  # what should be its port is none, or its brackets do not close
        return False


def _more(parts: SplitResult) -> bool:
    """Whether it holds what belongs to no address."""
    return bool(parts.username or parts.password or parts.query or parts.fragment)


async def revoke_user(model: Model, store: Store, name: str, *, revoked_by: str) -> UserRecord:
    """From now on the key is not taken any more, by any orchestrator. Raises UserNotFound."""

    async def attempt() -> UserRecord:
        known = model.users.named(name)
        if known is None:
            names = sorted(each.name for each in model.users.all())
            raise UserNotFound(name, near_names(name, names.__contains__, names))
        if known.revoked:
            return known
        after = replace(known, revoked=now_ns())
        await store.update(after.key, after)
        _log.info("User %s is revoked by %s.", name, revoked_by)
        return after

    return await changes.insist(store, attempt)


def user_view(record: UserRecord) -> UserView:
    """Without the digest."""
    return UserView(
        name=record.name,
        key_id=record.key_id,
        capabilities=record.capabilities,
        namespaces=record.namespaces,
        create_time=record.create_time,
        made_by=record.made_by,
        expires=record.expires,
        revoked=record.revoked,
    )
