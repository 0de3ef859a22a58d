"""Problems with a NATS server, in words that say what to change."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime

import nats.errors

from shared.messaging.client import NotEncrypted
from shared.protocol.nats_address import ENCRYPTED, PLAIN, parse_nats_address
from shared.runtime.network_problems import is_out_of_date, of_own_certificate, why_unreachable
from shared.runtime.tls.probe import speaks_tls

NO_ANSWER = (nats.errors.Error, OSError)
"""What a call over NATS raises where the server or the connection fails it, or an answer does not come in time."""

LISTEN_SECONDS = 0.5
_FULL = ("maximum connections exceeded", "maximum account active connections exceeded")
_NOT_ENCRYPTED = (
    "not used: it does not encrypt, though its address begins with tls://, so no secret was sent to it (give the server"
    " a `tls` block, or write nats:// where the network is yours alone)"
)
_ENCRYPTED = (
    "not used: it speaks TLS, and its address begins with nats:// (write tls://, and name the authority of its"
    " certificate: `tarpon node token show`, where the orchestrator runs, prints all that a node needs)"
)
_TRUST = (
    "name the file with the certificate of its authority in Compute.TLS.CACert or Orchestrator.TLS.CACert, or in"
    " SSL_CERT_FILE, and the server by a name that is in its certificate"
)
_REFUSED_NODE = "refused: wrong join token or secret, or no orchestrator ready"
_REFUSED_ORCHESTRATOR = (
    "refused: it does not know the key of this orchestrator (put what `tarpon agent nats-config` prints into its"
    " configuration, and start it again)"
)


class PayloadsTooSmall(nats.errors.Error):
    """A server whose largest message is smaller than what is sent here."""

    def __init__(self, largest: int, needed: int) -> None:
        super().__init__(f"{largest:,} instead of {needed:,} bytes")
        self.largest = largest
        self.needed = needed


def check_payload(largest: int, needed: int) -> None:
    """Raises PayloadsTooSmall: else small messages would go, and a large one would be tried again for ever."""
    if largest < needed:
        raise PayloadsTooSmall(largest, needed)


class PlainTextUnwanted(nats.errors.Error):
    """A server that begins with TLS was spoken to without."""


async def last_words(servers: Iterable[str], error: Exception, trust: ssl.SSLContext | None = None) -> Exception:
    """Why a server hung up, as it says at once to whoever only listens; else the error.

    nats-py is sending by then, and gets an error of the connection instead of what was said.
    """
    if _is_silence(error):
        for server in servers:
            address = parse_nats_address(server)
            if address.scheme == PLAIN and await speaks_tls(address.host, address.port):
                return PlainTextUnwanted()
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        for server in servers:
            with contextlib.suppress(OSError, TimeoutError, ValueError):
                async with asyncio.timeout(LISTEN_SECONDS):
                    said = await _listen(server, trust)
                    if said.startswith("-ERR"):
                        return nats.errors.Error(said)
    return error


def _of_clock(error: ssl.SSLCertVerificationError) -> str:
    """Where a wrong clock would explain it, what the clock says."""
    return f"; this machine's clock says {datetime.now(UTC):%Y-%m-%d %H:%M} UTC" if is_out_of_date(error) else ""


def _is_silence(error: Exception) -> bool:
    return isinstance(error, TimeoutError | ConnectionResetError) or "empty response" in str(error)


async def _listen(server: str, trust: ssl.SSLContext | None) -> str:
    """The second line, which comes only where there is something wrong."""
    address = parse_nats_address(server)
    context = trust if address.scheme == ENCRYPTED else None
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    try:
        await reader.readline()
        return (await reader.readline()).decode(errors="replace")
    finally:
        writer.transport.abort()


def is_refusal(error: Exception) -> bool:
    """Whether the server has refused who it is, which an orchestrator decides."""
    return "authorization violation" in str(error).lower()


def why_not(error: Exception, *, is_node: bool) -> str:
    """Goes on from "NATS at <address> is ..."."""
    said = str(error).lower()
    if isinstance(error, NotEncrypted):
        return _NOT_ENCRYPTED
    if isinstance(error, PlainTextUnwanted):
        return _ENCRYPTED
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"not trusted: {error.verify_message.rstrip('.')}{_of_clock(error)} ({_TRUST})"
    if refused := of_own_certificate(error):
        where = "Compute.TLS.ClientCert and ClientKey" if is_node else "Orchestrator.TLS.ClientCert and ClientKey"
        return f"not letting this in: {refused} (name the files of one that it takes in {where})"
    if isinstance(error, PayloadsTooSmall):
        return (
            f"not used: it takes messages of {error.largest:,} bytes at most, and Tarpon needs {error.needed:,}"
            f" (set max_payload: {error.needed} in its configuration, and reload it)"
        )
    if any(words in said for words in _FULL):
        return "full: it takes no more connections (raise max_connections in its configuration, or of the account)"
    if is_refusal(error):
        return _REFUSED_NODE if is_node else _REFUSED_ORCHESTRATOR
    return f"not reachable: {why_unreachable(error)}"
