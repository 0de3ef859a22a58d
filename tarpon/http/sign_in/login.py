"""Login: the orchestrator says where its people sign in, the issuer signs one in, and what it gives is kept."""

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any

from shared.errors import RemoteError
from shared.protocol.rest import Page
from shared.protocol.rest_nodes import AuthConfigResponse, Oauth2View
from shared.runtime.local_socket import SCHEME as LOCAL
from tarpon.http.calls import Calls
from tarpon.http.credentials import plain_text_in
from tarpon.http.sign_in.issuer_calls import DeviceCode, IssuerCalls, SignInNotOffered
from tarpon.http.sign_in.kept import KeptSignIn, KeptSignIns, authority_of
from tarpon.http.sign_in.signed_in import SignedIn, check_private
from tarpon.http.trust import ClientTrust

CALL_SECONDS = 30.0
_LACKS_A_CAPABILITY = frozenset({"CapabilityMissing", "NotForAllNamespaces", "NamespaceForbidden"})


async def where_people_sign_in(urls: Sequence[str], trust: ClientTrust) -> Oauth2View:
    """What the orchestrator says of it, to anybody. Without a ProviderID there is no such place."""
    async with Calls(urls, timeout=CALL_SECONDS, trust=trust) as calls:
        return (await calls.call("GET", "/agent/authconfig", AuthConfigResponse)).config


async def log_in(
    urls: Sequence[str],
    trust: ClientTrust,
    store: KeptSignIns,
    *,
    ca_file: str = "",
    show: Callable[[DeviceCode, Oauth2View], None],
    on_wait: Callable[[float], None] = lambda _: None,
) -> KeptSignIn:
    """Sign in for these addresses, and keep it. `show` is told what its person has to do.

    Nobody is sent to an issuer that a stranger names: whoever listens has to be known first. Raises SignInNotOffered,
    SignInDenied, SignInTimedOut, SignInFailed, TokenNotSent, and RemoteError where the orchestrator lets nobody in
    whom the issuer has signed in.
    """
    plain_text = plain_text_in(os.environ)
    for url in urls:
        if url.startswith(LOCAL):
            raise SignInNotOffered(f"{url} is the orchestrator's own user's, who needs no sign-in")
        check_private(url, plain_text=plain_text, is_known=not trust.insecure)
    told = await where_people_sign_in(urls, trust)
    if not told.provider_id:
        raise SignInNotOffered("the orchestrator has no identity provider")
    async with IssuerCalls.open(told, ca_file) as issuer:
        code = await issuer.begin()
        show(code, told)
        try:
            made = await issuer.wait(code, on_wait=on_wait)
        finally:
            on_wait(0.0)
    kept = KeptSignIn(
        addresses=tuple(url.lower() for url in urls),
        authority=await asyncio.to_thread(authority_of, trust),
        issuer=told.issuer,
        provider=told.provider_name,
        client_id=told.device_client_id,
        audience=told.audience,
        token_endpoint=told.token_endpoint,
        token=made.token,
        refresh_token=made.refresh_token,
        expires=made.expires,
        ca_file=ca_file,
    )
    await _show(SignedIn(kept, store, plain_text=plain_text), urls, trust)
    await asyncio.to_thread(store.put, kept)
    return kept


async def _show(made: SignedIn, urls: Sequence[str], trust: ClientTrust) -> None:
    """Show it once, so that who is let in nowhere is told so now. Who may not list jobs may do something else."""
    async with Calls(urls, timeout=CALL_SECONDS, trust=trust, credentials=made) as calls:
        try:
            await calls.call("GET", "/orchestrator/jobs", Page[Any], query={"limit": "1"})
        except RemoteError as error:
            if error.remote_code not in _LACKS_A_CAPABILITY:
                raise
