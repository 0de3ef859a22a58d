"""The commands `tarpon agent nats-...`: a NATS server or cluster of one's own."""

import asyncio
from typing import TYPE_CHECKING

import click

from shared.data.plain_text import printable
from tarpon.cli.console.commands import Command, given
from tarpon.cli.console.local_secrets import local_secrets, nats_addresses, own_trust
from tarpon.cli.console.output import output_option, show, table

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from orchestrator.admission.secret_files import Secrets
    from orchestrator.nats_servers.check import ServerFinding
    from orchestrator.nats_servers.replicas import Kept


_WHOLE = (
    "# For a server that is Tarpon's alone: of two blocks of one name nats-server takes the last, and tells nobody.\n"
    "# If you have a block `accounts` or `authorization`, see `tarpon agent nats-config --help` for --part.\n"
)


@click.command("nats-config", cls=Command)
@click.option(
    "--part",
    type=click.Choice(["all", "accounts", "authorization", "server"]),
    default="all",
    show_default=True,
    help="What is printed: all, for a server that is Tarpon's alone; or what you include in your own `accounts` block,"
    " in your own `authorization` block, or at the top level of a server without one.",
)
@click.option("--system-account", default="", metavar="NAME", help="The server's own system account, if it has one.")
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="USER",
    help="A user, or its nkey, that the server itself lets in; all others are judged by the orchestrator. Repeatable.",
)
def nats_config(part: str, system_account: str, users: tuple[str, ...]) -> None:
    """Print what a NATS server or cluster of your own needs in its configuration; run this where the orchestrator runs.

    It makes the accounts that keep nodes, integrations and the orchestrator apart, and names public keys alone. Put
    it into a file beside your configuration, include it, have `jetstream` enabled with a `store_dir`, and start the
    server again: a reload is not enough. `tarpon agent nats-check` tells whether it is all there.
    """
    secrets = local_secrets(given().config(), make=True)
    from orchestrator.admission.nats_config import ConfigSection, Neighbours, render_part

    text = render_part(
        ConfigSection(part),
        Neighbours(system_account=system_account, users=users),
        issuer=secrets.issuer_public_key,
        orchestrator=secrets.orchestrator_public_key,
    )
    click.echo(f"{_WHOLE if part == ConfigSection.ALL else ''}{text}", nl=False)


@click.command("nats-check", cls=Command)
@click.argument("urls", nargs=-1, metavar="[URL]...")
@output_option
def nats_check(urls: tuple[str, ...], output: str) -> None:
    """Tell what is missing or in the way on NATS servers; run this where the orchestrator runs.

    Without a URL those of Orchestrator.NATS.Servers are looked at, or the embedded one. It logs in as the orchestrator,
    as a program and into the system account, changes nothing, and ends with 1 where something has to be changed.
    """
    config = given().config()
    secrets = local_secrets(config)
    from orchestrator.nats_servers.addresses import addresses

    trust = own_trust(config, secrets)
    servers = _checked(urls) or _checked(addresses(config.orchestrator), encrypted=trust is not None)
    found = asyncio.run(_check(servers, secrets, trust))
    show(found, output, lambda: "\n".join(_line(each) for each in found))
    if not all(each.good for each in found):
        click.get_current_context().exit(1)


def _checked(urls: tuple[str, ...], *, encrypted: bool = False) -> tuple[str, ...]:
    from shared.protocol.nats_address import parse_nats_address

    found = [parse_nats_address(url) for url in urls]
    return tuple((each.encrypted if encrypted else each).url for each in found)


async def _check(servers: "Sequence[str]", secrets: "Secrets", trust: "ssl.SSLContext | None") -> "list[ServerFinding]":
    from orchestrator.nats_servers.check import check_nats

    return await check_nats(servers, secrets, trust)


def _line(finding: "ServerFinding") -> str:
    mark = "ok      " if finding.good else "PROBLEM "
    hint = f"\n        {finding.hint}" if finding.hint else ""
    return printable(f"{mark}{finding.server}: {finding.message}") + hint


@click.command("nats-replicas", cls=Command)
@click.argument("count", type=click.IntRange(1, 5))
@output_option
def nats_replicas(count: int, output: str) -> None:
    """Keep what is stored on COUNT servers of the NATS cluster; run this where the orchestrator runs.

    Orchestrators go on meanwhile. Three servers go on when one of them is lost, two do not. For what is made anew set
    Orchestrator.NATS.Replicas as well.
    """
    config = given().config()
    secrets = local_secrets(config)
    kept = asyncio.run(_set_replicas(nats_addresses(config), secrets, count, own_trust(config, secrets)))
    rows = [[each.stream, str(each.before), str(each.now), "yes" if each.complete else "not yet"] for each in kept]
    show(kept, output, lambda: table(["STREAM", "BEFORE", "NOW", "ALL COPIED"], rows))


async def _set_replicas(
    servers: "Sequence[str]", secrets: "Secrets", count: int, trust: "ssl.SSLContext | None"
) -> "list[Kept]":
    from orchestrator.nats_servers.replicas import connected_set_replicas

    return await connected_set_replicas(servers, secrets, count, trust)
