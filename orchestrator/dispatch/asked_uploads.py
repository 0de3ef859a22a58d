"""What nodes ask to send: whether it makes sense, as it becomes keys and headers."""

import re
from urllib.parse import unquote_to_bytes

from shared.errors import GrantRefused
from shared.protocol.messages import FileToSend
from shared.protocol.results.content_manifest import MOST_PUT_BYTES
from shared.protocol.results.object_names import MAX_KEY_BYTES, object_name

_MD5 = re.compile(r"[0-9A-Za-z+/]{22}==")
_CRC32 = re.compile(r"[0-9A-Za-z+/]{6}==")


def may_be_file(folder: str, file: FileToSend) -> bool:
    """Whether it is a file of a result, whose objects' keys begin with `folder`."""
    try:
        is_name = object_name(unquote_to_bytes(file.key)) == file.key
        key_bytes = len(f"{folder}{file.key}".encode())
    except ValueError:
        return False
    is_digest = _MD5.fullmatch(file.md5) is not None
    return is_name and is_digest and key_bytes <= MAX_KEY_BYTES and file.size <= MOST_PUT_BYTES


def checked_crc32(crc32: tuple[str, ...]) -> tuple[str, ...]:
    """Checksums of parts, in base64. Raises GrantRefused."""
    if not all(_CRC32.fullmatch(each) for each in crc32):
        raise GrantRefused("A checksum makes no sense: it is no CRC-32 in base64.")
    return crc32
