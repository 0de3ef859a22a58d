"""URLs of a result's files, many at once: what they have in common is told once, and each has its signature.

A URL is `<base><quoted key>?<query>&X-Amz-Signature=<signature>`. Each is for one key, and for bytes of one length and
MD5 alone, which are signed as headers.
"""

from collections.abc import Sequence
from urllib.parse import quote

from shared.protocol.messages import FilesGiven, FileToSend
from shared.protocol.signed_url import SignedUrl

SIGNATURE = "&X-Amz-Signature="


def quoted_key(key: str) -> str:
    """As the signature has it."""
    return quote(key, safe="/~")


def headers_of(file: FileToSend, *, create_only: bool) -> dict[str, str]:
    """Those that are signed, and have to be sent."""
    headers = {"content-length": str(file.size), "content-md5": file.md5}
    return headers | {"if-none-match": "*"} if create_only else headers


def file_urls(files: Sequence[FileToSend], given: FilesGiven) -> list[SignedUrl]:
    """Those of these files, in their order. Raises ValueError where not each has one."""
    return [
        SignedUrl(
            method="PUT",
            url=f"{given.base_url}{quoted_key(file.key)}?{given.query}{SIGNATURE}{signature}",
            headers=headers_of(file, create_only=given.create_only),
            lifetime_seconds=given.lifetime_seconds,
        )
        for file, signature in zip(files, given.signatures, strict=True)
    ]
