"""Pages of other sites, which a person's browser shows: they may not use it to ask the API on its machine."""

import ipaddress
import socket
from functools import cache
from urllib.parse import urlsplit

from aiohttp import web

from shared.data.loopback_hosts import is_loopback
from shared.errors import Refused


def refuse_pages(request: web.Request) -> None:
    """Raise Refused for what a page of another site asks: programs send no Origin, and the own page sends its own."""
    origin = request.headers.get("Origin")
    if origin is not None and origin not in {f"http://{request.host}", f"https://{request.host}"}:
        raise _refused()


def refuse_led_here(request: web.Request) -> None:
    """Raise Refused for who has reached loopback by a name of the network's, and may have been led there by a page.

    (DNS rebinding.) A page knows no key, so it is for those who show none.
    """
    here = request.transport.get_extra_info("sockname") if request.transport is not None else None
    if isinstance(here, tuple) and is_loopback(f"http://{_bracketed(here[0])}") and not _is_plain(request.host):
        raise _refused()


def refuse_pages_by_other_names(request: web.Request) -> None:
    """Raise Refused for what a page asks without a key that has reached this machine by a name which is not its own.

    Such a page may be of whoever has made that name lead here, also where this machine is not reached by loopback.
    """
    if "Origin" in request.headers and not _is_plain(request.host) and not _is_own(request.host):
        raise _refused()


@cache
def _own_names() -> frozenset[str]:
    name = socket.gethostname().lower()
    return frozenset({name, name.partition(".")[0], f"{name.partition('.')[0]}.local"})


def _is_own(host: str) -> bool:
    return (urlsplit(f"//{host}").hostname or "") in _own_names()


def _refused() -> Refused:
    return Refused(
        "A web page of another site asked, or this machine was asked for by another's name.",
        hint="Use the API from a program, by localhost or an address, or with a key.",
    )


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _is_plain(host: str) -> bool:
    """An address, or a name that always means the machine itself."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # this is no host at all
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return is_loopback(f"http://{host}")
    return True
