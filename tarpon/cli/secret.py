"""The commands `tarpon secret ...`: secrets that tasks are given by name."""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tarpon.cli.console.commands import Group, with_client
from tarpon.cli.console.output import from_nanoseconds, moment, output_option, show, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.protocol.namespaces.rest_secrets import SecretView
    from tarpon.client import Client

MOST_READ = 1 << 20
"""So much is read of what is given; the orchestrator says how much is possible."""


@click.group(cls=Group)
def secret() -> None:
    """Store what tasks need and no job file should hold. No command shows a value again."""


_name = click.argument("name")
_namespace = click.option("--namespace", default="", help="The namespace whose tasks are given it; else default.")


@secret.command()
@_name
@click.option(
    "--from-file",
    "path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, readable=True),
    help="A file that holds the value, byte for byte. Else it is read from stdin, without one line end at its end.",
)
@_namespace
@output_option
@with_client
async def put(client: "Client", *, name: str, path: Path | None, namespace: str, output: str) -> None:
    """Store a secret, or another value of it.

    A job is given it by `Env: {DB_PASSWORD: "secret:NAME"}`, or as a file by `Secrets: [{Name: NAME, Path: ...}]`.
    """
    stored = await client.put_secret(name, _given(path), namespace=namespace)
    told = f"Secret {stored.name} of namespace {stored.namespace} is stored, {stored.size_bytes:,} bytes."
    show(stored, output, lambda: told)


@secret.command("list")
@_namespace
@output_option
@with_client
async def list_secrets(client: "Client", *, namespace: str, output: str) -> None:
    """List the secrets of a namespace; their values are never shown."""
    found = await client.secrets(namespace=namespace)
    show(found, output, lambda: _table(found))


@secret.command()
@_name
@_namespace
@with_client
async def delete(client: "Client", *, name: str, namespace: str) -> None:
    """Delete a secret. Tasks that have it keep it; those that are yet to be given it fail."""
    await client.delete_secret(name, namespace=namespace)
    click.echo(f"Secret {name} is deleted.")


def _given(path: Path | None) -> bytes:
    if path is not None:
        with path.open("rb") as file:
            return file.read(MOST_READ)
    if sys.stdin.isatty():
        typed: str = click.prompt("Value", hide_input=True, err=True)
        return typed.encode()
    return _without_line_end(sys.stdin.buffer.read(MOST_READ))


def _without_line_end(value: bytes) -> bytes:
    """As `echo` and editors end with one that nobody means."""
    return value.removesuffix(b"\n").removesuffix(b"\r") if value.endswith(b"\n") else value


def _table(found: "Sequence[SecretView]") -> str:
    now = datetime.now().astimezone()
    rows = [
        [
            each.name,
            f"{each.size_bytes:,}",
            moment(from_nanoseconds(each.modify_time), now),
            "" if each.usable else "stored under another key",
        ]
        for each in found
    ]
    return table(["NAME", "BYTES", "CHANGED", "PROBLEM"], rows)
