"""Decoding: plain data, from YAML or JSON, becomes a Struct, and a person is told when it cannot.

Keys of Structs are matched whatever their case, at every level; keys of maps (labels, environments, parameters) stay
as they are. Three leniences, each without loss: a number where a text belongs becomes that text (`CPU: 0.5`,
`PORT: 8080`), a text that is a number counts where a number belongs (`Count: "1"`), and `null` is the same as leaving
the key out, because that is how Go programs write an empty list.
"""

import contextlib
import enum
import re
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec

from shared.data import plain_data
from shared.errors import InvalidDocument

T = TypeVar("T")

_LISTS = (list, tuple, set, frozenset)
_PARAMS = "Params"
"""What a kind of engine, publisher or source has for itself alone."""
_KIND = re.compile(r"[A-Za-z0-9]{1,20}")
_LEVELS = 5
"""No type has more of them that a person writes."""
_INDEX = re.compile(r"\[[0-9]+\]")
MAX_SUGGESTIONS = 100
"""Of one document: further keys that are not known are told without what was probably meant."""
MAX_PROBLEMS = 100
"""Of one document: that there are more is told as well."""
_WORDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
}
_EXPECTED_KIND = re.compile(r"Expected `([^`]+)`, got `[^`]+`")
_EXPECTED_RANGE = re.compile(r"Expected `(?:int|float)` (>=|<=|>|<) (\S+)")
_RANGES = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


class UnknownKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that the type does not have; `suggestion` is the key that was probably meant, or empty.

    `level` is the path below which there is such a key, where it is known at another level.
    """

    path: str
    suggestion: str = ""
    level: str | None = None

    def sentence(self, verdict: str) -> str:
        advice = f"; did you mean {self.suggestion}?" if self.suggestion else ""
        if self.level is not None:
            advice = f"; does it belong {f'below {self.level}' if self.level else 'to the top level'}?"
        return f"{self.path} {verdict}{advice}"


def load_yaml(text: str, *, what: str, twice: list[str] | None = None) -> dict[str, Any]:
    """The mapping in `text`. Raise InvalidDocument, which names `what`; shared/data/yaml_documents.py has the rules."""
    from shared.data.yaml_documents import read_mapping  # most commands read no YAML

    data = read_mapping(text, what=what, twice=twice)
    plain_data.check(data, what=what)
    return data


def load_yaml_documents(text: str, *, what: str, twice: list[str] | None = None) -> list[dict[str, Any]]:
    """As `load_yaml`, of one or several documents."""
    from shared.data.yaml_documents import read_mappings  # as above

    documents = read_mappings(text, what=what, twice=twice)
    plain_data.check(documents, what=what)
    return documents


def canonical(data: Any, type_: Any) -> tuple[Any, list[UnknownKey]]:
    """A copy of `data` with the keys spelled as `type_` spells them and without those that it does not have.

    Raise InvalidDocument where two keys of one Struct differ only in case.
    """
    walk = _Canonical()
    copy = walk.value(data, type_, "")
    if walk.duplicates:
        raise invalid_document("The data", walk.duplicates)
    return copy, walk.unknown


def decode(
    data: Any,
    type_: type[T],
    *,
    what: str,
    unknown: Literal["refuse", "report"],
    strict: bool = False,
    known: Sequence[str] = (),
    beside: "Callable[[T, Collection[str]], Iterable[str]] | None" = None,
) -> tuple[T, tuple[str, ...]]:
    """The value and the warnings. Raise InvalidDocument with every problem and its path in the one message.

    Unknown keys are problems with "refuse"; with "report" they are left out and come back as warnings.
    `strict` switches off that texts count as numbers. Those that do are held to the bounds of numbers.
    Problems that are `known` already are told with those that are found. Where there is one, `beside` may tell more:
    it gets what can be read, and the paths of what cannot.
    """
    kind: Any = type_
    if not known and _is_spelled(data, _spelling(kind)):
        with contextlib.suppress(msgspec.ValidationError):  # the slow way reads texts as numbers, or says what is wrong
            return msgspec.convert(data, type_, strict=True), ()
    walk = _Canonical()
    copy = walk.value(data, type_, "")
    problems = [*known, *walk.duplicates]
    if unknown == "refuse":
        problems += [_with_level(key, kind).sentence("is not known") for key in walk.unknown]
    wrong = list(islice(_wrong(copy, type_, "", strict=strict), MAX_PROBLEMS + 1))
    problems += [part.sentence for part in wrong]
    if problems:
        paths = {part.path for part in wrong}
        readable = _readable(copy, type_, "", paths)
        with contextlib.suppress(msgspec.ValidationError):  # nothing can be read of what lacks a field that it needs
            if beside is not None:
                problems += beside(msgspec.convert(readable, type_, strict=strict), paths | walk.meant)
        raise invalid_document(what, problems)
    found = msgspec.convert(copy, type_, strict=strict)
    plain_data.check(msgspec.to_builtins(found), what=what)
    return found, tuple(_with_level(key, kind).sentence("is not known and was ignored") for key in walk.unknown)


def _with_level(unknown: UnknownKey, type_: Any) -> UnknownKey:
    """Where the key is known at another level, that one: the first below its own, or else the first of all."""
    parent, _, key = unknown.path.rpartition(".")
    own, levels = _INDEX.sub("[0]", parent), _levels(type_)
    known = levels.get(key.lower(), ())
    below = [level for level in known if level.startswith(f"{own}." if own else "")]
    if below:
        return msgspec.structs.replace(unknown, level=parent + below[0].removeprefix(own))
    if known:
        return msgspec.structs.replace(unknown, level=known[0])
    if not unknown.suggestion and own in levels.get(_PARAMS.lower(), ()):
        return msgspec.structs.replace(unknown, level=_below(parent, _PARAMS))
    return unknown


@lru_cache(maxsize=64)
def _levels(type_: Any) -> dict[str, tuple[str, ...]]:
    """By key, in small letters, the paths below which a Struct has it; the shallow ones first."""
    found: dict[str, tuple[str, ...]] = {}
    level: list[tuple[str, Any]] = [("", type_)]
    for _ in range(_LEVELS):
        deeper: list[tuple[str, Any]] = []
        for path, kind in level:
            for name, field in _names(kind).items() if _is_struct(kind) else ():
                found[name] = (*found.get(name, ()), path)
                below, inner = _below(path, field.encode_name), _fitting({}, field.type)
                if get_origin(field.type) in _LISTS:
                    below, inner = f"{below}[0]", _fitting({}, get_args(field.type)[0])
                deeper.append((below, inner))
        level = deeper
    return found


class _Spelling(NamedTuple):
    """What tells whether data is spelled as its type spells it: the `fields` of a Struct, or the `items` of others."""

    fields: "dict[str, _Spelling | None]"
    items: "_Spelling | None" = None


def _is_spelled(data: Any, spelling: _Spelling | None) -> bool:
    """Whether every key of a Struct is exactly right and none is null, as where a program wrote the data."""
    if spelling is None:
        return True
    if spelling.items is not None:
        items = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
        return all(_is_spelled(item, spelling.items) for item in items)
    if not isinstance(data, dict):
        return False
    fields = spelling.fields
    for key, item in data.items():
        if key not in fields or item is None or (fields[key] is not None and not _is_spelled(item, fields[key])):
            return False
    return True


@lru_cache(maxsize=256)
def _spelling(type_: Any) -> _Spelling | None:
    """None where nothing below `type_` is a Struct. Of a union with several kinds of Structs it tells nothing."""
    if get_origin(type_) is Annotated:
        return _spelling(get_args(type_)[0])
    if get_origin(type_) in {Union, types.UnionType}:
        found = [each for each in map(_spelling, get_args(type_)) if each is not None]
        return found[0] if len(found) == 1 else _Spelling({}) if found else None
    if _is_struct(type_):
        return _Spelling({field.encode_name: _spelling(field.type) for field in _names(type_).values()})
    if get_origin(type_) is dict or get_origin(type_) in _LISTS:
        items = _spelling(get_args(type_)[1 if get_origin(type_) is dict else 0])
        return items and _Spelling({}, items)
    return None


def close_match(word: str, names: Iterable[str]) -> str:
    """The one of `names` that `word` was probably meant to be, or nothing."""
    from difflib import get_close_matches  # only for whoever makes a mistake

    by_lower = {name.lower(): name for name in names}
    found = get_close_matches(word.lower(), by_lower, n=1)
    return by_lower[found[0]] if found else ""


def advised(word: str, names: Iterable[str], otherwise: str) -> str:
    """What to say of a `word` that is none of the names: which one was probably meant, or else `otherwise`."""
    meant = close_match(word[:80], names)
    return f"did you mean {meant}?" if meant else otherwise


def kind_of(value: Any) -> str:
    """What a person calls `value`, without showing it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return "a text"
        case int() | float():
            return "a number with a fraction" if value % 1 else "a number"
        case Mapping():
            return "a mapping"
        case _:
            return "a list"


