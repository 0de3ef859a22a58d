"""The settings of limits: how much of the API one address, person or program may take up."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Annotated

from msgspec import Meta, Struct

from shared.jobs.durations import Duration

Count = Annotated[int, Meta(ge=1)]


class ApiLimits(Struct, frozen=True, kw_only=True, rename="pascal"):
    strange_connections: Annotated[
        Count,
        Meta(
            description="How many connections to the HTTP API may be open over which nobody has shown a valid key yet."
            " Beyond that the oldest one of the address that has most is closed."
        ),
    ] = 512
    strange_connections_per_address: Annotated[
        Count, Meta(description="The same for one address; of IPv6, a network of 64 bits counts as one.")
    ] = 128
    connections_per_user: Annotated[
        Count,
        Meta(description="How many connections one user may have; beyond that the one idle for longest is closed."),
    ] = 256
    header_timeout: Annotated[
        Duration, Meta(description="How long the headers of a request may take, with the beginning of TLS before them.")
    ] = Duration(10)
    requests_per_second: Annotated[
        Count, Meta(description="How many requests to the HTTP API one user may make, and four times as many at once.")
    ] = 500
    strange_requests_per_second: Annotated[
        Count, Meta(description="The same for all requests from one address that show no valid key.")
    ] = 50
    program_requests_per_second: Annotated[
        Count,
        Meta(
            description="How many requests one program may make over NATS while no other does, twice as many at once;"
            " a tenth of it beside others."
        ),
    ] = 5000
    streams_per_user: Annotated[
        Count, Meta(description="How many streams of events and logs one user may read at once.")
    ] = 128
    streamed_bytes_per_second: Annotated[
        Count, Meta(description="How many bytes all streams of events and logs of one user may bring together.")
    ] = 16 << 20
    sent_bytes_per_second: Annotated[
        Count, Meta(description="How many bytes one user may send to the HTTP API, and four times as many at once.")
    ] = 8 << 20
    read_bytes_per_second: Annotated[
        Count,
        Meta(description="How many bytes one user may read from it beside streams, and four times as many at once."),
    ] = 64 << 20


def limit_problems(limits: ApiLimits, proxies: tuple[str, ...]) -> Iterator[str]:
    if limits.header_timeout <= 0:
        yield "API.Limits.HeaderTimeout must be greater than zero"
    if limits.strange_connections_per_address > limits.strange_connections:
        yield "API.Limits.StrangeConnectionsPerAddress must not be more than StrangeConnections"
    for entry in proxies:
        try:
            ip_network(entry.strip())
        except ValueError:
            yield f"API.TrustedProxies: {entry[:80]!r} is neither an address nor a network such as 10.1.0.0/16"
