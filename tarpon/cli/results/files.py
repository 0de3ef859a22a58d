"""The commands `tarpon job files` and `tarpon job cat`: what is in a result, and one file of it."""

import sys
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from shared.data.plain_text import one_line
from tarpon.cli.console import completed_names
from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.job_group import job_argument, job_or_path_argument, namespace_option
from tarpon.cli.console.output import json_text, moment, output_option, size, yaml_text
from tarpon.cli.results.result_options import Choice, job_and_paths, result_options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tarpon.client import Client
    from tarpon.results.files import ResultEntry

_AT_ONCE = 1000
_SIGNS = {"directory": "d", "symlink": "l", "file": "-", "hardlink": "-"}
_LAYOUT = "{:<10}  {:>10}  {:<19}  {}"


@click.command(cls=Command)
@job_argument
@click.option("--long", "-l", "is_long", is_flag=True, help="With permissions, sizes, times and the targets of links.")
@result_options
@output_option
@namespace_option
@with_client
async def files(
    client: "Client",
    *,
    job: str,
    is_long: bool,
    choice: Choice,
    output: str,
    namespace: str,
) -> None:
    """List what is in the result of a job. Of a large one only its index is fetched."""
    from tarpon.results.files import list_files

    found = list_files(client, job, **choice._asdict(), namespace=namespace)
    async with aclosing(found) as entries:
        await _show(entries, output, is_long=is_long)


async def _show(entries: "AsyncIterator[ResultEntry]", output: str, *, is_long: bool) -> None:
    """Print the entries as they come, because there may be millions of them."""
    writer = _Writer(output, is_long=is_long)
    some: list[ResultEntry] = []
    async for entry in entries:
        some.append(entry)
        if len(some) == _AT_ONCE:
            writer.write(some)
            some = []
    writer.write(some)
    writer.end()


class _Writer:
    def __init__(self, output: str, *, is_long: bool) -> None:
        self._output = output
        self._is_long = is_long
        self._written = 0
        self._now = datetime.now(UTC)

    def __repr__(self) -> str:
        return f"<_Writer of {self._output}, {self._written} entries written>"

    def write(self, entries: "list[ResultEntry]") -> None:
        if not entries:
            return
        match self._output:
            case "json":
                begin = ",\n" if self._written else "[\n"
                click.echo(begin + ",\n".join(json_text(each) for each in entries), nl=False)
            case "yaml":
                click.echo(yaml_text(entries), nl=False)
            case _:
                if self._is_long and not self._written:
                    click.echo(_LAYOUT.format("MODE", "SIZE", "MODIFIED", "PATH"))
                click.echo("\n".join(self._line(each) for each in entries))
        self._written += len(entries)

    def end(self) -> None:
        if self._output == "json":
            click.echo("\n]" if self._written else "[]")
        elif self._output == "yaml" and not self._written:
            click.echo("[]")

    def _line(self, entry: "ResultEntry") -> str:
        path = one_line(entry.path) + ("/" if entry.type == "directory" else "")
        if not self._is_long:
            return path
        link = f" -> {one_line(entry.target)}" if entry.target else ""
        told = size(entry.size) if entry.type == "file" else ""
        return _LAYOUT.format(_mode(entry), told, moment(entry.modified, self._now), f"{path}{link}")


def _mode(entry: "ResultEntry") -> str:
    """As `ls` writes it, without set-id bits, which nothing of a result keeps."""
    mode = int(entry.mode, 8)
    letters = "".join(letter if mode >> (8 - place) & 1 else "-" for place, letter in enumerate("rwxrwxrwx"))
    return _SIGNS.get(entry.type, "?") + letters


@click.command(cls=Command)
@job_or_path_argument
@click.argument("path", required=False, shell_complete=completed_names.paths)
@result_options
@namespace_option
@with_client
async def cat(
    client: "Client",
    *,
    job: str,
    path: str | None,
    choice: Choice,
    namespace: str,
) -> None:
    """Print one file of the result of a job; JOB/PATH may be written too.

    Of a large result no more is fetched than holds the file. A pipe or file gets the bytes as they are; a terminal gets
    control characters in writing.
    """
    from tarpon.cli.display.task_output import TaskOutput
    from tarpon.results.files import read_file
    from tarpon.results.logs import STDOUT

    job, paths = await job_and_paths(client, job, [path] if path else [], namespace=namespace)
    if len(paths) != 1:
        raise click.UsageError("Name one file: tarpon job cat JOB PATH")
    output = TaskOutput(None)
    await read_file(
        client,
        job,
        paths[0],
        lambda data: output.write(STDOUT, bytes(data)),
        **choice._asdict(),
        namespace=namespace,
    )
    sys.stdout.flush()
