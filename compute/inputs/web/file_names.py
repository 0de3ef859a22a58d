"""Names of files that come from a URL: what its server or its path calls them, made fit to be one name in a folder."""

from email.message import Message
from pathlib import PurePosixPath
from urllib.parse import unquote

MAX_BYTES = 255
FALLBACK = "download"
"""Of a URL that has no path."""


def name_of(raw_path: str, disposition: str = "") -> str:
    """`disposition` is the header Content-Disposition, where that counts."""
    return _fit(_told(disposition)) or _fit(unquote(raw_path, errors="replace")) or FALLBACK


def _told(disposition: str) -> str:
    """As RFC 6266 has it, in whatever form."""
    if not disposition:
        return ""
    message = Message()
    message["Content-Disposition"] = disposition
    try:
        return message.get_filename("")
    except (LookupError, ValueError):  # of an encoding that does not exist
        return ""


def _fit(path: str) -> str:
    """The last part of it without what no terminal should see, as short as a name has to be; empty if none is left."""
    name = path.rstrip("/").rpartition("/")[2]
    name = "".join(char for char in name if char.isprintable()).strip()
    name = name.encode("utf-8", "replace").decode()
    if name in {"", ".", ".."}:
        return ""
    ending = PurePosixPath(name).suffix.encode()[:32]
    encoded = name.encode()
    if len(encoded) <= MAX_BYTES:
        return name
    return encoded[: MAX_BYTES - len(ending)].decode(errors="ignore") + ending.decode(errors="ignore")
