"""The command `tarpon audit`: who did what, out of the audit log on the orchestrator's machine."""

import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shared.errors import ExtraMissing, NotFound
from tarpon.cli.console.commands import Group, given
from tarpon.cli.console.output import json_text, output_option, show, yaml_text
from tarpon.cli.job.list_conditions import Since
from tarpon.import_names import shadowed

if TYPE_CHECKING:
    from orchestrator.audit.checking import AuditChecked
    from orchestrator.audit.lines import AuditLine

_DAYS = re.compile(r"-?(\d+(?:\.\d+)?)d")
_PATHS = click.argument("paths", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path))


@click.group(cls=Group)
def audit() -> None:
    """Show who did what, and for whom URLs were signed; run this where the orchestrator runs.

    It reads the files of the audit log, also while no orchestrator runs.
    """


@audit.command("list")
@click.option("--who", default="", help="Of this user, node or program, or of a kind such as operator or stranger.")
@click.option("--action", default="", help="Such as write:job, sign or join, or an operation such as submit.")
@click.option("--object", "about", default="", help="About this job, execution, node ..., or what begins or ends so.")
@click.option("--namespace", default="", help="In this namespace.")
@click.option("--outcome", default="", type=click.Choice(["", "done", "refused", "failed"]), help="That ended so.")
@click.option("--since", type=Since(), default="", metavar="TIME", help="Told since then: 12h, 7d, 2026-01-31T12:00.")
@click.option("--until", type=Since(), default="", metavar="TIME", help="Told before then.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until interrupted.")
@output_option
def list_lines(  # one for each option
    *,
    who: str,
    action: str,
    about: str,
    namespace: str,
    outcome: str,
    since: str,
    until: str,
    follow: bool,
    output: str,
) -> None:
    """Show lines of the audit log, the oldest first. With --output json each is one line."""
    path = _path()
    from orchestrator.audit.reading import AuditFilter, following, lines_of

    wanted = AuditFilter(who, action, about, namespace, outcome, _moment(since), _moment(until))
    _print(following(path, wanted) if follow else lines_of(path, wanted), output)


@audit.command()
@_PATHS
@output_option
def check(paths: tuple[Path, ...], output: str) -> None:
    """Tell whether lines are missing, moved or changed: in the log, or in the FILEs, which are given in their order.

    It ends with 1 where something was done to it. What was cut off at the end does not show: compare the number of the
    last line with what monitoring has seen.
    """
    found = _checked(paths)
    show(found, output, lambda: _text(found))
    if not found.is_whole:
        click.get_current_context().exit(1)


def _checked(paths: tuple[Path, ...]) -> "AuditChecked":
    if missing := [each for each in paths if not each.is_file()]:
        raise NotFound(f"There is no file {missing[0]}.")
    files = paths or _files(_path())
    from orchestrator.audit.checking import checked
    from orchestrator.audit.reading import texts_of

    return checked(texts_of(files))


def _path() -> Path:
    """The file that is written now. Raises ExtraMissing."""
    try:
        from orchestrator.audit.opening import audit_file
    except ModuleNotFoundError as error:
        if shadowed("orchestrator"):
            raise
        raise ExtraMissing("The orchestrator", "orchestrator") from error
    return audit_file(given().config())


def _files(path: Path) -> list[Path]:
    from orchestrator.audit.reading import audit_files

    return audit_files(path)


def _moment(text: str) -> datetime | None:
    """Of a length of time, so long ago."""
    from shared.jobs.durations import parse_duration

    if not text:
        return None
    if text.replace(".", "", 1).isdecimal():
        return datetime.fromtimestamp(float(text), UTC)
    if "T" in text or "-" in text[1:]:
        return datetime.fromisoformat(text)
    days = _DAYS.fullmatch(text)
    seconds = float(days[1]) * 86_400 if days else parse_duration(text)
    return datetime.now(UTC) - timedelta(seconds=abs(seconds))


def _print(lines: Iterable["AuditLine"], output: str) -> None:
    for text in _texts(lines, output):
        click.echo(text)
        sys.stdout.flush()


def _texts(lines: Iterable["AuditLine"], output: str) -> Iterator[str]:
    from shared.data.plain_text import printable

    for line in lines:
        if output == "json":
            yield json_text(line)
        elif output == "yaml":
            yield f"---\n{yaml_text(line)}".rstrip()
        else:
            yield printable(_row(line))


def _row(line: "AuditLine") -> str:
    who = f"{line.kind} {line.who}".rstrip()
    about = " ".join(filter(None, (line.object, line.execution, line.namespace and f"[{line.namespace}]")))
    how = "" if line.outcome == "done" else f"{line.outcome} {line.code}".rstrip()
    parts = (
        f"{line.seq:>8}",
        line.time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        f"{who}{f' from {line.source}' if line.source else ''}:",
        f"{line.action} {line.operation}".rstrip(),
        about,
        how,
        f"{line.method} x{line.count}" if line.count > 1 else line.method,
        f"{line.times} times in {line.seconds} s" if line.times > 1 else "",
        f"({line.detail})" if line.detail else "",
    )
    return "  ".join(filter(None, parts))


def _text(found: "AuditChecked") -> str:
    from shared.data.plain_text import printable

    told = [f"{each.kind:8} {each.file}, line {each.line}: {each.message}" for each in found.findings]
    if found.is_whole:
        sums = f"Lines {found.first} to {found.last} are all there, in their order and unchanged."
    else:
        sums = f"The audit log is not what was written, in lines {found.first} to {found.last}."
    if not found.lines:
        sums = "There is no line."
    return "\n".join(printable(each) for each in (*told, sums))
