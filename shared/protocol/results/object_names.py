"""Names of a result's files as keys of objects: reversible, and safe in whatever serves S3.

A key is UTF-8. What is none in a name is written as `%XX`, a byte at a time; so are control characters, which lists of
objects cannot spell, and `%` itself. Everything else stays as it is, so that tools find files under their own names.
`urllib.parse.unquote_to_bytes` gives the name again.
"""

import re

MAX_KEY_BYTES = 1024
"""Of the whole key (Amazon S3 user guide, "Naming Amazon S3 objects")."""
_UNSAFE = re.compile("[\x00-\x1f%\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class UnsafeName(ValueError):
    """No entry of a result can be called so."""


def object_name(path: bytes) -> str:
    """The key of the file `path`, below that of its result. Raises UnsafeName for a path that leaves the result."""
    if any(part in {b"", b".", b".."} for part in path.split(b"/")):
        raise UnsafeName("a name has no part that is empty, '.' or '..'")
    return _UNSAFE.sub(_escaped, path.decode("utf-8", "surrogateescape"))


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape"))
