"""Sessions of HTTP: each of the user's side is made here, with the context that says whose certificates it takes."""

import ssl
from typing import Any

import aiohttp


def new_session(
    context: ssl.SSLContext | None, *, connector: aiohttp.BaseConnector | None = None, **options: Any
) -> aiohttp.ClientSession:
    """Without a context it is whom this machine trusts. Call it in a running loop.

    A `connector` is one that encrypts nothing, to this machine; `options` are of aiohttp.
    """
    connector = connector or aiohttp.TCPConnector(ssl=True if context is None else context)
    return aiohttp.ClientSession(connector=connector, **options)
