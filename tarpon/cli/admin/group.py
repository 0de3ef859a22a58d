"""The commands `tarpon admin ...`: what an operator does with a machine, and with the state as a whole."""

import click

from tarpon.cli.admin.backup import backup
from tarpon.cli.admin.check import check
from tarpon.cli.admin.doctor import doctor
from tarpon.cli.admin.rebuild import rebuild
from tarpon.cli.admin.records_key import records_key
from tarpon.cli.admin.restore import restore
from tarpon.cli.console.commands import Group


@click.group(cls=Group)
def admin() -> None:
    """Find out what is wrong with a machine; back up, restore and check what is stored.

    All but `doctor` are run where the orchestrator runs, as its user and with its settings (-c), and speak with NATS
    and the bucket themselves.
    """


for command in (doctor, backup, restore, check, rebuild, records_key):
    admin.add_command(command)
