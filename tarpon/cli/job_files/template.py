"""Templates: variables of a job file are filled in by a part of Go's templates, as job files of Bacalhau use it.

It is written here, because the libraries that do it need a compiler for Go when they are installed, or are new and set
no bounds to a template: tarpon/cli/job_files/template_syntax.py reads it,
tarpon/cli/job_files/template_evaluation.py carries it out.
"""

import functools
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import click

from shared.errors import InvalidDocument

Template = Callable[[str, str], str]
"""Gives the text with its variables replaced; the second argument names it in errors."""

_MAX_NAME = 60
_HINT = "--no-template leaves everything in braces as it is."


def filled(text: str, values: Mapping[str, str], *, what: str) -> str:
    """Raise InvalidDocument, with every problem and its line, where braces hold what cannot be filled in."""
    from tarpon.cli.job_files.template_evaluation import Evaluation, TooMuch  # most job files have no braces
    from tarpon.cli.job_files.template_syntax import TemplateProblem, parsed

    evaluation = Evaluation(values)
    try:
        found, problems = evaluation.text(parsed(text)), tuple(evaluation.problems)
    except TemplateProblem as problem:
        found, problems = "", (str(problem),)
    except TooMuch:
        raise InvalidDocument(f"{what} is a template that goes on for too long, or of which too much comes.") from None
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise InvalidDocument(f"{what} is a template that cannot be filled in:{listed}", hint=_HINT)
    return found


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
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE.", param_hint="-V")
    _check_utf8(name, value, option="-V")
    return name, value


def _from_environment(pattern: str | None, env: Mapping[str, str]) -> dict[str, str]:
    if not pattern:
        return {}
    try:
        wanted = re.compile(".*" if pattern == "*" else pattern)
    except re.error as error:
        raise click.BadParameter(f"{pattern!r} is not a regular expression: {error}.", param_hint="-E") from error
    found = {name: value for name, value in env.items() if wanted.fullmatch(name)}
    for name, value in found.items():
        _check_utf8(name, value, option="-E")
    return found


def _check_utf8(name: str, value: str, *, option: str) -> None:
    try:
        f"{name}{value}".encode()
    except UnicodeEncodeError:
        shown = os.fsencode(name).decode(errors="replace")[:_MAX_NAME]
        raise click.BadParameter(f"The value of {shown}, or its name, is not UTF-8 text.", param_hint=option) from None
