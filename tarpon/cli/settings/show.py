"""The group `tarpon config ...`, and the command that shows which settings hold and where they come from."""

import click
import msgspec

from shared.settings.keys import settings, values
from tarpon.cli.console.commands import Group, given
from tarpon.cli.console.output import output_option, show, table


class SettingView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    key: str
    value: object
    origin: str
    description: str


_LAZY = {"set": ("tarpon.cli.settings.set:set_setting", "Write a setting into a configuration file.")}


@click.group(cls=Group, lazy=_LAZY)
def config() -> None:
    """Show settings and where they come from; change them."""


@config.command("list")
@output_option
def list_settings(output: str) -> None:
    """List every setting, its value and where it comes from. Secrets stay hidden."""
    loaded = given().load()
    now = values(loaded.config)
    views = [
        SettingView(
            key=setting.key,
            value=now[setting.key],
            origin=loaded.origins[setting.key],
            description=setting.description,
        )
        for setting in settings()
    ]
    show(views, output, lambda: table(["KEY", "VALUE", "ORIGIN"], [[v.key, _text(v.value), v.origin] for v in views]))


def _text(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case list() | tuple() | dict():
            return msgspec.json.encode(value).decode() if value else ""
        case _:
            return str(value)
