"""Settings of webhooks: who is told of jobs by HTTP."""

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

from shared.data.addresses import allowed_networks
from shared.data.loopback_hosts import is_loopback_host
from shared.jobs.durations import Duration
from shared.settings.tls.declared import FilePath


class WebhookSettings(Struct, frozen=True, kw_only=True, rename="pascal"):
    urls: Annotated[
        tuple[str, ...], Meta(description="Where events of jobs are sent, by HTTP POST; empty is nowhere.")
    ] = field(default=(), name="URLs")
    secret_file: Annotated[
        FilePath,
        Meta(
            description="A file with the secret by which receivers know that an event is ours: whsec_ and 24 to 64"
            " random bytes in base64."
        ),
    ] = FilePath()
    events: Annotated[
        tuple[str, ...],
        Meta(description="Which events are sent: job.completed, job.failed, job.stopped."),
    ] = ("job.completed", "job.failed", "job.stopped")
    namespaces: Annotated[
        tuple[str, ...], Meta(description="The namespaces of whose jobs events are sent; empty is all.")
    ] = ()
    max_age: Annotated[
        Duration, Meta(description="How long one event is tried again while its receiver does not take it.")
    ] = Duration(86400)
    allowed_addresses: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses and networks of receivers that are not of the public internet, such as 10.1.0.0/16;"
            " `private` is all private ones."
        ),
    ] = ()
    ca_file: Annotated[
        FilePath, Meta(description="The authorities, as PEM, of receivers that this machine does not trust by itself.")
    ] = field(default=FilePath(), name="CAFile")
    plain_text: Annotated[
        bool, Meta(description="Whether receivers may be reached by http:// where they are not on loopback.")
    ] = False


WEBHOOK_EVENTS = ("job.completed", "job.failed", "job.stopped")
_SECTION = "Orchestrator.Webhooks"


def webhook_problems(settings: WebhookSettings) -> Iterator[str]:
    """Each begins with the key; no URL is shown, as a token may be in it."""
    for number, url in enumerate(settings.urls, start=1):
        yield from _url(f"{_SECTION}.URLs: the entry {number}", url, plain_text=settings.plain_text)
    if settings.urls and not settings.secret_file:
        yield f"{_SECTION}.SecretFile is missing, by which receivers know that an event is ours"
    for each in settings.events:
        if each not in WEBHOOK_EVENTS:
            yield f"{_SECTION}.Events: {each[:80]!r} is none of {', '.join(WEBHOOK_EVENTS)}"
    if settings.max_age <= 0:
        yield f"{_SECTION}.MaxAge must be greater than zero"
    try:
        list(allowed_networks(settings.allowed_addresses))
    except ValueError as error:
        yield f"{_SECTION}.AllowedAddresses: {str(error)[:80]!r} is neither an address nor a network"


def _url(key: str, text: str, *, plain_text: bool) -> Iterator[str]:
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        yield f"{key} is not a URL"
        return
    if url.scheme not in {"http", "https"} or not host:
        yield f"{key} is not an http or https URL"
    elif url.username or url.password:
        yield f"{key} has a user or password in it, which is not sent: events are signed"
    elif url.scheme == "http" and not plain_text and not is_loopback_host(host):
        yield f"{key} is http:// to another machine: write https://, or set {_SECTION}.PlainText=true"
