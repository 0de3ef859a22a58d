"""The settings of the managed publisher: whether they can work, as far as is known without asking S3."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from shared.data.loopback_hosts import is_loopback
from shared.settings.config import Config
from shared.settings.service_urls import is_service_url

SECTION = "Publishers.Types.S3Managed"
LONGEST_EXPIRATION_SECONDS = 7 * 24 * 3600  # what Signature Version 4 permits

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, general purpose buckets
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IP_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_LONGEST_KEY_BYTES = 700  # of the 1024 that S3 permits; the rest is for the ids


def is_configured(config: Config) -> bool:
    """Whether anybody meant to use the managed publisher; `validate_publisher` tells whether it can work."""
    settings = config.publishers.types.s3managed
    return any((settings.bucket, settings.key, settings.region, settings.endpoint))


def validate_publisher(config: Config) -> list[str]:
    """Every problem with the managed publisher's settings, beginning with the key; none if it is not configured."""
    return list(_problems(config)) if is_configured(config) else []


def _problems(config: Config) -> Iterator[str]:
    settings = config.publishers.types.s3managed
    yield from _bucket(settings.bucket)
    yield from _prefix(settings.key)
    if not settings.region:
        yield f"{SECTION}.Region is missing"
    elif not _REGION.fullmatch(settings.region):
        yield f"{SECTION}.Region: {settings.region[:80]!r} is not the name of a region, such as us-east-1"
    yield from _url(f"{SECTION}.Endpoint", settings.endpoint)
    yield from _url(f"{SECTION}.PublicEndpoint", settings.public_endpoint)
    if not settings.plain_text:
        yield from _plain(f"{SECTION}.Endpoint", settings.endpoint)
        yield from _plain(f"{SECTION}.PublicEndpoint", settings.public_endpoint)
    if not 0 < settings.presigned_url_expiration <= LONGEST_EXPIRATION_SECONDS:
        yield f"{SECTION}.PreSignedURLExpiration must be greater than zero and at most 7 days (168h)"


def _bucket(name: str) -> Iterator[str]:
    key = f"{SECTION}.Bucket"
    if not name:
        yield f"{key} is missing"
    elif not _BUCKET.fullmatch(name) or ".." in name or _IP_ADDRESS.fullmatch(name):
        yield (
            f"{key}: {name[:80]!r} cannot be the name of a bucket; it has 3 to 63 characters out of a-z 0-9 . and -,"
            " begins and ends with a letter or digit, and is no IP address"
        )


def _prefix(prefix: str) -> Iterator[str]:
    key = f"{SECTION}.Key"
    if prefix.startswith("/"):
        yield f"{key} must not begin with a slash"
    if ".." in prefix.split("/"):
        yield f"{key} must not contain '..'"
    if not prefix.isprintable():
        yield f"{key} must not contain control characters"
    if len(prefix.encode()) > _LONGEST_KEY_BYTES:
        yield f"{key} must not be longer than {_LONGEST_KEY_BYTES} bytes"


def _url(key: str, url: str) -> Iterator[str]:
    if url and not is_service_url(url):
        yield f"{key} must be a URL such as https://s3.example.com, without user, path or query"


def _plain(key: str, url: str) -> Iterator[str]:
    if is_service_url(url) and urlsplit(url).scheme == "http" and not is_loopback(url):
        yield (
            f"{key}: {url[:80]!r} has no TLS, so that whoever is on the way reads results and the URLs that they are"
            f" written and read with; use https://, or set {SECTION}.PlainText=true where the network is yours alone"
        )
