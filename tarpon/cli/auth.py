"""The commands `tarpon auth ...`: sign in at the issuer of an orchestrator, and see as whom one asks."""

import asyncio
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from shared.data.plain_text import one_line
from tarpon.cli.console.commands import Command, Group, given
from tarpon.cli.console.output import output_option, show

if TYPE_CHECKING:
    from shared.protocol.rest_nodes import Oauth2View
    from shared.settings.config import Config
    from tarpon.http.sign_in.issuer_calls import DeviceCode
    from tarpon.http.sign_in.kept import KeptSignIn, KeptSignIns
    from tarpon.http.trust import ClientTrust

DATE = "%Y-%m-%d %H:%M:%S UTC"


class AuthInfo(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """As whom commands ask, and where people sign in. Nothing of a key or token is in it."""

    addresses: tuple[str, ...]
    asks_by: str
    provider: str = ""
    issuer: str = ""
    subject: str = ""
    name: str = ""
    expires: str = ""
    refreshes: bool = False


@click.group(cls=Group)
def auth() -> None:
    """Sign in with an account at an identity provider, instead of an API key."""


@auth.group()
def sso() -> None:
    """Sign in and out."""


@sso.command(cls=Command)
def login() -> None:
    """Sign in: open the link that is shown in any browser, and enter the code.

    The token is kept in DataDir for these addresses of the orchestrator alone. It is refreshed as long as the issuer
    lets it be.
    """
    config = given().config()
    kept = asyncio.run(_login(config, _place(config)))
    who, until = _name_in(kept.token, config), _moment(kept.expires)
    goes_on = ", and is refreshed by itself" if kept.refresh_token else ""
    click.echo(f"Signed in at {one_line(kept.provider)} as {who}. The token is valid until {until}{goes_on}.", err=True)
    if any(os.environ.get(name) for name in _key_variables()):
        click.echo("Warning: TARPON_API_KEY is set, and goes before the sign-in: unset it.", err=True)


@sso.command(cls=Command)
@click.option("-f", "--force", is_flag=True, help="Taken as Bacalhau's client has it; nothing is asked here.")
def logout(*, force: bool) -> None:  # noqa: ARG001  # it changes nothing
    """Forget the tokens that are kept for the orchestrator. At the issuer one stays signed in."""
    store, urls, _ = _place(given().config())
    gone = store.drop(urls)
    told = f"Signed out of {', '.join(urls)}." if gone else f"Nobody is signed in at {', '.join(urls)}."
    click.echo(told, err=True)


@sso.command(cls=Command)
def token() -> None:
    """Print the token, for other programs. Whoever has it is you until it expires."""
    from shared.errors import NotFound
    from tarpon.http.sign_in.signed_in import signed_in

    store, urls, trust = _place(given().config())

    async def fresh() -> str:
        found = signed_in(store.path.parent, urls, trust, plain_text=True)
        if found is None:
            raise NotFound(f"Nobody is signed in at {', '.join(urls)}.", hint="`tarpon auth sso login` signs in.")
        await found.fresh()
        return found.token

    click.echo(asyncio.run(fresh()))


@auth.command(cls=Command)
@output_option
def info(*, output: str) -> None:
    """Show where people sign in, and as whom the next command asks."""
    config = given().config()
    told = asyncio.run(_info(config, _place(config)))
    show(told, output, lambda: "\n".join(_lines(told)))


async def _login(config: "Config", place: "_Place") -> "KeptSignIn":
    from tarpon.http.sign_in.login import log_in

    store, urls, trust = place
    ca_file = str(config.api.auth.oauth2.ca_file)
    return await log_in(urls, trust, store, ca_file=ca_file, show=_show_code, on_wait=_waiting())


def _show_code(code: "DeviceCode", told: "Oauth2View") -> None:
    name = one_line(told.provider_name)[:100]
    click.echo(f"To sign in at {name}, open this link in a browser, on any machine:\n\n    {code.url}\n", err=True)
    click.echo(f"and enter this code:\n\n    {click.style(code.user_code, bold=True)}\n", err=True)
    if code.whole_url:
        click.echo(f"Or open this one, and compare the code:\n\n    {code.whole_url}\n", err=True)
    click.echo("Waiting until that is done. Ctrl-C gives up.", err=True)


def _waiting() -> Callable[[float], None]:
    from tarpon.cli.console.progress import LiveLine

    line = LiveLine()

    def on_wait(left: float) -> None:
        if left <= 0:
            line.clear()
        elif line.is_due():
            line.draw(f"The code is good for {int(left) // 60}:{int(left) % 60:02} more minutes.")

    return on_wait


class _Place(NamedTuple):
    """Where sign-ins are kept, the addresses that are meant, and who is trusted there."""

    store: "KeptSignIns"
    urls: tuple[str, ...]
    trust: "ClientTrust"


def _place(config: "Config") -> _Place:
    """As the running command has it."""
    from tarpon.cli.console.clients import orchestrators
    from tarpon.http.sign_in.kept import KeptSignIns
    from tarpon.http.trust import trust_of

    urls, _ = orchestrators(config)
    return _Place(KeptSignIns(config.data_dir), urls, trust_of(config))


async def _info(config: "Config", place: "_Place") -> AuthInfo:
    from shared.runtime.local_socket import SCHEME
    from tarpon.http.sign_in.issuer_calls import claims_in
    from tarpon.http.sign_in.kept import authority_of
    from tarpon.http.sign_in.login import where_people_sign_in

    store, urls, trust = place
    told = await where_people_sign_in(urls, trust)
    kept = await asyncio.to_thread(lambda: store.find(urls, lambda: authority_of(trust)))
    has_key = any(os.environ.get(name) for name in _key_variables())
    by_socket = urls[0].startswith(SCHEME)
    by = "the local socket" if by_socket else "a key" if has_key else "a sign-in" if kept else "nothing"
    claims = claims_in(kept.token) if kept else {}
    return AuthInfo(
        addresses=urls,
        asks_by=by,
        provider=one_line(told.provider_name)[:100],
        issuer=one_line(told.issuer)[:200],
        subject=one_line(str(claims.get("sub", "")))[:255],
        name=_name_in(kept.token, config) if kept else "",
        expires=_moment(kept.expires) if kept else "",
        refreshes=bool(kept and kept.refresh_token),
    )


def _lines(told: AuthInfo) -> list[str]:
    lines = [f"Orchestrator  {', '.join(told.addresses)}", f"Asks by       {told.asks_by}"]
    lines.append(f"Sign-in       {f'{told.provider} ({told.issuer})' if told.provider else 'is not offered there'}")
    if told.expires:
        state = "refreshes by itself" if told.refreshes else "then sign in again"
        lines.append(f"Signed in     {told.name}, until {told.expires}; {state}")
    return lines


def _name_in(token: str, config: "Config") -> str:
    """What a token calls its person; for that one's own eyes."""
    from tarpon.http.sign_in.issuer_calls import claims_in

    claims = claims_in(token)
    names = (config.api.auth.oauth2.name_claim, "preferred_username", "email", "sub")
    found = (claims.get(name) for name in names)
    return one_line(next((text for text in found if isinstance(text, str) and text), "somebody"))[:100]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(min(seconds, time.time() + 10**9), UTC).strftime(DATE)


def _key_variables() -> tuple[str, ...]:
    from tarpon.http.credentials import KEY_VARIABLES, USER_VARIABLES

    return (*KEY_VARIABLES, *USER_VARIABLES)
