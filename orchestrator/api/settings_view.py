"""The settings as they are shown: one mapping for each part of a key, without any secret."""

import re
from typing import Any

from shared.settings.config import Config
from shared.settings.keys import values
from shared.settings.secret import HIDDEN

_USER_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def shown_settings(config: Config) -> dict[str, Any]:
    """Secrets are hidden, also where they are the user and password of a URL."""
    shown: dict[str, Any] = {}
    for key, value in values(config).items():
        *sections, name = key.split(".")
        section = shown
        for each in sections:
            section = section.setdefault(each, {})
        section[name] = _without_secrets(value)
    return shown


def _without_secrets(value: Any) -> Any:
    match value:
        case str():
            return _USER_IN_URL.sub(HIDDEN, value)
        case list() | tuple():
            return [_without_secrets(item) for item in value]
        case dict():
            return {name: _without_secrets(item) for name, item in value.items()}
        case _:
            return value