def explain(error: msgspec.ValidationError, value: Any, type_: Any) -> str:
    """In a person's words, why `value` itself is not a `type_`."""
    message = str(error).partition(" - at ")[0]
    if choices := _choices(_fitting(value, type_)):
        return f"must be one of {', '.join(choices)}"
    if found := _EXPECTED_RANGE.match(message):
        return f"must be {_RANGES[found[1]]} {found[2]}"
    if found := _EXPECTED_KIND.match(message):
        kinds = [_WORDS.get(kind, kind) for kind in found[1].split(" | ") if kind != "null"]
        advice = "; write it in quotes" if kinds == ["a text"] and isinstance(value, bool) else ""
        if kinds == ["a mapping"] and isinstance(value, str) and _is_kind(value, type_):
            advice = f"; write {{Type: {value}}}"
        return f"expected {' or '.join(kinds)}, found {kind_of(value)}{advice}"
    return message[:1].lower() + message[1:].replace("`", "")


def _is_kind(text: str, type_: Any) -> bool:
    """Whether this is probably the Type of what is told by its Type and Params."""
    fitting = _fitting({}, type_)
    return _is_struct(fitting) and {"type", "params"} <= _names(fitting).keys() and bool(_KIND.fullmatch(text))


class _Canonical:
    """One walk along data and type, and what it found on the way."""

    def __init__(self) -> None:
        self.unknown: list[UnknownKey] = []
        self.duplicates: list[str] = []
        self.meant: set[str] = set()
        """The paths of keys that are not there, and that unknown ones were probably meant to be."""

    def value(self, data: Any, type_: Any, path: str) -> Any:
        fitting = _fitting(data, type_)
        if isinstance(data, Mapping) and _is_struct(fitting):
            return self._struct(data, fitting, path)
        if isinstance(data, Mapping) and get_origin(fitting) is dict:
            kind = get_args(fitting)[1]
            return {key: self.value(item, kind, _below(path, key)) for key, item in data.items() if item is not None}
        if isinstance(data, list) and get_origin(fitting) in _LISTS:
            return [self.value(item, get_args(fitting)[0], f"{path}[{i}]") for i, item in enumerate(data)]
        if fitting is str and isinstance(data, int | float) and not isinstance(data, bool):
            return str(data)
        return data

    def _struct(self, data: Mapping[str, Any], struct: Any, path: str) -> dict[str, Any]:
        names = _names(struct)
        copy: dict[str, Any] = {}
        suggested: set[str] = set()
        for key, item in data.items():
            field = names.get(str(key).lower())
            if item is None:
                continue
            if field is None:
                suggestion = self._suggestion(str(key), names)
                self.unknown.append(UnknownKey(path=_below(path, key), suggestion=suggestion))
                suggested.add(suggestion)
            elif field.encode_name in copy:
                self.duplicates.append(f"{_below(path, field.encode_name)} is given twice, as keys that differ in case")
            else:
                copy[field.encode_name] = self.value(item, field.type, _below(path, field.encode_name))
        self.meant |= {_below(path, name) for name in suggested - copy.keys() - {""}}
        return copy

    def _suggestion(self, key: str, names: "Mapping[str, msgspec.structs.FieldInfo]") -> str:
        """For the first ones: to look for what was meant takes long, and a person reads no more of them."""
        if len(self.unknown) >= MAX_SUGGESTIONS:
            return ""
        return close_match(key[:80], (name.encode_name for name in names.values()))


def wrong_parts(data: Any, type_: Any, path: str, *, strict: bool) -> list[str]:
    """Why canonical `data` is not a `type_`: each innermost part that is wrong, with its path below `path`."""
    return [part.sentence for part in _wrong(data, type_, path, strict=strict)]


