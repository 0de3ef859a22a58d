"""How {{.Name}} in a job file is replaced: the one part of Go's templates that job files of Bacalhau mostly use."""

import functools
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import click

from shared.errors import InvalidDocument

Template = Callable[[str, str], str]
"""Gives the text with its variables replaced; the second argument names it in errors."""

_ACTION = re.compile(r"\{\{(?:(.*?)\}\})?")
_VARIABLE = re.compile(r"\s*\.([A-Za-z_][A-Za-z0-9_]*)\s*")
_HINT = "--no-template leaves everything in braces as it is."


def filled(text: str, values: Mapping[str, str], *, what: str) -> str:
    """Raise InvalidDocument, with every problem, where braces hold no variable or one that has no value."""
    problems: dict[str, None] = {}

    def value(found: re.Match[str]) -> str:
        variable = _VARIABLE.fullmatch(found[1] or "")
        if variable is None:
            problems[f"{found[0][:60]} is not {{{{.Name}}}}, and Tarpon knows no more of templates"] = None
        elif variable[1] not in values:
            problems[f"{found[0][:60]} has no value; give it with -V {variable[1]}=..."] = None
        else:
            return values[variable[1]]
        return ""

    replaced = _ACTION.sub(value, text)
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise InvalidDocument(f"{what} is a template that cannot be filled in:{listed}", hint=_HINT)
    return replaced


def template_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of templates; its function gets what they say as `template`."""

    @functools.wraps(function)
    def command(*, template_vars: tuple[str, ...], template_envs: str | None, no_template: bool, **others: Any) -> Any:
        values = _from_environment(template_envs, os.environ) | dict(map(_pair, template_vars))

        def template(text: str, what: str) -> str:
            return text if no_template or "{{" not in text else filled(text, values, what=what)

        return function(template=template, **others)

    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option("-V", "--template-vars", multiple=True, metavar="NAME=VALUE", help="What {{.NAME}} stands for."),
    click.option("-E", "--template-envs", metavar="REGEX", help="Which environment variables {{.NAME}} may stand for."),
    click.option("--no-template", is_flag=True, help="Leave {{ as it is."),
)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not _VARIABLE.fullmatch(f".{name}"):
        raise click.BadParameter(f"{text!r} is not NAME=VALUE.", param_hint="-V")
    return name, value


def _from_environment(pattern: str | None, env: Mapping[str, str]) -> dict[str, str]:
    if not pattern:
        return {}
    try:
        wanted = re.compile(".*" if pattern == "*" else pattern)
    except re.error as error:
        raise click.BadParameter(f"{pattern!r} is not a regular expression: {error}.", param_hint="-E") from error
    return {name: value for name, value in env.items() if wanted.fullmatch(name)}
