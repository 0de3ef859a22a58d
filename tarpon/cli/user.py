"""The commands `tarpon user ...`: who may use the orchestrator, and by which keys they are known."""

import shlex
from typing import TYPE_CHECKING

import click

from shared.errors import NotFound
from shared.protocol.capabilities import CAPABILITIES, EVERYTHING
from tarpon.cli.console.commands import Command, Group, given, with_client
from tarpon.cli.console.output import from_nanoseconds, output_option, show, table

if TYPE_CHECKING:
    from shared.protocol.rest_users import CreateUserResponse, UserView
    from tarpon.client import Client

DATE = "%Y-%m-%d %H:%M"


@click.group(cls=Group)
def user() -> None:
    """Make, list and revoke users, who are known by API keys."""


@user.command()
@click.argument("name")
@click.option(
    "--capability",
    "capabilities",
    multiple=True,
    metavar="WORD",
    default=("read:job", "write:job", "read:node"),
    show_default=True,
    help=f"What the user may do: {', '.join(CAPABILITIES)}. Repeatable.",
)
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="NAME",
    help="A namespace that the user is limited to. Repeatable; without it the user is for all of them.",
)
@click.option("--expires", default="", metavar="LENGTH", help="How long the key is valid, such as 720h; else for ever.")
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="URL",
    help="Where the key is used, such as https://example.com:1234, if that is not where the orchestrator listens."
    " Its holder needs nothing but the key.",
)
@output_option
@with_client
async def create(
    client: "Client",
    *,
    name: str,
    capabilities: tuple[str, ...],
    namespaces: tuple[str, ...],
    expires: str,
    addresses: tuple[str, ...],
    output: str,
) -> None:
    """Make the user NAME and print its key, which is shown this once.

    A name that was revoked, or whose key has expired, may be given again.
    """
    made = await client.create_user(name, capabilities, namespaces=namespaces, expires_in=expires, addresses=addresses)
    _show_made(made, output)


@user.command("list")
@output_option
@with_client
async def list_users(client: "Client", *, output: str) -> None:
    """List all users, also those that were revoked. Their keys are kept nowhere."""
    found = await client.users()
    headings = ["NAME", "CAPABILITIES", "NAMESPACES", "MADE", "KEY"]
    show(found, output, lambda: table(headings, [_row(each) for each in found]))


@user.command()
@click.argument("name")
@with_client
async def revoke(client: "Client", *, name: str) -> None:
    """End the key of the user NAME at once, on all orchestrators, and the events and logs that are open by it."""
    await client.revoke_user(name)
    click.echo(f"User {name} is revoked.")


@user.command(cls=Command)
@click.argument("name", default="admin")
@output_option
def bootstrap(*, name: str, output: str) -> None:
    """Make the first user, who may do everything; run this as the user as whom the orchestrator runs.

    Such as `sudo -u tarpon tarpon user bootstrap -c DataDir=/var/lib/tarpon`. It needs no key.
    """
    import asyncio

    from shared.runtime.local_socket import local_url
    from tarpon.client import Client

    data_dir = given().config().data_dir
    url = local_url(data_dir)
    if not url:
        raise NotFound(
            f"No orchestrator of this user runs with {data_dir}.",
            hint="Run this on the orchestrator's machine, as its user and with its settings (-c DataDir=...).",
        )

    async def make() -> "CreateUserResponse":
        async with Client(url) as client:
            return await client.create_user(name, (EVERYTHING,))

    _show_made(asyncio.run(make()), output)


def _show_made(made: "CreateUserResponse", output: str) -> None:
    told = made.user
    if output == "table":
        where = "all namespaces" if told.namespaces == ("*",) else f"the namespaces {', '.join(told.namespaces)}"
        may = ", ".join(told.capabilities)
        click.echo(f"User {told.name} may {may} in {where}. The key is shown this once:", err=True)
    show(made, output, lambda: f"export TARPON_API_KEY={shlex.quote(made.key)}")


def _row(each: "UserView") -> list[str]:
    return [
        each.name,
        " ".join(each.capabilities),
        " ".join(each.namespaces),
        from_nanoseconds(each.create_time).strftime(DATE),
        _state(each),
    ]


def _state(each: "UserView") -> str:
    if each.revoked:
        return f"revoked {from_nanoseconds(each.revoked).strftime(DATE)}"
    return f"until {from_nanoseconds(each.expires).strftime(DATE)}" if each.expires else "valid"
