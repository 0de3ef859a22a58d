"""Clients of commands: each is of the orchestrator that the settings name, or else of the one on this machine."""

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from shared.settings.config import Config
    from tarpon.cli.console.commands import Given
    from tarpon.client import Client
    from tarpon.http.credentials import Credentials
    from tarpon.http.quick_client import QuickClient


def client_of(config: "Config") -> "Client":
    """Not connected yet. Raises PastedTextInvalid for a key that is mistyped or cut off."""
    from tarpon.client import Client
    from tarpon.http.trust import trust_of

    urls, _ = orchestrators(config)
    return Client(urls, trust=trust_of(config), sign_ins=config.data_dir)


def quick_client_of(config: "Config") -> "QuickClient | None":
    """None for who may have signed in, which takes the real one. Raises PastedTextInvalid."""
    from tarpon.http.quick_calls import QuickCalls
    from tarpon.http.quick_client import QuickClient
    from tarpon.http.sign_in.kept import KeptSignIns
    from tarpon.http.trust import known_by, trust_of

    urls, credentials = orchestrators(config)
    if credentials is None and KeptSignIns(config.data_dir).path.exists():
        return None
    return QuickClient(QuickCalls(urls, known_by(trust_of(config), credentials), credentials))


def orchestrators(config: "Config", options: "Given | None" = None) -> "tuple[tuple[str, ...], Credentials | None]":
    """Their URLs, and the key to show there. `options` are those of a command that does not run yet.

    Raises PastedTextInvalid.
    """
    is_named = _is_named(options)
    from tarpon.http.addresses import base_urls
    from tarpon.http.credentials import credentials_from
    from tarpon.http.trust import known_by, trust_of

    credentials = credentials_from(None, os.environ)
    if credentials is None and not is_named and (local := local_orchestrator(config)):
        return (local,), None
    if credentials is not None and credentials.addresses and not is_named:
        return credentials.addresses, credentials
    scheme = known_by(trust_of(config), credentials).scheme
    return base_urls(config.api.host, config.api.port, scheme=scheme), credentials


def local_orchestrator(config: "Config") -> str:
    """The URL of the orchestrator with this DataDir, if one runs and its settings name no other machine."""
    from shared.runtime.local_socket import local_url
    from tarpon.http.credentials import is_here

    host = f"[{config.api.host}]" if ":" in config.api.host else config.api.host
    return local_url(config.data_dir) if is_here(host if "://" in host else f"http://{host}") else ""


def _is_named(options: "Given | None") -> bool:
    """Whether the command line or the environment says where the API is; files may be those of the orchestrator."""
    from tarpon.cli.console.commands import Given

    context = click.get_current_context(silent=True)
    if context is not None:
        options = context.find_root().ensure_object(Given)
    if options is None:
        return True
    origins = options.origins
    return any(not origins.get(key, "default").startswith(("default", "file ")) for key in ("API.Host", "API.Port"))
