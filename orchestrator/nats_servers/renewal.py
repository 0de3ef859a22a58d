"""The renewal of a certificate that is served: whoever shows it takes the new one, at a moment that suits.

A new one is in its file as soon as it is made, or as its operator puts it there; so this looks at the file.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable

from orchestrator.admission.tls.certificates import Pair
from orchestrator.admission.tls.served_certificate import ServedCertificate
from orchestrator.nats_servers.server import NatsServer
from shared.errors import TarponError

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


class ApiRenewal:
    """Connections that stand are left alone; the next ones are shown the new certificate."""

    def __init__(self, certificate: ServedCertificate, context: ssl.SSLContext) -> None:
        self._certificate = certificate
        self._context = context

    async def take(self, _: Pair) -> None:
        self._context.load_cert_chain(self._certificate.certificate, self._certificate.key)
        _log.info("The API shows a new certificate.")

    def __repr__(self) -> str:
        return f"<ApiRenewal of {self._certificate!r}>"


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
