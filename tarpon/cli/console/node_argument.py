"""The argument that says which node is meant."""

import click

from tarpon.cli.console import completed_names

node_argument = click.argument("node_id", metavar="NODE", shell_complete=completed_names.nodes)
