"""Values of settings: how one from a file, the environment or the command line becomes what is declared."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_origin

import msgspec

from shared.data.decoding import canonical, kind_of, wrong_parts
from shared.data.plain_data import LEAST, MOST
from shared.errors import ConfigurationInvalid, InvalidDuration
from shared.jobs.durations import Duration
from shared.settings.api_users import ApiUsers
from shared.settings.keys import plain_type
from shared.settings.secret import Secret
from shared.settings.sign_in_rules import SignInRules
from shared.settings.tls.declared import FilePath

_TRUTH = {**dict.fromkeys(("true", "yes", "on"), True), **dict.fromkeys(("false", "no", "off"), False)}
_OWN_TYPES = {
    Duration: "a duration such as 90s, 15m or 1h30m",
    Secret: "a text",
    FilePath: "the name of a file",
    Path: "the name of a folder",
}


def setting_value(key: str, given: object, declared: Any, *, home: Path) -> Any:
    """Raise ConfigurationInvalid, whose problems name the key and never a secret, unless `given` fits `declared`.

    Text is converted as the type demands: lists are separated by commas, maps are `name=value,name=value`.
    """
    kind = plain_type(declared)
    if kind in {ApiUsers, SignInRules}:
        return kind.read(key, given)
    if kind in _OWN_TYPES and isinstance(given, int | float) and not isinstance(given, bool):
        given = str(given)
    value = _from_text(key, given, kind, home) if isinstance(given, str) else canonical(given, kind)[0]
    if kind in _OWN_TYPES:
        if not isinstance(value, kind):
            raise ConfigurationInvalid([f"{key}: expected {_OWN_TYPES[kind]}, found {kind_of(given)}"])
        return value
    if problems := wrong_parts(value, declared, key, strict=False):
        raise ConfigurationInvalid(problems)
    found = msgspec.convert(value, declared, strict=False)
    if isinstance(found, int | float) and not LEAST <= found <= MOST:
        raise ConfigurationInvalid([f"{key}: the number is out of range"])
    return found


def expanded(text: str, home: Path) -> str:
    """`text` with a leading `~` replaced."""
    return f"{home}{text[1:]}" if text == "~" or text.startswith("~/") else text


def _from_text(key: str, text: str, kind: Any, home: Path) -> Any:
    converters: dict[Any, Callable[[], object]] = {
        bool: lambda: _TRUTH.get(text.strip().lower(), text),
        int: text.strip,
        tuple: lambda: [item.strip() for item in text.split(",") if item.strip()],
        dict: lambda: _pairs(key, text),
        Literal: text.strip().lower,
        Duration: lambda: _duration(key, text),
        Secret: lambda: Secret(text),
        FilePath: lambda: FilePath(expanded(text, home)),
        Path: lambda: Path(expanded(text, home)),
    }
    convert = converters.get(get_origin(kind) or kind)
    return convert() if convert else text


def _duration(key: str, text: str) -> Duration:
    try:
        return Duration.parse(text)
    except InvalidDuration as error:
        raise ConfigurationInvalid([f"{key}: {error.message} {error.hint}"]) from error


def _pairs(key: str, text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigurationInvalid([f"{key}: expected name=value, found {item!r}"])
        pairs[name.strip()] = value.strip()
    return pairs
