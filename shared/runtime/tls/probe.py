"""A probe for TLS: whether what listens speaks it, to say so where plain text got no answer."""

import asyncio
import ssl

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
