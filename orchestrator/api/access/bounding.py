"""Bounding: each request is counted for whoever makes it, from its headers to the last byte of its answer."""

from aiohttp import web
from aiohttp.typedefs import Middleware

from orchestrator.admission.bounds.origins import FORWARDED, FORWARDED_FOR, LOCAL, Proxies
from orchestrator.admission.bounds.shares import UserShares
from orchestrator.api.access.listener import Listener
from orchestrator.api.access.use import RequestUse, use_key
from orchestrator.api.bodies import MAX_BODY_BYTES
from orchestrator.api.routes import Handler
from shared.runtime.metering import metered

ANY_BODY_BYTES = 2 * MAX_BODY_BYTES
"""Of one whose length is not told: its chunks take place, too."""
ANY_BYTES = 1 << 62


def bounding(shares: UserShares, listener: Listener, proxies: Proxies) -> Middleware:
    """Count what goes on; what is too much is refused where it is known who asks."""

    @web.middleware
    async def bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
        peer = listener.peers.get(request.protocol)
        use = RequestUse(shares, listener.connections, peer, _address(request, proxies))
        request[use_key] = use
        if peer is not None:
            listener.connections.begin(peer, _body_bytes(request))
        response: web.StreamResponse | None = None
        try:
            response = await metered(handler(request), use.on_time)
            return response
        finally:
            use.end(response)
            if peer is not None and request.content.is_eof():
                peer.is_busy = False

    return bounded


def _address(request: web.Request, proxies: Proxies) -> str:
    peer = request.remote
    if not peer:
        return LOCAL
    headers = request.headers
    listed, described = headers.getall(FORWARDED_FOR, ()), headers.getall(FORWARDED, ())
    return proxies.address(peer, forwarded_for=listed, forwarded=described)


def _body_bytes(request: web.Request) -> int:
    if "Upgrade" in request.headers:  # a websocket: nothing that comes is kept
        return ANY_BYTES
    if request.content_length is not None:
        return request.content_length
    return ANY_BODY_BYTES if request.can_read_body else 0
