"""The commands `tarpon job schedule ...`: pause a schedule, have it go on, run it now."""

from typing import TYPE_CHECKING

import click

from tarpon.cli.console.commands import Command, Group, with_client
from tarpon.cli.console.job_group import job_argument, namespace_option
from tarpon.cli.console.output import output_option, show

if TYPE_CHECKING:
    from tarpon.client import Client

reason_option = click.option("--reason", default="", help="Why, for the schedule's history.")


@click.group(cls=Group)
def schedule() -> None:
    """Pause and resume schedules, and run them at once. `tarpon job stop` ends one."""


@schedule.command("pause", cls=Command)
@job_argument
@namespace_option
@reason_option
@output_option
@with_client
async def pause(client: "Client", *, job: str, namespace: str, reason: str, output: str) -> None:
    """Have a schedule begin no further run. Runs that go on are left alone."""
    done = await client.pause_schedule(job, reason=reason, namespace=namespace)
    show(done, output, lambda: "The schedule is paused." if done.changed else "The schedule was paused already.")


@schedule.command("resume", cls=Command)
@job_argument
@namespace_option
@reason_option
@output_option
@with_client
async def resume(client: "Client", *, job: str, namespace: str, reason: str, output: str) -> None:
    """Have a schedule go on with what is due from now on. What was due while it was paused is not made up for."""
    done = await client.resume_schedule(job, reason=reason, namespace=namespace)
    show(done, output, lambda: "The schedule goes on.")


@schedule.command("run-now", cls=Command)
@job_argument
@namespace_option
@output_option
@with_client
async def run_now(client: "Client", *, job: str, namespace: str, output: str) -> None:
    """Begin a run of a schedule now, beside those that are due, also while it is paused. Print the id of its job."""
    done = await client.run_schedule_now(job, namespace=namespace)
    show(done, output, lambda: done.run_id)
