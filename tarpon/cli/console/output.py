"""Output of commands on stdout: a table for people, or JSON or YAML for programs."""

import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from shared.data.plain_text import indented, printable, printable_json

TABLE_WIDTH = 80
_LEAST_FOLDED = 20
_UTC = re.compile(r"(?:(\d{4}-\d\d-\d\d) )?\b(\d\d:\d\d:\d\d) UTC\b", re.ASCII)

output_option = click.option(
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="The form of what is printed.",
)


def show(data: Any, output: str, as_text: Callable[[], str]) -> None:
    """Print `data` in the form that `output` names; `as_text` makes the form for people."""
    if output == "json":
        click.echo(json_text(data, indent=2))
    elif output == "yaml":
        click.echo(yaml_text(data), nl=False)
    else:
        click.echo(as_text())


def json_text(data: Any, *, indent: int = 0) -> str:
    """As JSON in which nothing could steer a terminal; on one line unless it is indented."""
    import msgspec

    encoded = msgspec.json.encode(data)
    return printable_json((msgspec.json.format(encoded, indent=indent) if indent else encoded).decode())


def yaml_text(data: Any) -> str:
    """As YAML in which nothing could steer a terminal."""
    import msgspec

    from tarpon.cli.console.yaml_writing import written

    return written(msgspec.to_builtins(data))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as the terminal allows; where stdout is none, each row is one line, whatever its length.

    Cells may hold what nodes and tasks wrote; it is made harmless here.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    if width := terminal_width():
        return _wrapped(headings, rows, width)
    return plain_columns([headings, *rows])


def terminal_width() -> int:
    """How many columns stdout has; 0 where it is no terminal and lines may have any length."""
    return shutil.get_terminal_size((TABLE_WIDTH, 24)).columns if sys.stdout.isatty() else 0


def plain_columns(rows: Sequence[Sequence[str]]) -> str:
    cells = [[" ".join(cell.split()) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def _wrapped(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    """Only the last column is folded if that is enough; otherwise all but the first. Nothing is ever cut off."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    widths = [max(len(row[column]) for row in [headings, *rows]) + 2 for column in range(len(headings))]
    whole = next((count for count in (len(headings) - 1, 1) if sum(widths[:count]) <= width - _LEAST_FOLDED), 0)
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for position, heading in enumerate(headings):
        shown.add_column(heading, overflow="fold", no_wrap=position < whole)
    for row in rows:
        shown.add_row(*(Text(" ".join(cell.split())) for cell in row))
    console = Console(width=width, force_terminal=True)
    with console.capture() as capture:
        console.print(shown)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def pairs(values: Mapping[str, str]) -> str:
    """`Name  value` lines, without those that have no value."""
    shown = [(name, value) for name, value in values.items() if value]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{name.ljust(width)}  {indented(value, by=width + 2)}" for name, value in shown)


def moment(when: datetime, now: datetime) -> str:
    """The local time, with the date where it is not today's. Both arguments are aware."""
    local = when.astimezone()
    return local.strftime("%H:%M:%S" if local.date() == now.astimezone().date() else "%Y-%m-%d %H:%M:%S")


def in_local_time(text: str, now: datetime) -> str:
    """What an orchestrator says with times of UTC, such as `12:00:05 UTC`, with those as `moment` has them.

    One without a date is the nearest to `now`.
    """

    def local(found: re.Match[str]) -> str:
        today = now.astimezone(UTC).date()
        try:
            when = datetime.fromisoformat(f"{found[1] or today}T{found[2]}+00:00")
            days = 0 if found[1] else round((now - when) / timedelta(days=1))
            return moment(when + timedelta(days=days), now)
        except (ValueError, OverflowError):  # what anybody wrote
            return found[0]

    return _UTC.sub(local, text)


def from_nanoseconds(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9).astimezone()


def lasting(length: timedelta) -> str:
    """`38 ms`, `1.2 s`, `3 min 5 s`, `2 h 10 min`."""
    seconds = length.total_seconds()
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


_UNITS = ("KiB", "MiB", "GiB", "TiB")


def size(count: float) -> str:
    """`512 B`, `1.5 MiB`."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in _UNITS:
        count /= 1024
        if count < 1024 or unit == _UNITS[-1]:
            break
    return f"{count:.1f} {unit}"
