"""The conditions of `tarpon job list` as they are typed: what is none is refused before anybody is asked."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from shared.jobs.states import JobState

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    TextType = click.ParamType[str]
else:
    TextType = click.ParamType  # with earlier releases of click it takes no arguments

NOT_ZERO = "nonzero"
_STATES = tuple(state.value for state in JobState)
_CODE = re.compile(r"-?[0-9]{1,10}", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,6}d", re.ASCII)
_SECONDS = re.compile(r"(?![0-9]{8}\Z)[0-9]+(?:\.[0-9]+)?", re.ASCII)
"""Since 1970; eight digits are a date without its hyphens."""


class States(TextType):
    """States of jobs, in any case, with commas between them."""

    name = "states"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return ",".join(self._state(word, param, ctx) for word in _words(value))

    def _state(self, word: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        known = next((state for state in _STATES if state.lower() == word.lower()), "")
        if not known:
            from shared.data.decoding import close_match

            meant = close_match(word[:80], _STATES)
            advice = f"; did you mean {meant}? There" if meant else "; there"
            self.fail(f"{word[:80]!r} is not a state of a job{advice} are {', '.join(_STATES)}.", param, ctx)
        return known

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG002  # click's
        """The last of those with commas between them."""
        from click.shell_completion import CompletionItem

        before, comma, last = incomplete.rpartition(",")
        given = {word.lower() for word in before.split(",")}
        return [
            CompletionItem(f"{before}{comma}{state}")
            for state in _STATES
            if state.lower().startswith(last.lower()) and state.lower() not in given
        ]


class ExitCodes(TextType):
    """Exit codes, or the word for all but 0, with commas between them."""

    name = "exit codes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        for word in _words(value):
            if word.lower() != NOT_ZERO and not _CODE.fullmatch(word):
                self.fail(f"{word[:80]!r} is not an exit code; give a number, such as 1, or {NOT_ZERO}.", param, ctx)
        return str(value)


class Since(TextType):
    """A length of time until now, or a moment: as the orchestrator understands it."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).strip()
        if not text or _LENGTH.fullmatch(text) or _SECONDS.fullmatch(text) or _is_length(text):
            return text
        try:
            return _moment(text).isoformat().replace("+00:00", "Z")
        except (ValueError, OverflowError):
            self.fail(
                f"{text[:80]!r} is neither a length of time, such as 30m, 12h or 7d, nor a date or a time, such as"
                " 2026-01-31, 2026-01-31T12:00 or 2026-01-31T12:00:00Z.",
                param,
                ctx,
            )


def _is_length(text: str) -> bool:
    from shared.errors import InvalidDuration
    from shared.jobs.durations import parse_duration

    try:
        parse_duration(text)
    except InvalidDuration:
        return False
    return True


def _moment(text: str) -> datetime:
    """A date is its midnight, and what names no time zone is the local time of this machine."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _words(value: Any) -> Iterator[str]:
    """What stands between commas."""
    return (word for each in str(value).split(",") if (word := each.strip()))
