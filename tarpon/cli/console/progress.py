"""Progress on stderr: one line for each thing that happens to a job, and how far a download is."""

import shutil
import sys
import textwrap
import time
from collections import deque
from datetime import UTC, datetime, timedelta

import click
from msgspec import UNSET

from shared.data.plain_text import one_line, printable
from shared.ids import short
from shared.protocol.rest import HistoryItem
from tarpon.cli.console.output import moment, size

_LAYOUT = "{:<8}  {:<10}  {}{:<20}  {}"
_INDENT = 8 + 2 + 10 + 2 + 20 + 2
_PART = "{:<4}  "
_LEAST_TEXT = 30
_DRAW_SECONDS = 0.2
_PACE_SECONDS = 5.0


def heading(*, with_parts: bool = False) -> str:
    return _LAYOUT.format("TIME", "EXEC. ID", _PART.format("PART") if with_parts else "", "TOPIC", "EVENT")


def event_line(item: HistoryItem, *, now: datetime, width: int = 0, with_parts: bool = False) -> str:
    """One event, wrapped to `width` columns unless that is 0; `with_parts` is under such a heading."""
    part = _PART.format(part_of(item)) if with_parts else ""
    indent = _INDENT + len(part)
    message = " ".join(printable(item.event.message).split())
    if width:
        lines = textwrap.wrap(message, max(_LEAST_TEXT, width - indent)) or [""]
        message = f"\n{' ' * indent}".join(lines)
    when = moment(item.event.timestamp, now)
    return _LAYOUT.format(when, short(item.execution_id), part, one_line(item.event.topic), message).rstrip()


def part_of(item: HistoryItem) -> str:
    """Empty where it is about the job, or an earlier server did not say."""
    return "" if item.partition_index is UNSET else str(item.partition_index)


class EventLines:
    """Writes events to stderr as they come, with a heading before the first."""

    def __init__(self, *, with_parts: bool) -> None:
        self._begun = False
        self._with_parts = with_parts

    def write(self, item: HistoryItem) -> None:
        if not self._begun:
            click.echo(click.style(heading(with_parts=self._with_parts), bold=True), err=True)
            self._begun = True
        width = shutil.get_terminal_size().columns if sys.stderr.isatty() else 0
        line = event_line(item, now=datetime.now(UTC), width=width, with_parts=self._with_parts)
        click.echo(click.style(line, fg="red") if item.event.is_error else line, err=True)


class DownloadPace:
    """How fast bytes have come lately; instants are seconds of one clock."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def __repr__(self) -> str:
        return f"<DownloadPace of {len(self._marks)} marks>"

    def add(self, now: float, done_bytes: int) -> None:
        """What is there at the first call was there before."""
        self._marks.append((now, done_bytes))
        while len(self._marks) > 2 and now - self._marks[1][0] >= _PACE_SECONDS:
            self._marks.popleft()

    def bytes_per_second(self) -> float:
        """0 where nothing is known yet."""
        (then, before), (now, after) = self._marks[0], self._marks[-1]
        return max(after - before, 0) / (now - then) if now - then >= _DRAW_SECONDS else 0.0


def download_text(done_bytes: int, total_bytes: int, bytes_per_second: float) -> str:
    """How far a download is, how fast it goes, and how long it takes yet."""
    parts = [f"{size(done_bytes)} of {size(total_bytes)}"]
    if total_bytes:
        parts.insert(0, f"{100 * done_bytes // total_bytes:3d} %")
    if bytes_per_second:
        parts.append(f"{size(bytes_per_second)}/s")
        if done_bytes < total_bytes:
            left = timedelta(seconds=max(1, round((total_bytes - done_bytes) / bytes_per_second)))
            parts.append(f"{left} left")
    return "  ".join(parts)


class LiveLine:
    """A line of a terminal's stderr, or several, drawn again and again; where stderr is no terminal it is never due."""

    def __init__(self) -> None:
        self._drawn_at = 0.0
        self._height = 0
        self.is_terminal = sys.stderr.isatty()

    def is_due(self) -> bool:
        return self.is_terminal and time.monotonic() - self._drawn_at >= _DRAW_SECONDS

    def draw(self, text: str) -> None:
        """Of several lines as many as the terminal has."""
        if self.is_terminal:
            width, height = shutil.get_terminal_size()
            lines = [line[: width - 1] for line in text.split("\n")[: max(1, height - 1)]]
            erase = self._erasing() or "\r\x1b[K"
            click.echo(erase + "\n".join(lines), nl=False, err=True)
            self._drawn_at, self._height = time.monotonic(), len(lines)

    def _erasing(self) -> str:
        return f"\r\x1b[{self._height - 1}A\x1b[J" if self._height > 1 else "\r\x1b[K" if self._height else ""

    def clear(self) -> None:
        """Before anything else is written."""
        if self._height:
            click.echo(self._erasing(), nl=False, err=True)
            self._height = 0

    def leave(self) -> None:
        """As it was drawn last."""
        if self._height:
            click.echo(err=True)
            self._height = 0


class DownloadLine:
    """How far a download is, on a terminal."""

    def __init__(self) -> None:
        self._line = LiveLine()
        self._pace = DownloadPace()

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        if self._line.is_due() or (done_bytes == total_bytes and self._line.is_terminal):
            self._pace.add(time.monotonic(), done_bytes)
            self._line.draw(download_text(done_bytes, total_bytes, self._pace.bytes_per_second()))

    def end(self) -> None:
        self._line.leave()
