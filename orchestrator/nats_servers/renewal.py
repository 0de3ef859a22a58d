"""The renewal of certificates that an orchestrator shows: whoever shows one takes the new one, at a moment that suits.

A new one is in its file as soon as it is made, or as its operator puts it there; so this looks at the file.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

from orchestrator.admission.tls.certificates import Pair
from orchestrator.admission.tls.encryption import Encryption, nats_client_certificate
from orchestrator.admission.tls.served_certificate import Served, ServedCertificate
from orchestrator.nats_servers.server import NatsServer
from shared.errors import TarponError
from shared.runtime.aio import background
from shared.runtime.tls.client_certificate import keep_shown
from shared.settings.config import Config

_log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0

Take = Callable[[Pair], Awaitable[None]]


async def keep_current(
    certificate: ServedCertificate, shown: Pair, take: Take, *, every_seconds: float = LOOK_SECONDS
) -> None:
    """Have each new one taken, for ever. What cannot be served is told once, and the old one stays."""
    told = ""
    while True:
        await asyncio.sleep(every_seconds)
        try:
            found = await asyncio.to_thread(certificate.load, now=time.time())
            if found != shown:
                await take(found)
        except (TarponError, OSError) as error:
            if told != str(error):
                told = str(error)
                _log.error("The certificate that is served stays as it is: %s %s", error, getattr(error, "hint", ""))
            continue
        shown, told = found, ""


class ContextRenewal:
    """Of what shows its certificate by a context: connections that stand are left alone, and the next ones get it."""

    def __init__(self, certificate: ServedCertificate, context: ssl.SSLContext, *, said: str) -> None:
        self._certificate = certificate
        self._context = context
        self._said = said

    async def take(self, _: Pair) -> None:
        self._context.load_cert_chain(self._certificate.certificate, self._certificate.key)
        _log.info("%s", self._said)

    def __repr__(self) -> str:
        return f"<ContextRenewal of {self._certificate!r}>"


class NatsRenewal:
    """The server ends the connections of nodes and programs when it reads its files again, so this is done once.

    They are back within seconds, and what runs goes on. A moment at which nothing runs is awaited for `within_seconds`;
    then it has to be without. `trust` is that of our own connections.
    """

    def __init__(
        self,
        server: NatsServer,
        trust: ssl.SSLContext,
        *,
        is_quiet: Callable[[], bool],
        within_seconds: float,
        poll_seconds: float = 1.0,
    ) -> None:
        self._server = server
        self._trust = trust
        self._is_quiet = is_quiet
        self._within_seconds = within_seconds
        self._poll_seconds = poll_seconds

    async def take(self, pair: Pair) -> None:
        self._trust.load_verify_locations(cadata=pair.der)  # beside the old one, which is shown until then
        looks = int(self._within_seconds / self._poll_seconds)
        for _ in range(looks):
            if self._is_quiet():
                break
            await asyncio.sleep(self._poll_seconds)
        await self._server.reload()
        _log.info("The NATS server shows a new certificate; nodes and programs connect again.")

    def __repr__(self) -> str:
        return f"<NatsRenewal of {self._server!r}>"


def renewing(
    config: Config,
    encryption: Encryption,
    trust: ssl.SSLContext | None,
    server: NatsServer | None,
    *,
    is_quiet: Callable[[], bool],
) -> AbstractAsyncContextManager[object]:
    """In which all certificates are kept current that this orchestrator shows.

    `trust` is that of our own connections to NATS, of `server` if it is ours.
    """
    found: dict[str, Coroutine[Any, Any, None]] = {}
    if (served := encryption.api) is not None and (context := encryption.api_context) is not None:
        taken = ContextRenewal(served.certificate, context, said="The API shows a new certificate.")
        found["api_certificate"] = _keeping(served, taken.take)
    if (served := encryption.nats) is not None and server is not None and trust is not None:
        patience = float(config.orchestrator.tls.renewal_patience)
        exchanged = NatsRenewal(server, trust, is_quiet=is_quiet, within_seconds=patience)
        found["nats_certificate"] = _keeping(served, exchanged.take)
    if (asked := encryption.nats_clients) is not None and trust is not None:
        shown = ContextRenewal(asked.own.certificate, trust, said="NATS is shown a new certificate of ours.")
        found["own_certificate"] = _keeping(asked.own, shown.take)
    elif (given := nats_client_certificate(config)) is not None and trust is not None:
        found["own_certificate"] = keep_shown(given, trust)
    return background(**found)


async def _keeping(served: Served, take: Take) -> None:
    """Keep it current, and known by whoever tells when it ends."""

    async def taken(pair: Pair) -> None:
        await take(pair)
        served.shown = pair

    await keep_current(served.certificate, served.shown, taken)
