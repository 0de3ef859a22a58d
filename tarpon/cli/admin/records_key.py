"""The command `tarpon admin records-key`: by which key the records beside results are known."""

import click

from tarpon.cli.console.commands import Command, given
from tarpon.cli.console.local_secrets import local_secrets


@click.command("records-key", cls=Command)
def records_key() -> None:
    """Print the public key of the records beside results; keep it where it outlives the orchestrator's secrets."""
    click.echo(local_secrets(given().config()).result_signer.public_key)
