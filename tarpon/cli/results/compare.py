"""The command `tarpon job compare`: which paths of two results differ, and where their bytes first do."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shared.data.plain_text import one_line
from tarpon.cli.console import completed_names
from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.job_group import FOLDER_BEGINS, namespace_option
from tarpon.cli.console.outcomes import Exit
from tarpon.cli.console.output import output_option, show

if TYPE_CHECKING:
    from tarpon.client import Client
    from tarpon.comparison.views import BytesView, Comparison, EntryView, PathDifference, ResultComparison

_TWO = 2
_WORDS = {"only-first": "only in the first", "only-second": "only in the second"}


@click.command(cls=Command)
@click.argument("first", metavar="JOB|EXECUTION|FOLDER", shell_complete=completed_names.jobs)
@click.argument("second", metavar="JOB|EXECUTION|FOLDER", required=False, shell_complete=completed_names.jobs)
@click.option(
    "-e",
    "--execution",
    "--execution-id",
    "executions",
    multiple=True,
    metavar="ID",
    shell_complete=completed_names.executions,
    help="Of a JOB the result of this execution, or beginning of an id; once for each JOB, or twice for one alone.",
)
@click.option(
    "--limit",
    type=click.IntRange(0, 10_000),
    default=20,
    show_default=True,
    metavar="N",
    help="List so many paths that differ, and where their bytes do; all are counted.",
)
@output_option
@namespace_option
@with_client
async def compare(
    client: "Client",
    *,
    first: str,
    second: str | None,
    executions: tuple[str, ...],
    limit: int,
    output: str,
    namespace: str,
) -> int:
    """Compare two results: paths, types, modes, sizes, targets of links and contents, but no times.

    Two jobs are compared part by part. EXECUTION is a whole id; by the beginnings of ids executions of one job are
    compared as in `tarpon job compare JOB -e e-1a2b -e e-3c4d`. A FOLDER begins with a dot or slash, as in ./job-one.
    No more is fetched than what they have and the beginning of what differs. Exits with 0 if they are the same, and
    with 8 if they differ.
    """
    from tarpon.comparison.compare import compare_results

    if second is None and len(executions) != _TWO:
        raise click.UsageError("Name two results: jobs, executions or folders, or two executions of a job with -e.")
    one, other = (Path(each) if each.startswith(FOLDER_BEGINS) else each for each in (first, second or first))
    found = await compare_results(client, one, other, executions=executions, namespace=namespace, limit=limit)
    show(found, output, lambda: "\n".join(_lines(found)))
    return Exit.OK if found.equal else Exit.DIFFERENT


def _lines(found: "Comparison") -> Iterator[str]:
    for each in found.results:
        yield from _of_result(each)
    for which, parts in (("first", found.only_first), ("second", found.only_second)):
        if parts:
            yield f"Only the {which} has results of {len(parts)} parts, such as part {parts[0]}."


def _of_result(result: "ResultComparison") -> Iterator[str]:
    first, second = result.first, result.second
    is_part = first.partition_index == second.partition_index and not (first.folder or second.folder)
    both = f"{f'Part {first.partition_index}: ' if is_part else ''}{first.name} and {second.name}"
    if not result.differing:
        yield f"{both} are the same: {result.paths:,} paths."
        return
    yield f"{both} differ in {result.differing:,} of {result.paths:,} paths:"
    for each in result.differences:
        yield from _of_path(each)
    if left := result.differing - len(result.differences):
        yield f"  and {left:,} more; --limit {result.differing} lists them."


def _of_path(path: "PathDifference") -> Iterator[str]:
    first, second = path.first, path.second
    if first is None or second is None:
        yield f"  {one_line(path.path)}: {_WORDS[path.differs[0]]}"
        return
    yield f"  {one_line(path.path)}: {', '.join(_what(each, first, second) for each in path.differs)}"
    if path.bytes is not None:
        yield from _of_bytes(path.bytes)


def _what(what: str, first: "EntryView", second: "EntryView") -> str:
    match what:
        case "type":
            return f"type {first.type} and {second.type}"
        case "mode":
            return f"mode {first.mode} and {second.mode}"
        case "size":
            return f"size {first.size:,} and {second.size:,}"
        case "target":
            return f"target {one_line(first.target)} and {one_line(second.target)}"
        case _:
            return what


def _of_bytes(found: "BytesView") -> Iterator[str]:
    place = f"line {found.line:,}" if found.line else f"bytes from {found.shown_at:,} on"
    yield f"    from byte {found.at:,} on; {place}:"
    for sign, content in (("-", found.first), ("+", found.second)):
        shown = one_line(content.rstrip("\n")) if found.line else bytes.fromhex(content).hex(" ")
        yield f"    {sign} {shown}" if content else f"    {sign} (it has ended)"
