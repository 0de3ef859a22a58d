"""Probes for TLS: what listens is asked nothing, to tell why something got no answer from it."""

import asyncio
import ssl

from shared.runtime.network_problems import SHOWN_REFUSED, WANTS_CERTIFICATE, of_own_certificate

PROBE_SECONDS = 1.0


async def speaks_tls(host: str, port: int) -> bool:
    """Nothing is sent but the beginning of TLS, which says nothing of us, and no certificate is looked at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError, ValueError):
        return False
    writer.transport.abort()
    return True


async def refused_certificate(host: str, port: int, context: ssl.SSLContext, *, shows: bool) -> str:
    """What the server has against the certificate that the context `shows`, or does not; empty where it has nothing.

    As shared/runtime/network_problems.py has it. A server refuses it after the client's part is done (TLS 1.3), and
    those of Python hang up without a word then; nobody else hangs up on who has sent nothing yet.
    """
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            await reader.read(1)
    except TimeoutError:
        return ""
    except (OSError, ValueError) as error:
        if told := of_own_certificate(error):
            return told
        if writer is None:
            return ""
    finally:
        if writer is not None:
            writer.transport.abort()
    return SHOWN_REFUSED if shows else WANTS_CERTIFICATE
