"""Settings of a node's inputs: how they are fetched, how much of them is kept, and where they may come from."""

from typing import Annotated

from msgspec import Meta, Struct, field

from shared.jobs.durations import Duration


class UrlDownloadSettings(Struct, frozen=True, kw_only=True, rename="pascal"):
    size_limit: Annotated[
        str, Meta(description="How large a file may be that the node fetches for a task from a URL.")
    ] = "100GB"
    use_proxy: Annotated[
        bool,
        Meta(
            description="Whether downloads from URLs go through the proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY of"
            " the node name. It then is the proxy that connects, so that it has to refuse addresses itself."
        ),
    ] = False


class InputSettings(Struct, frozen=True, kw_only=True, rename="pascal"):
    cache_size: Annotated[
        str,
        Meta(
            description="How much of what tasks read is kept for the next ones: a share of the disk, or an amount such"
            " as 10GB. What a task reads now is kept in any case; 0 keeps nothing else."
        ),
    ] = "10GB"
    fetch_timeout: Annotated[
        Duration,
        Meta(description="How long fetching the inputs of one task may take, beside its own time; 0s is no limit."),
    ] = Duration(4 * 3600)
    allowed_addresses: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses and networks that URLs of tasks may lead to although they are not of the public"
            " internet, such as 10.1.0.0/16; `private` is all private ones. A metadata address of a cloud has to be"
            " named by itself."
        ),
    ] = ()
    url_download: UrlDownloadSettings = field(default=UrlDownloadSettings(), name="URLDownload")
