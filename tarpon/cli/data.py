"""The commands `tarpon data ...`: files and trees that are sent for the inputs of jobs."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shared.data.plain_text import printable
from tarpon.cli.console import completed_names
from tarpon.cli.console.commands import Group, with_client
from tarpon.cli.console.output import from_nanoseconds, moment, output_option, show, size, table

if TYPE_CHECKING:
    from shared.protocol.namespaces.rest_data import DataView, ListDataResponse
    from tarpon.client import Client

SHOWN_LEFT_OUT = 10


@click.group(cls=Group)
def data() -> None:
    """Send files and trees for the inputs of jobs; the same content is sent once."""


_namespace = click.option("--namespace", default="", help="The namespace whose jobs may read it; else default.")
_data = click.argument("data", metavar="DATA", shell_complete=completed_names.sent_data)


@data.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", default="", help="What to call it; a name means what was called so last.")
@click.option("--skip-special", is_flag=True, help="Leave out links out of the tree, sockets and the like.")
@_namespace
@output_option
@with_client
async def put(client: "Client", *, path: Path, name: str, skip_special: bool, namespace: str, output: str) -> None:
    """Send a file or a tree. What is there already is not sent again, also after an interruption.

    A job reads it by `InputSources: [{Source: {Type: upload, Params: {Data: NAME}}, Target: /data}]`.
    """
    from tarpon.cli.display.sending import sending_shown

    with sending_shown() as on_progress:
        sent = await client.put_data(
            path, name=name, namespace=namespace, skip_special=skip_special, on_progress=on_progress
        )
    for each in sent.left_out[:SHOWN_LEFT_OUT]:
        click.echo(f"Warning: {printable(each)}, and was left out.", err=True)
    if len(sent.left_out) > SHOWN_LEFT_OUT:
        click.echo(f"Warning: {len(sent.left_out) - SHOWN_LEFT_OUT:,} more were left out.", err=True)
    called = f"{name}, " if name else ""
    listed = " with the list of them" if sent.sent_bytes else ""
    told = (
        f"Sent {sent.sent_files:,} of {_contents(sent.data)}, {size(sent.sent_bytes)} in all{listed}."
        f" It is {called}{sent.data.digest}."
    )
    show(sent, output, lambda: told)


@data.command("list")
@_namespace
@output_option
@with_client
async def list_data(client: "Client", *, namespace: str, output: str) -> None:
    """List the data of a namespace."""
    found = await client.list_data(namespace=namespace)
    show(found, output, lambda: _table(found))


@data.command()
@_data
@click.option(
    "--output-dir", type=click.Path(path_type=Path), help="Where to put its files; else a folder of its name."
)
@_namespace
@output_option
@with_client
async def get(client: "Client", *, data: str, output_dir: Path | None, namespace: str, output: str) -> None:
    """Download data, by its name, its digest or the beginning of that. Files that are there already stay."""
    from tarpon.cli.console.progress import DownloadLine

    line = DownloadLine()
    try:
        found = await client.get_data(data, output_dir=output_dir or "", namespace=namespace, on_progress=line)
    finally:
        line.end()
    show(found, output, lambda: f"Fetched {_contents(found.data)} to {printable(found.path)}.")


@data.command()
@_data
@_namespace
@output_option
@with_client
async def delete(client: "Client", *, data: str, namespace: str, output: str) -> None:
    """Delete data; where it has several names, the one that is given. Jobs that read it still keep it."""
    found = await client.delete_data(data, namespace=namespace)
    told = f"Data {data} is deleted." if found.deleted else f"The name {data} is deleted; the data has other names."
    show(found, output, lambda: told)


def _contents(found: "DataView") -> str:
    return "1 file" if found.files == 1 else f"{found.files:,} files"


def _table(found: "ListDataResponse") -> str:
    now = datetime.now().astimezone()
    rows = [
        [
            ", ".join(each.names),
            each.digest.removeprefix("sha256:")[:12],
            f"{each.files:,}",
            size(each.size_bytes),
            moment(from_nanoseconds(each.last_use), now),
            ("never" if not each.expire_time else moment(from_nanoseconds(each.expire_time), now))
            if each.ready
            else "not sent to its end",
        ]
        for each in found.data
    ]
    room = f"{size(found.size_bytes)} of {size(found.quota_bytes)} are taken."
    return f"{table(['NAME', 'DIGEST', 'FILES', 'SIZE', 'USED', 'EXPIRES'], rows)}\n{room}"
