"""The command `tarpon job open`: the page in a browser, at one job, signed in as whoever the command is.

A link that signs in is a secret. Command lines are not: every user of a machine sees them. So the browser is given the
name of a file that only this user can read, which leads on to the link.
"""

import asyncio
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click
import msgspec

from tarpon.cli.console.commands import Command, given, with_client
from tarpon.cli.console.job_group import namespace_option
from tarpon.cli.console.output import output_option, show

if TYPE_CHECKING:
    from tarpon.client import Client

FILE = "open-page.html"
"""In DataDir. It is written anew each time, and what it leads to is good once, for two minutes."""


class PageLink(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`address` signs in whoever opens it first, until it `expires`."""

    address: str
    expires: str
    job_id: str = msgspec.field(name="JobID", default="")


@click.command("open", cls=Command)
@click.argument("job", metavar="[JOB]", default="")
@namespace_option
@click.option("--print", "--no-browser", "only_print", is_flag=True, help="Print the address, and open no browser.")
@output_option
@with_client
async def open_page(client: "Client", *, job: str, namespace: str, only_print: bool, output: str) -> None:
    """Open the page in a browser: at JOB, or at all jobs.

    The browser is signed in as you are here. An address that is printed lets in whoever opens it first, within two
    minutes: keep it to yourself.
    """
    job_id = (await client.get(job, namespace=namespace)).id if job else ""
    link = await page_link(client, job_id)
    if output == "table" and not only_print and await asyncio.to_thread(_opened, link, given().config().data_dir):
        click.echo(f"Opened {f'job {job_id}' if job_id else 'the page'} in your browser.", err=True)
        return
    if output == "table":
        told = "Whoever opens this address first is signed in as you are here; it is good once, for two minutes:"
        click.echo(told if only_print else f"There is no browser here that could be opened. {told}", err=True)
    show(link, output, lambda: link.address)


async def page_link(client: "Client", job_id: str = "") -> PageLink:
    """Where the page is, as this client reaches it, and signed in as it."""
    from shared.runtime.local_socket import SCHEME

    made = await client.page_link()
    base = made.page if client.url.startswith(SCHEME) else client.url
    to = f"jobs/{job_id}" if job_id else "jobs"
    address = f"{base}/#/sign-in?link={made.link}&to={quote(to, safe='')}"
    return PageLink(address=address, expires=made.expires.isoformat(timespec="seconds"), job_id=job_id)


def _opened(link: PageLink, data_dir: Path) -> bool:
    """Whether a browser was told to. Blocks."""
    import webbrowser

    from shared.runtime import durable

    path = (data_dir / FILE).absolute()
    leads = escape(f"0;url={link.address}", quote=True)
    page = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="{leads}"><title>Tarpon</title>\n'
    try:
        durable.make_folder(data_dir)
        durable.write(path, page.encode())
        return webbrowser.open(path.as_uri())
    except (webbrowser.Error, OSError):
        return False
