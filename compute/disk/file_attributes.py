"""Extended attributes of files: which of them are kept, and how an archive tells them.

They are kept as pax records `SCHILY.xattr.<name>` with the raw value, which GNU tar (`--xattrs`) and bsdtar restore.
Access control lists are attributes too, and told a second time as text, `SCHILY.acl.access` and `SCHILY.acl.default`,
which is what `--acls` of GNU tar and bsdtar read.
"""

import errno
import os
import struct
from collections.abc import Iterator

MAX_BYTES = 1 << 20
"""Of all attributes of one file."""
_ACCESS, _DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
_LISTS = {_ACCESS: b"SCHILY.acl.access", _DEFAULT: b"SCHILY.acl.default"}
_NAMED = frozenset({"security.capability", *_LISTS})
_HAS_NONE = frozenset({errno.ENOTSUP, errno.ENOENT, errno.ENODATA, errno.EPERM, errno.EACCES})
_ACL_VERSION = struct.pack("<I", 2)
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_TAGS = {1: "user:", 2: "user:{}", 4: "group:", 8: "group:{}", 16: "mask:", 32: "other:"}

Records = tuple[tuple[bytes, bytes], ...]


class TooManyAttributes(Exception):
    """More than MAX_BYTES."""


def attribute_names(file: int | str) -> list[str]:
    """Of those that are kept. A path is not followed where it is a link."""
    try:
        found = os.listxattr(file) if isinstance(file, int) else os.listxattr(file, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _HAS_NONE:
            raise
        return []
    return sorted(name for name in found if name in _NAMED or name.startswith("user.")) if found else []


def attribute_records(file: int | str) -> Records:
    """What the archive says of them, in the order of their names. Raises OSError, TooManyAttributes."""
    names = attribute_names(file)
    return tuple(_records(file, names)) if names else ()


def _records(file: int | str, names: list[str]) -> Iterator[tuple[bytes, bytes]]:
    total_bytes = 0
    for name in names:
        value = os.getxattr(file, name) if isinstance(file, int) else os.getxattr(file, name, follow_symlinks=False)
        total_bytes += len(value)
        if total_bytes > MAX_BYTES:
            raise TooManyAttributes
        text = acl_text(value) if name in _LISTS else b""
        if text:
            yield _LISTS[name], text
        yield b"SCHILY.xattr." + os.fsencode(name), value


def acl_text(value: bytes) -> bytes:
    """The short text form of acl(5), with numbers instead of names; empty if this is no list that is known."""
    if value[:4] != _ACL_VERSION or (len(value) - 4) % _ACL_ENTRY.size:
        return b""
    entries = []
    for tag, allowed, number in _ACL_ENTRY.iter_unpack(value[4:]):
        if tag not in _ACL_TAGS:
            return b""
        letters = "".join(letter if allowed & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
        entries.append(f"{_ACL_TAGS[tag].format(number)}:{letters}")
    return ",".join(entries).encode("ascii")
