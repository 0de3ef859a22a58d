"""The names in a small result, or in the index of a larger one, read at once and for a look alone.

Nothing is checked against a digest, because nothing comes of it but a name that a person may choose.
"""

import json
import ssl
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from shared.errors import TarponError
from shared.extraction.tar_reader import Member, MemberKind, TarReader
from tarpon.http.quick_calls import fetched

MAX_RAW_BYTES = 16 << 20
MAX_NAMES = 50_000
_GZIP = 31
_NAMED_KINDS = frozenset({"file", "directory", "symlink", "hardlink"})


def listed(params: Mapping[str, Any], context: ssl.SSLContext | None = None) -> list[str]:
    """Names as they are in the archive, those of folders with a slash at the end; no more than MAX_NAMES.

    `params` are those of a result as the API tells them. Raises OSError, ValueError, LookupError.
    """
    url = params.get("IndexURL") or ""
    found: list[str] = []
    try:
        raw = _raw(fetched(url or params["PreSignedURL"], context))
        for name in _of_index(raw) if url else _of_archive(raw):
            found.append(name.removeprefix("./"))
            if len(found) == MAX_NAMES:
                break
    except (TarponError, zlib.error) as error:
        raise ValueError("it is damaged") from error
    return [name for name in found if name.strip("/")]


def _raw(content: bytes) -> bytes:
    """Of several gzip members all, as an archive may have."""
    raw = bytearray()
    while content and len(raw) < MAX_RAW_BYTES:
        member = zlib.decompressobj(_GZIP)
        raw += member.decompress(content, MAX_RAW_BYTES - len(raw))
        if not member.eof:
            break
        content = member.unused_data
    return bytes(raw)


def _of_index(raw: bytes) -> Iterator[str]:
    for line in raw.splitlines():
        entry = json.loads(line)
        if entry["kind"] in _NAMED_KINDS and entry.get("path"):
            yield entry["path"] + ("/" if entry["kind"] == "directory" else "")


def _of_archive(raw: bytes) -> Iterator[str]:
    for event in TarReader().feed(raw):
        if isinstance(event, Member):
            name = event.name.decode(errors="ignore").rstrip("/")
            yield name + ("/" if event.kind is MemberKind.DIRECTORY else "")
