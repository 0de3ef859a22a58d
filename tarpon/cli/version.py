"""The command `tarpon version`."""

from typing import TYPE_CHECKING

import click

from shared.runtime.commit import SHORT, commit
from shared.runtime.version import version_text
from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.output import output_option, pairs, show

if TYPE_CHECKING:
    from shared.protocol.rest_nodes import VersionView
    from tarpon.client import Client


@click.command(cls=Command)
@click.option("--client", "client_only", is_flag=True, help="Do not ask the orchestrator.")
@output_option
def version(*, client_only: bool, output: str) -> None:
    """Show the versions of this program and of the orchestrator, each with its commit where that is known.

    Where no orchestrator answers, that of this program is shown all the same, and the exit code is 3.
    """
    versions, commits = {"client": version_text()}, {"client": commit()}
    try:
        if not client_only:
            asked = _orchestrator_version()
            versions["orchestrator"], commits["orchestrator"] = asked.git_version, asked.git_commit
    finally:
        _show(versions, commits, output)


def _show(versions: dict[str, str], commits: dict[str, str], output: str) -> None:
    told = {f"{name}_commit": text for name, text in commits.items() if text}
    lines = {name.capitalize(): with_commit(text, commits[name]) for name, text in versions.items()}
    show(versions | told, output, lambda: pairs(lines))


def with_commit(version: str, commit: str) -> str:
    """For people, who need its beginning."""
    return f"{version} (commit {commit[:SHORT]})" if commit else version


def _orchestrator_version() -> "VersionView":
    @with_client
    async def ask(client: "Client") -> "VersionView":
        return await client.version()

    asked: VersionView = ask()
    return asked
