"""Who has signed in, as credentials: the token goes to those alone for whom it is kept, and is refreshed in time."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from shared.errors import Refused
from shared.protocol.rest_nodes import Oauth2View
from shared.runtime.local_socket import SCHEME as LOCAL
from tarpon.http.credentials import PLAIN_TEXT_VARIABLE
from tarpon.http.sign_in.issuer_calls import IssuerCalls, IssuerUnreachable, SignInOver
from tarpon.http.sign_in.kept import KeptSignIn, KeptSignIns, authority_of
from tarpon.http.trust import ClientTrust

EARLY_SECONDS = 30.0
"""So long before its end a token is refreshed, as the orchestrator's clock may be ahead."""


class TokenNotSent(Refused):
    """Nothing was asked: whoever listens could keep the token, and be its holder."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"Nothing was sent to {url}: a token would be read by whoever listens there.",
            hint="Use https://, whose certificate is checked. On your own machine, where nobody else can listen at that"
            f" port, {PLAIN_TEXT_VARIABLE}=true shows it all the same.",
        )


class SignedIn:
    """The sign-in for the addresses of one orchestrator."""

    def __init__(self, kept: KeptSignIn, store: KeptSignIns, *, plain_text: bool) -> None:
        self._kept = kept
        self._store = store
        self._plain_text = plain_text
        self._one = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<SignedIn at {self._kept.issuer}>"

    @property
    def token(self) -> str:
        return self._kept.token

    def shown(self, url: str, *, is_known: bool) -> dict[str, str]:
        """The headers of a request to this address. Raises TokenNotSent."""
        if url.startswith(LOCAL):
            return {}
        check_private(url, plain_text=self._plain_text, is_known=is_known)
        if url.lower() not in self._kept.addresses:
            return {}
        return {"Authorization": f"Bearer {self._kept.token}"}

    async def fresh(self) -> None:
        """Have a token that is valid. Raises SignInOver, SignInFailed, IssuerUnreachable."""
        if time.time() < self._kept.expires - EARLY_SECONDS:
            return
        async with self._one:
            left = self._kept.expires - time.time()
            if left >= EARLY_SECONDS:
                return
            if not self._kept.refresh_token:
                if left <= 0:
                    raise SignInOver(self._kept.provider or self._kept.issuer)
                return
            try:
                self._kept = await asyncio.to_thread(self._store.replace, self._kept, self._refreshed)
            except IssuerUnreachable:
                if left <= 0:
                    raise

    def _refreshed(self) -> KeptSignIn:
        """In a thread, as the file is locked meanwhile: a refresh token may be used once."""
        return asyncio.run(_refreshed(self._kept))


async def _refreshed(kept: KeptSignIn) -> KeptSignIn:
    told = Oauth2View(
        issuer=kept.issuer,
        provider_name=kept.provider,
        device_client_id=kept.client_id,
        token_endpoint=kept.token_endpoint,
        audience=kept.audience,
    )
    async with IssuerCalls.open(told, kept.ca_file) as calls:
        made = await calls.refresh(kept.refresh_token)
    return replace(kept, token=made.token, refresh_token=made.refresh_token, expires=made.expires)


def check_private(url: str, *, plain_text: bool, is_known: bool) -> None:
    """Raise TokenNotSent where somebody else may listen: no certificate is looked at, and nobody has allowed that."""
    if url.startswith(LOCAL) or (url.lower().startswith("https://") and is_known) or plain_text:
        return
    raise TokenNotSent(url)


def signed_in(data_dir: Path, urls: Sequence[str], trust: ClientTrust, *, plain_text: bool) -> SignedIn | None:
    """The sign-in that is kept for all of these; None where there is none. Blocks.

    Raises SignInsOpenToOthers, SignInsUnreadable, AuthorityUnreadable.
    """
    store = KeptSignIns(data_dir)
    kept = store.find(urls, lambda: authority_of(trust))
    return None if kept is None else SignedIn(kept, store, plain_text=plain_text)