class _Wrong(NamedTuple):
    path: str
    sentence: str


class _Part(NamedTuple):
    key: Any
    value: Any
    type: Any
    path: str


def _wrong(data: Any, type_: Any, path: str, *, strict: bool) -> Iterator[_Wrong]:
    """One after the other: who takes only the first ones does not pay for the rest."""
    try:
        msgspec.convert(data, type_, strict=strict)
    except msgspec.ValidationError as error:
        reason = error
    else:
        return
    fitting, is_whole = _fitting(data, type_), True
    for name in _missing(data, fitting):
        is_whole = False
        yield _Wrong(_below(path, name), f"{_below(path, name)} is missing")
    for part in _parts(data, fitting, path):
        for each in _wrong(part.value, part.type, part.path, strict=strict):
            is_whole = False
            yield each
    if is_whole:
        told = explain(reason, data, type_)
        if path.endswith("Timeout"):
            told = told.replace("a whole number", "a whole number of seconds")
        yield _Wrong(path, f"{path}: {told}" if path else told)


def _readable(data: Any, type_: Any, path: str, wrong: Collection[str]) -> Any:
    """Canonical `data` without its wrong parts. Among Structs in a list an empty one keeps the place of each."""
    parts = list(_parts(data, _fitting(data, type_), path))
    if isinstance(data, list) and parts:
        return [
            {} if part.path in wrong else _readable(part.value, part.type, part.path, wrong)
            for part in parts
            if part.path not in wrong or _is_struct(part.type)
        ]
    if not parts:
        return data
    return {part.key: _readable(part.value, part.type, part.path, wrong) for part in parts if part.path not in wrong}


def _parts(data: Any, fitting: Any, path: str) -> Iterator[_Part]:
    if isinstance(data, Mapping) and _is_struct(fitting):
        for field in _names(fitting).values():
            if (name := field.encode_name) in data:
                yield _Part(name, data[name], field.type, _below(path, name))
    elif isinstance(data, Mapping) and get_origin(fitting) is dict:
        for key, item in data.items():
            yield _Part(key, item, get_args(fitting)[1], _below(path, key))
    elif isinstance(data, list) and get_origin(fitting) in _LISTS:
        for i, item in enumerate(data):
            yield _Part(i, item, get_args(fitting)[0], f"{path}[{i}]")


def _missing(data: Any, fitting: Any) -> list[str]:
    if not (isinstance(data, Mapping) and _is_struct(fitting)):
        return []
    return [field.encode_name for field in _names(fitting).values() if field.required and field.encode_name not in data]


def _fitting(data: Any, type_: Any) -> Any:
    """The part of a union that `data` has the form of, without annotations; where none has, the type as it is."""
    if get_origin(type_) is Annotated:
        return _fitting(data, get_args(type_)[0])
    if get_origin(type_) not in {Union, types.UnionType}:
        return type_
    absent = {type(None), msgspec.UnsetType}
    members = [_fitting(data, member) for member in get_args(type_) if member not in absent]
    return next((member for member in members if _has_form(data, member)), members[0] if len(members) == 1 else type_)


def _has_form(data: Any, member: Any) -> bool:
    if isinstance(data, Mapping):
        return _is_struct(member) or get_origin(member) is dict
    return get_origin(member) in _LISTS if isinstance(data, list) else type(data) is member


def _choices(fitting: Any) -> list[str]:
    if get_origin(fitting) is Literal:
        return [str(choice) for choice in get_args(fitting) if choice != ""]
    if isinstance(fitting, type) and issubclass(fitting, enum.Enum):
        return [str(member.value) for member in fitting]
    return []


@lru_cache(maxsize=256)
def _names(struct: Any) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name.lower(): field for field in msgspec.structs.fields(struct)}


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def _below(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def invalid_document(what: str, problems: Sequence[str]) -> InvalidDocument:
    if len(problems) > MAX_PROBLEMS:
        problems = (*problems[:MAX_PROBLEMS], "there are more problems than these")
    if len(problems) == 1:
        return InvalidDocument(f"{what} is not valid: {problems[0]}", problems=problems)
    listed = "".join(f"\n  - {problem}" for problem in problems)
    return InvalidDocument(f"{what} is not valid:{listed}", problems=problems)
