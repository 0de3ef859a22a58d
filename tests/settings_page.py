"""How docs/settings.md is made from the settings: `python -m tests.settings_page` writes it (no tests in here)."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from shared.jobs.durations import Duration
from shared.settings.api_users import ApiUsers
from shared.settings.keys import Setting, environment_name, plain_type, settings
from shared.settings.secret import Secret
from shared.settings.sign_in_rules import SignInRules
from shared.settings.tls.declared import FilePath

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"

_HEAD = """\
# Settings

`make docs` makes this page from [shared/settings/config.py](../shared/settings/config.py).

A setting is given with `-c KEY=VALUE`, in the environment (`API.Port` is `TARPON_API_PORT`), or in a YAML file, where
the parts of its key are nested; that is the order of precedence. `-c FILE` names a file; without one,
`<DataDir>/config.yaml` is read if it exists. Keys may be written in any case. On the command line and in the
environment lists are separated by commas, and maps are written `name=value,name=value`. Durations are written as `90s`,
`15m` or `1h30m`. `tarpon config list` shows the present values and where they come from.

| key | type | default | meaning |
|-----|------|---------|---------|
"""

_NAMES: dict[Any, str] = {
    bool: "yes or no",
    int: "number",
    str: "text",
    tuple: "list",
    dict: "map",
    Duration: "duration",
    FilePath: "file",
    Path: "folder",
    Secret: "secret",
    ApiUsers: "list of users",
    SignInRules: "list of rules",
}


def page() -> str:
    """The whole text of the page."""
    return _HEAD + "".join(_row(setting) for setting in settings())


def _row(setting: Setting) -> str:
    cells = (f"`{setting.key}`", _kind(setting.type), _default(setting.default), setting.description)
    return f"| {' | '.join(cells)} |\n"


def _kind(declared: Any) -> str:
    plain = plain_type(declared)
    if get_origin(plain) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(plain))
    return _NAMES[get_origin(plain) or plain]


def _default(default: object) -> str:
    match msgspec.to_builtins(default, enc_hook=str):
        case bool():
            text = str(default).lower()
        case list(parts) | tuple(parts):
            text = ",".join(parts)
        case dict(parts):
            text = ",".join(f"{name}={part}" for name, part in parts.items())
        case other:
            text = str(other)
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    assert environment_name("API.Port") == "TARPON_API_PORT", "the page's head names it"
    PAGE.write_text(page(), encoding="utf-8")
