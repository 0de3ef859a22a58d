"""YAML text as plain data: nothing executed, nothing guessed, nothing unbounded.

PyYAML gives the events and this module gives them meaning, in order to be stricter and more predictable than YAML 1.1:
- `true`, `false`, `null`, `~` and numbers are what they look like; `yes`, `on`, dates, `012` and `12:30:00` are text.
- A number that would be written back differently (`1.10`, `1e3`) stays text, so that a version or a commit given where
  a text belongs is not changed. JSON is read by the same rules.
- Keys are text, and one that is given twice in a mapping is an error. Anchors, aliases and `<<` work; what they
  expand to is bounded. Tags that name types are refused.
"""

import contextlib
import re
from typing import Any

import yaml

from shared.errors import InvalidDocument

LARGEST_WEIGHT = 100_000  # one for each value, and one more for each 1000 characters, with the aliases written out
DEEPEST = 100
MOST_TWICE = 20
"""As many keys are told that are given twice."""

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_INTEGER = re.compile(r"-?[1-9][0-9]{0,18}|0")
_DECIMAL = re.compile(r"-?(?:[1-9][0-9]{0,18}|0)\.[0-9]{1,18}")
_TEXT_TAGS = {"tag:yaml.org,2002:str", "!"}
_COLLECTION_TAGS = {None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_mapping(text: str, *, what: str, twice: list[str] | None = None) -> dict[str, Any]:
    """The mapping that `text` holds. Raise InvalidDocument, which names `what` and the place, unless it is just one.

    With `twice` a key that is given twice is told there instead, with its place, and what it said last counts.
    """
    return _built(text, what, twice).mapping()


def read_mappings(text: str, *, what: str, twice: list[str] | None = None) -> list[dict[str, Any]]:
    """As `read_mapping`, of one or several documents with `---` between them. Those that are empty do not count."""
    return _built(text, what, twice).mappings()


def _built(text: str, what: str, twice: list[str] | None) -> "_Builder":
    text = text.removeprefix("\ufeff")
    try:
        return _read(text, what, _LOADER, twice)
    except yaml.MarkedYAMLError as error:
        _refuse_what_goes_too_deep(text, what)
        raise InvalidDocument(f"{what} cannot be read{_place(error.problem_mark)}: {_problem(error, text)}.") from error
    except (yaml.YAMLError, UnicodeError) as error:
        reason = str(error).partition("\n")[0]
        raise InvalidDocument(f"{what} cannot be read as text: {reason}.") from error


def _read(text: str, what: str, loader: Any, twice: list[str] | None) -> "_Builder":
    builder = _Builder(what, twice)
    for event in yaml.parse(text, Loader=loader):
        builder.take(event)
    return builder


def _refuse_what_goes_too_deep(text: str, what: str) -> None:
    """Say that nesting is too deep where libyaml, which reads ahead, has met another problem before.

    Newer releases of it have a bound of their own, told in other words. The parser in Python has none and hands over
    each event as it is read, so that ours comes first.
    """
    with contextlib.suppress(yaml.YAMLError, UnicodeError):
        _read(text, what, yaml.SafeLoader, [])


class _Open:
    """A list or mapping of which the end has not been read yet."""

    __slots__ = ("anchor", "inherited", "key", "values", "weight")

    def __init__(self, values: list[Any] | dict[str, Any], anchor: str | None) -> None:
        self.values = values
        self.anchor = anchor
        self.key: str | None = None
        self.inherited: list[dict[str, Any]] = []
        self.weight = 1

    def wants_key(self) -> bool:
        return isinstance(self.values, dict) and self.key is None

    def finished(self) -> list[Any] | dict[str, Any]:
        """The values with those that `<<` brought: own ones win, then the first named ones."""
        if isinstance(self.values, list) or not self.inherited:
            return self.values
        merged: dict[str, Any] = {}
        for source in reversed(self.inherited):
            merged |= source
        return merged | self.values


class _Builder:
    """Takes the events of a text in order and holds what they mean; without recursion, so depth costs nothing."""

    def __init__(self, what: str, twice: list[str] | None) -> None:
        self._what = what
        self._twice = twice
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._documents: list[Any] = []
        self._weight = 0

    def mapping(self) -> dict[str, Any]:
        match self._documents:
            case [dict() as mapping]:
                return mapping
            case [] | [None]:
                raise InvalidDocument(f"{self._what} is empty.")
            case [list()]:
                kind = "a list"
            case [_]:
                kind = "a single value"
            case _:
                raise InvalidDocument(f"{self._what} holds more than one document; keep one and no `---` after it.")
        raise InvalidDocument(f"{self._what} is {kind}, not a mapping of names to values.")

    def mappings(self) -> list[dict[str, Any]]:
        found = [each for each in self._documents if each is not None]
        if len(found) < 2:
            self._documents = found
            return [self.mapping()]
        for number, each in enumerate(found, 1):
            if not isinstance(each, dict):
                raise InvalidDocument(f"Document {number} of {self._what} is not a mapping of names to values.")
        return found

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self._anchors.clear()
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.MappingStartEvent():
                self._begin({}, event)
            case yaml.SequenceStartEvent():
                self._begin([], event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                done = self._open.pop()
                self._put(done.finished(), done.weight, done.anchor, event)
            case _:  # the beginning and the end of the stream, and the end of a document, carry nothing
                return

    def _scalar(self, event: Any) -> None:
        if self._open and self._open[-1].wants_key():
            self._take_key(event)
            return
        weight = 1 + len(event.value) // 1000
        self._grow(weight)
        self._put(self._meaning(event), weight, event.anchor, event)

    def _take_key(self, event: Any) -> None:
        top = self._open[-1]
        if event.value in top.values and event.value != "<<":
            problem = f"the key {event.value[:80]!r} is given twice in one mapping"
            if self._twice is None:
                raise self._error(event, problem)
            if len(self._twice) < MOST_TWICE:
                self._twice.append(f"{problem[0].upper()}{problem[1:]}{_place(event.start_mark)}")
        if event.anchor is not None:
            self._anchors[event.anchor] = (event.value, 1)
        top.key = event.value

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise self._error(event, f"the alias *{event.anchor} refers to nothing that ends before it")
        value, weight = self._anchors[event.anchor]
        self._grow(weight)
        self._put(value, weight, None, event)

    def _begin(self, values: list[Any] | dict[str, Any], event: Any) -> None:
        if event.tag not in _COLLECTION_TAGS:
            raise self._error(event, f"the tag {event.tag[:80]!r} is not supported")
        if self._open and self._open[-1].wants_key():
            raise self._error(event, "a key must be a text; quote a value that begins with a brace or bracket")
        if len(self._open) >= DEEPEST:
            raise self._error(event, f"lists and mappings are nested more than {DEEPEST} deep")
        self._grow(1)
        self._open.append(_Open(values, event.anchor))

    def _put(self, value: Any, weight: int, anchor: str | None, event: Any) -> None:
        if anchor is not None:
            self._anchors[anchor] = (value, weight)
        if not self._open:
            self._documents.append(value)
            return
        top = self._open[-1]
        top.weight += weight
        if isinstance(top.values, list):
            top.values.append(value)
        elif top.key is None:
            raise self._error(event, "a key must be a text written out, not an alias")
        else:
            key, top.key = top.key, None
            if key == "<<":
                top.inherited += self._sources(value, event)
            else:
                top.values[key] = value

    def _sources(self, value: Any, event: Any) -> list[dict[str, Any]]:
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            raise self._error(event, "`<<` takes a mapping or a list of mappings")
        return sources

    def _meaning(self, event: Any) -> str | int | float | bool | None:
        text: str = event.value
        plain, _ = event.implicit
        if not plain:
            if event.tag is not None and event.tag not in _TEXT_TAGS:
                raise self._error(event, f"the tag {event.tag[:80]!r} is not supported")
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            return int(text)
        if _DECIMAL.fullmatch(text) and repr(float(text)) == text:
            return float(text)
        return text

    def _grow(self, weight: int) -> None:
        self._weight += weight
        if self._weight > LARGEST_WEIGHT:
            raise InvalidDocument(
                f"{self._what} is too large: more than {LARGEST_WEIGHT:,} values once its aliases are written out."
            )

    def _error(self, event: Any, problem: str) -> InvalidDocument:
        return InvalidDocument(f"{self._what} cannot be read{_place(event.start_mark)}: {problem}.")


def _place(mark: Any) -> str:
    return "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"


def _problem(error: yaml.MarkedYAMLError, text: str) -> str:
    if error.problem_mark is not None and _character(text, error.problem_mark) == "\t":
        return "a tab stands where only spaces may indent"
    if "expected" in str(error.problem) and "block" in str(error.context):
        return "this line, or one before it, is indented otherwise than its neighbours, or lacks a colon or a quote"
    return f"{error.problem} {error.context or ''}".strip()


def _character(text: str, mark: Any) -> str:
    lines = text.splitlines()
    return lines[mark.line][mark.column : mark.column + 1] if mark.line < len(lines) else ""
