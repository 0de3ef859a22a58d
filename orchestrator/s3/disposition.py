"""The disposition of an object: the name under which it is saved, in `Content-Disposition` of RFC 6266."""

import re
from urllib.parse import quote

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._ -]")


def named(name: str) -> dict[str, str]:
    """The query of a signed GET (Amazon S3 API reference, "GetObject")."""
    return {"response-content-disposition": disposition(name)}


def disposition(name: str) -> str:
    """Plain ASCII without a quotation mark, and the name as it is for who knows more, which most programs do."""
    plain = _NOT_PLAIN.sub("_", name)
    told = f'attachment; filename="{plain}"'
    return told if plain == name else f"{told}; filename*=UTF-8''{quote(name, safe='')}"
