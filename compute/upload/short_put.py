"""One PUT of few bytes over a connection that is kept, which costs a third of what a Delivery costs.

It is tried once. Whatever does not go as usual is left to a Delivery, which has the patience for it.
"""

import asyncio
from collections.abc import Mapping

from compute.upload.put import IDLE_SECONDS
from shared.protocol.signed_url import SignedUrl
from shared.web.short_requests import ShortRequests, address_of, request_head

SHORT_BYTES = 64 << 10
LEAST_SECONDS = 5.0
"""A URL has to live so long still."""
NOTHING: Mapping[str, str] = {}


async def put_soon(
    short: ShortRequests, url: SignedUrl, content: bytes | memoryview, headers: Mapping[str, str] = NOTHING
) -> int:
    """The status with which S3 answered; 0 where it did not, or cannot be asked so. `headers` are sent as well."""
    address = address_of(url.url)
    told = {**url.headers, **headers}
    head = request_head("PUT", address.called, address.target, told) if address is not None else None
    if address is None or head is None:
        return 0
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            answer = await short.ask(address.server, head + content, may_repeat=True)
    except OSError:  # of which TimeoutError is one
        return 0
    return answer.status
