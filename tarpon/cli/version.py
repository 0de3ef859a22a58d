"""The command `tarpon version`."""

from typing import TYPE_CHECKING

import click

from shared.version import version_text
from tarpon.cli.commands import Command, with_client
from tarpon.cli.output import output_option, pairs, show

if TYPE_CHECKING:
    from tarpon.client import Client


@click.command(cls=Command)
@click.option("--client", "client_only", is_flag=True, help="Do not ask the orchestrator.")
@output_option
def version(*, client_only: bool, output: str) -> None:
    """Show the versions of this program and of the orchestrator."""
    versions = {"client": version_text()}
    if not client_only:
        versions["orchestrator"] = _orchestrator_version()
    show(versions, output, lambda: pairs({name.capitalize(): text for name, text in versions.items()}))


def _orchestrator_version() -> str:
    @with_client
    async def ask(client: "Client") -> str:
        return (await client.version()).git_version

    return str(ask())
