"""Hostile attempts: each has a name that says what is tried, and does it; what it got is judged afterwards (no tests).

Everything of the team that is attacked is called something with `hush` or has an id of the stage. So what an attempt
got is a gain where it holds such a word that the attempt did not say itself, a signed URL, or a secret.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import pytest

if TYPE_CHECKING:
    from tests.integration.orchestrator.hostile.stage import Stage

_HUSH = re.compile(r"hush[\w-]*")
_SIGNED = "X-Amz-Signature"
FORGED = "forged"
"""Is in whatever an attempt would have others take for genuine."""


class Loot:
    """What one attempt said, what it got, and what it gained beyond that."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets
        self._said: list[str] = []
        self._got: list[str] = []
        self._gains: list[str] = []

    def say(self, *things: object) -> None:
        for said in map(_text, things):
            self._said += (said, unquote(said))

    def get(self, *things: object) -> None:
        self._got += map(_text, things)

    def gain(self, what: str, *happened: object) -> None:
        """There is one, if all of this happened."""
        if all(happened):
            self._gains.append(what)

    def gains(self) -> list[str]:
        """In words, none of which repeats a secret."""
        said, got = "\n".join(self._said), "\n".join(self._got)
        named = {word for word in _HUSH.findall(got) if not re.search(rf"\b{re.escape(word)}(?![\w-])", said)}
        known = [name for name, word in self._secrets.items() if word in got and word not in said]
        signed = ["a signed URL"] if _SIGNED in got and _SIGNED not in said else []
        return [*self._gains, *sorted(named), *known, *signed]


def _text(thing: object) -> str:
    match thing:
        case bytes():
            return thing.decode(errors="replace")
        case str():
            return thing
        case _:
            return json.dumps(thing, default=str)


Act = Callable[["Stage", Loot], Awaitable[None]]


class Attempt(NamedTuple):
    name: str
    act: Act

    def __repr__(self) -> str:
        return self.name


class Attempts:
    """Those of one kind of attacker."""

    def __init__(self, who: str) -> None:
        self.who = who
        self._made: list[Attempt] = []

    def __iter__(self) -> Iterator[Attempt]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)

    def add(self, *attempts: tuple[str, Act]) -> None:
        self._made += [Attempt(name, act) for name, act in attempts]

    def named(self, name: str) -> Callable[[Act], Act]:
        """For an attempt that is a story of its own."""

        def take(act: Act) -> Act:
            self.add((name, act))
            return act

        return take

    def each(self) -> pytest.MarkDecorator:
        """One test for each of them."""
        return pytest.mark.parametrize("attempt", list(self._made), ids=[each.name for each in self._made])


def filled(thing: Any, words: Mapping[str, str]) -> Any:
    """The same with `{word}` replaced in each text of it."""
    match thing:
        case str():
            return re.sub(r"\{(\w+)\}", lambda found: words[found[1]], thing)
        case dict():
            return {filled(key, words): filled(value, words) for key, value in thing.items()}
        case list() | tuple():
            return [filled(each, words) for each in thing]
        case _:
            return thing
