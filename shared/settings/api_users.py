"""Users of the API that are named in the configuration, in the shape of the reference, with namespaces added."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from shared.data.decoding import decode
from shared.errors import ConfigurationInvalid, InvalidInput
from shared.jobs.namespaces import checked_namespaces
from shared.protocol.capabilities import checked_capabilities
from shared.settings.secret import HIDDEN, Secret

LEAST_PASSWORD, LEAST_KEY, MOST_SECRET, MOST_NAME = 10, 20, 255, 100
_NAME = re.compile(r"[A-Za-z0-9]+\Z")
_HASHED = re.compile(r"\$2[abxy]?\$")


class ApiUser(msgspec.Struct, frozen=True, kw_only=True):
    """Known by an API key, or else by a user name, which compares in small letters, and a password."""

    alias: str
    username: str
    password: Secret
    api_key: Secret
    capabilities: tuple[str, ...]
    namespaces: tuple[str, ...]

    @property
    def name(self) -> str:
        """For people; nothing of a secret is in it."""
        return self.alias or self.username or "a key of API.Auth.Users"

    def shown(self) -> dict[str, Any]:
        """As in the configuration, without secrets."""
        fields = {"Alias": self.alias, "Username": self.username}
        fields |= {"Password": HIDDEN if self.password else "", "APIKey": HIDDEN if self.api_key else ""}
        told: dict[str, Any] = {name: text for name, text in fields.items() if text}
        return told | {"Capabilities": [{"Actions": list(self.capabilities)}], "Namespaces": list(self.namespaces)}


class ApiUsers:
    """The value of API.Auth.Users. It is a class of its own so that no secret is shown where settings are."""

    __slots__ = ("users",)

    def __init__(self, users: Iterable[ApiUser] = ()) -> None:
        self.users = tuple(users)

    @classmethod
    def read(cls, key: str, given: object) -> "ApiUsers":
        """Of a list of mappings, or its text in JSON. Raises ConfigurationInvalid, which shows no secret."""
        if isinstance(given, str):
            try:
                given = json.loads(given or "[]")
            except ValueError:
                raise ConfigurationInvalid([f"{key}: this is no list of users in JSON"]) from None
        if not isinstance(given, list):
            raise ConfigurationInvalid([f"{key}: expected a list of users, each with an APIKey or a Username"])
        problems: list[str] = []
        users: list[ApiUser] = []
        for number, each in enumerate(given):
            try:
                users.append(_user(each, f"{key}[{number}]"))
            except InvalidInput as error:
                problems.append(error.message)
        if problems := [*problems, *_twice(key, users)]:
            raise ConfigurationInvalid(problems)
        return cls(users)

    def shown(self) -> list[dict[str, Any]]:
        return [user.shown() for user in self.users]

    def __bool__(self) -> bool:
        return bool(self.users)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ApiUsers) and self.users == other.users

    def __hash__(self) -> int:
        return hash(self.users)

    def __str__(self) -> str:
        return ", ".join(user.name for user in self.users)

    def __repr__(self) -> str:
        return f"<ApiUsers {self}>"


class _Actions(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    actions: tuple[str, ...] = ()


class _Written(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    alias: str = ""
    username: str = ""
    password: str = ""
    api_key: str = msgspec.field(name="APIKey", default="")
    capabilities: tuple[_Actions, ...] = ()
    namespaces: tuple[str, ...] = ()


def _user(given: object, what: str) -> ApiUser:
    written = decode(given, _Written, what=what, unknown="refuse")[0]
    if problem := next(_problems(written), ""):
        raise InvalidInput(f"{what}: {problem}")
    try:
        return ApiUser(
            alias=written.alias,
            username=written.username,
            password=Secret(written.password),
            api_key=Secret(written.api_key),
            capabilities=checked_capabilities(word for each in written.capabilities for word in each.actions),
            namespaces=checked_namespaces(written.namespaces),
        )
    except InvalidInput as error:
        raise InvalidInput(f"{what}: {error.message} {error.hint}") from None


def _problems(user: _Written) -> Iterator[str]:
    has_password = bool(user.username and user.password)
    if has_password and user.api_key:
        yield "it has both an APIKey and a Username with its Password; give one of them"
    if not has_password and not user.api_key:
        yield "it has neither an APIKey nor a Username with its Password"
    if user.username and not (_NAME.match(user.username) and len(user.username) <= MOST_NAME):
        yield f"Username has to be 1 to {MOST_NAME} letters and digits"
    if user.password and _HASHED.match(user.password):
        yield "a Password that is hashed by bcrypt is not supported; `tarpon user create` makes a key, kept as a hash"
    if user.password and not LEAST_PASSWORD <= len(user.password) <= MOST_SECRET:
        yield f"Password has to have {LEAST_PASSWORD} to {MOST_SECRET} characters"
    if user.api_key and not LEAST_KEY <= len(user.api_key) <= MOST_SECRET:
        yield f"APIKey has to have {LEAST_KEY} to {MOST_SECRET} characters"


def _twice(key: str, users: Iterable[ApiUser]) -> Iterator[str]:
    seen: set[tuple[str, str]] = set()
    for number, user in enumerate(users):
        names = {("Alias", user.alias.lower()), ("Username", user.username.lower()), ("APIKey", user.api_key.reveal())}
        for field, _ in sorted(pair for pair in names & seen if pair[1]):
            yield f"{key}[{number}]: another user has the same {field}"
        seen |= names
