"""Rules of sign-in: which claims of a token give which capabilities in which namespaces.

The first rule counts whose conditions all hold. So nobody gets, by two rules together, what neither gives: the
capabilities of one in the namespaces of the other.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from shared.data.decoding import decode
from shared.errors import ConfigurationInvalid, InvalidInput
from shared.jobs.namespaces import checked_namespaces
from shared.protocol.capabilities import checked_capabilities

MOST_RULES, MOST_CONDITIONS, MOST_TEXT = 1000, 16, 1024
SCOPE = "scope"
"""The one claim whose text is a list, with spaces between (RFC 8693, section 4.2)."""

Claim = str | int | bool


class ClaimCondition(msgspec.Struct, frozen=True, kw_only=True):
    """Holds where the claim at `path` is `value`, or fits `pattern`, or is a list that has such an item."""

    path: tuple[str, ...]
    value: Claim | None = None
    pattern: str = ""

    def holds(self, claims: Mapping[str, Any]) -> bool:
        found: Any = claims
        for name in self.path:
            if not isinstance(found, dict) or name not in found:
                return False
            found = found[name]
        if isinstance(found, str) and self.path == (SCOPE,):
            found = found.split(" ")
        return any(map(self._fits, found)) if isinstance(found, list) else self._fits(found)

    def _fits(self, found: object) -> bool:
        if self.value is None:
            return isinstance(found, str) and fits(self.pattern, found)
        return type(found) is type(self.value) and found == self.value

    def shown(self) -> dict[str, Any]:
        claim: Any = self.path[0] if len(self.path) == 1 else list(self.path)
        return {"Claim": claim} | ({"Pattern": self.pattern} if self.value is None else {"Value": self.value})


class SignInRule(msgspec.Struct, frozen=True, kw_only=True):
    """Of no capabilities where it shuts out."""

    conditions: tuple[ClaimCondition, ...]
    capabilities: tuple[str, ...]
    namespaces: tuple[str, ...]

    def holds(self, claims: Mapping[str, Any]) -> bool:
        return all(each.holds(claims) for each in self.conditions)

    @property
    def refuses(self) -> bool:
        return not self.capabilities

    def shown(self) -> dict[str, Any]:
        """As in the configuration."""
        told: dict[str, Any] = {"Match": [each.shown() for each in self.conditions]}
        if self.refuses:
            return told | {"Refuse": True}
        return told | {"Capabilities": [{"Actions": list(self.capabilities)}], "Namespaces": list(self.namespaces)}


class SignInRules:
    """The value of API.Auth.Oauth2.Rules, in the order in which they are asked."""

    __slots__ = ("rules",)

    def __init__(self, rules: Iterable[SignInRule] = ()) -> None:
        self.rules = tuple(rules)

    @classmethod
    def read(cls, key: str, given: object) -> "SignInRules":
        """Of a list of mappings, or its text in JSON. Raises ConfigurationInvalid with every problem."""
        if isinstance(given, str):
            try:
                given = json.loads(given or "[]")
            except ValueError:
                raise ConfigurationInvalid([f"{key}: this is no list of rules in JSON"]) from None
        if not isinstance(given, list):
            raise ConfigurationInvalid([f"{key}: expected a list of rules, each with Match and Capabilities"])
        if len(given) > MOST_RULES:
            raise ConfigurationInvalid([f"{key}: there are {len(given):,} rules; at most {MOST_RULES:,} are possible"])
        problems: list[str] = []
        rules: list[SignInRule] = []
        for number, each in enumerate(given):
            try:
                rules.append(_rule(each, f"{key}[{number}]"))
            except InvalidInput as error:
                problems.append(error.message)
        if problems:
            raise ConfigurationInvalid(problems)
        return cls(rules)

    def first(self, claims: Mapping[str, Any]) -> SignInRule | None:
        """The rule that counts; None where none does."""
        return next((each for each in self.rules if each.holds(claims)), None)

    def shown(self) -> list[dict[str, Any]]:
        return [each.shown() for each in self.rules]

    def __bool__(self) -> bool:
        return bool(self.rules)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SignInRules) and self.rules == other.rules

    def __hash__(self) -> int:
        return hash(self.rules)

    def __str__(self) -> str:
        return f"{len(self.rules)} rules"

    def __repr__(self) -> str:
        return f"<SignInRules, {len(self.rules)} of them>"


def fits(pattern: str, text: str) -> bool:
    """Whether the whole text fits, `*` being any number of characters. The time is that of reading both, whatever."""
    first, *middle = pattern.split("*")
    if not middle:
        return text == pattern
    *middle, last = middle
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for each in middle:
        found = text.find(each, at, end)
        if found < 0:
            return False
        at = found + len(each)
    return True


class _Actions(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    actions: tuple[str, ...] = ()


class _Condition(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    claim: str | tuple[str, ...]
    value: Claim | None = None
    pattern: str = ""


class _Written(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    match: tuple[_Condition, ...] = ()
    capabilities: tuple[_Actions, ...] = ()
    namespaces: tuple[str, ...] = ()
    refuse: bool = False


def _rule(given: object, what: str) -> SignInRule:
    written = decode(given, _Written, what=what, unknown="refuse")[0]
    if problem := next(_problems(written), ""):
        raise InvalidInput(f"{what}: {problem}")
    words = [word for each in written.capabilities for word in each.actions]
    try:
        return SignInRule(
            conditions=tuple(map(_condition, written.match)),
            capabilities=() if written.refuse else checked_capabilities(words),
            namespaces=() if written.refuse else checked_namespaces(written.namespaces),
        )
    except InvalidInput as error:
        raise InvalidInput(f"{what}: {error.message} {error.hint}") from None


def _condition(written: _Condition) -> ClaimCondition:
    path = (written.claim,) if isinstance(written.claim, str) else written.claim
    return ClaimCondition(path=path, value=written.value, pattern=written.pattern)


def _problems(rule: _Written) -> Iterator[str]:
    if not rule.match:
        yield "it has no Match; {Claim: sub, Pattern: '*'} is everybody who has a token"
    if len(rule.match) > MOST_CONDITIONS:
        yield f"Match has more than {MOST_CONDITIONS} conditions"
    for each in rule.match:
        yield from _condition_problems(each)
    if rule.refuse and (rule.capabilities or rule.namespaces):
        yield "it has Refuse beside Capabilities or Namespaces; a rule either lets in or shuts out"
    if not rule.refuse and not rule.namespaces:
        yield "it has no Namespaces; ['*'] is all of them"


def _condition_problems(each: _Condition) -> Iterator[str]:
    if not each.claim or (isinstance(each.claim, tuple) and not all(each.claim)):
        yield "a condition has no Claim: its name, or the list of names that leads to it"
    if (each.value is None) == (not each.pattern):
        yield "a condition has to have a Value or a Pattern, and not both"
    if each.value == "":
        yield "a condition has an empty Value"
    if len(each.pattern) > MOST_TEXT or len(str(each.value)) > MOST_TEXT:
        yield f"a Value or Pattern has more than {MOST_TEXT:,} characters"
