"""Signed URLs: the right to read or write one object, and how long it lives."""

import time
from typing import Any

import msgspec

CHECKSUM_HEADER = "x-amz-checksum-crc32"
"""The CRC-32 of the body, in base64: S3 refuses other bytes. Amazon's wants it signed, as all headers of this kind."""


class SignedUrl(msgspec.Struct, frozen=True, kw_only=True):
    """A pre-signed URL: whoever holds it may make this one request until it expires.

    It is a credential, so its text form shows the host and path alone. `headers` must be sent verbatim with the
    request, because the signature covers them. The lifetime is relative, since the clocks of nodes may be wrong.
    """

    method: str
    url: str
    headers: dict[str, str] = {}
    lifetime_seconds: int

    @property
    def address(self) -> str:
        """The URL without what makes it a credential."""
        return self.url.partition("?")[0]

    def __repr__(self) -> str:
        return f"<SignedUrl {self.method} {self.address}, {self.lifetime_seconds} s>"

    __str__ = __repr__

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What rich shows instead of the fields, also in tracebacks with local variables."""
        return [("method", self.method), ("address", self.address), ("lifetime_seconds", self.lifetime_seconds)]


class Grant:
    """A signed URL with the moment at which it dies by this process's monotonic clock."""

    __slots__ = ("expires_at", "url")

    def __init__(self, url: SignedUrl, *, received_at: float | None = None) -> None:
        self.url = url
        start = time.monotonic() if received_at is None else received_at
        self.expires_at = start + url.lifetime_seconds

    def remaining_seconds(self) -> float:
        return self.expires_at - time.monotonic()

    def __repr__(self) -> str:
        return f"<Grant {self.url!r}, {self.remaining_seconds():.0f} s left>"
