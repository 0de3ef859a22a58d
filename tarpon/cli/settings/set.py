"""The command `tarpon config set`: which setting and which file are meant."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shared.errors import ConfigurationInvalid
from tarpon.cli.console import completed_names
from tarpon.cli.console.commands import Command, given

if TYPE_CHECKING:
    from shared.settings.keys import Setting
    from tarpon.cli.settings.yaml_editing import Plain


@click.command("set", cls=Command)
@click.argument("key", metavar="KEY[=VALUE]", shell_complete=completed_names.settings)
@click.argument("value", required=False, metavar="[VALUE]")
def set_setting(key: str, value: str | None) -> None:
    """Write a setting into config.yaml in DataDir, or into the file that -c names, and leave all else there as it is.

    \b
    tarpon config set API.Port=4321
    tarpon config set -c orchestrator.yaml Publishers.Types.S3Managed.Bucket my-bucket
    """  # noqa: D301  # click wants the character
    setting, text = _asked(key, value)
    path = _file(given().sets)

    from tarpon.cli.settings.config_file import write_setting

    still_wrong = write_setting(path, setting.key, _plain(setting, text), os.environ)
    click.echo(f"Writing config to {path}", err=True)
    for problem in still_wrong:
        click.echo(f"Warning: still wrong in this file: {problem}", err=True)


def _asked(key: str, value: str | None) -> "tuple[Setting, str]":
    """The setting and the text of its value. Raises ConfigurationInvalid, with a suggestion for an unknown key."""
    from shared.settings.keys import plain_type, settings, unsupported
    from shared.settings.loading import load

    if value is None:
        key, equals, rest = key.partition("=")
        value = rest if equals else None
    key = key.strip().removesuffix("=")  # completion writes it, and a blank may come after
    setting = next((each for each in settings() if each.key.lower() == key.lower()), None)
    if setting is None:
        if foreign := unsupported(key):
            raise ConfigurationInvalid([f"{foreign} is not supported by Tarpon and was not written"])
        load(sets=[f"{key}=x"], env={}, default_file=False)  # it knows what was probably meant
        raise ConfigurationInvalid([f"{key} is not a setting"])
    if value is None and plain_type(setting.type) is not bool:
        raise click.UsageError(f"{setting.key} has no value; write: tarpon config set {setting.key}=VALUE")
    return setting, "true" if value is None else value


def _plain(setting: "Setting", text: str) -> "Plain":
    """The value as YAML has it. Raises ConfigurationInvalid where it does not fit the setting."""
    from shared.settings.values import setting_value

    match setting_value(setting.key, text, setting.type, home=Path("~")):
        case bool() | dict() as value:
            return value
        case tuple() as items:
            return list(items)
        case int() as number:
            return number
        case _:
            return text.strip()  # as it was written, such as 90s or ~/data


def _file(sets: list[str]) -> Path:
    """The last file that -c names, or the default one, whose folder is made if needed."""
    from shared.settings.loading import DEFAULT_FILE, load

    files = [text for text in sets if text.endswith((".yaml", ".yml")) and "=" not in text]
    pairs = [text for text in sets if text not in files]
    for pair in pairs:
        if pair.partition("=")[0].strip().lower() != "datadir":
            raise click.UsageError(f"-c {pair}: here -c names a .yaml file, or DataDir=..., and the setting has no -c.")
    if files:
        return Path(files[-1]).expanduser().absolute()
    data_dir = load(sets=pairs, env=os.environ, default_file=False, check_publisher=False).config.data_dir
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return data_dir / DEFAULT_FILE
