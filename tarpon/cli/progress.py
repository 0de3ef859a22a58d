"""How live progress looks on stderr: one line for each thing that happens to a job, and how far a download is."""

import shutil
import sys
import textwrap
import time
from datetime import UTC, datetime

import click

from shared.ids import short
from shared.rest import HistoryItem
from tarpon.cli.output import moment, printable, size

_LAYOUT = "{:<8}  {:<10}  {:<20}  {}"
_INDENT = 8 + 2 + 10 + 2 + 20 + 2
_LEAST_TEXT = 30
_DRAW_SECONDS = 0.2


def heading() -> str:
    return _LAYOUT.format("TIME", "EXEC. ID", "TOPIC", "EVENT")


def event_line(item: HistoryItem, *, now: datetime, width: int = 0) -> str:
    """One event, wrapped to `width` columns unless that is 0."""
    message = " ".join(printable(item.event.message).split())
    if width:
        lines = textwrap.wrap(message, max(_LEAST_TEXT, width - _INDENT)) or [""]
        message = f"\n{' ' * _INDENT}".join(lines)
    when = moment(item.event.timestamp, now)
    return _LAYOUT.format(when, short(item.execution_id), printable(item.event.topic), message).rstrip()


class EventLines:
    """Writes events to stderr as they come, with a heading before the first."""

    def __init__(self) -> None:
        self._begun = False

    def write(self, item: HistoryItem) -> None:
        if not self._begun:
            click.echo(click.style(heading(), bold=True), err=True)
            self._begun = True
        width = shutil.get_terminal_size().columns if sys.stderr.isatty() else 0
        line = event_line(item, now=datetime.now(UTC), width=width)
        click.echo(click.style(line, fg="red") if item.event.is_error else line, err=True)


class DownloadLine:
    """Keeps one line of a terminal's stderr up to date; writes nothing where stderr is no terminal."""

    def __init__(self) -> None:
        self._drawn_at = 0.0
        self._is_terminal = sys.stderr.isatty()

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        now = time.monotonic()
        if self._is_terminal and (now - self._drawn_at >= _DRAW_SECONDS or done_bytes == total_bytes):
            self._drawn_at = now
            share = f"{100 * done_bytes // total_bytes:3d} %" if total_bytes else ""
            click.echo(f"\r\x1b[K{share}  {size(done_bytes)} of {size(total_bytes)}", nl=False, err=True)

    def end(self) -> None:
        if self._drawn_at:
            click.echo(err=True)
