"""Patterns of paths: `*` and `?` within a name, `**` for any number of folders, `[a-z]` and `{one,other}`.

They are those of the reference's allow-list: `/data` is that folder as a whole, `/data/**` also each thing in it.
"""

import posixpath
import re
from collections.abc import Iterator

MAX_PATTERN = 1024
MAX_PATH = 4096
_SPECIAL = re.compile(r"[*?\[{\\]")


class PathPattern:
    """Of absolute paths. Raises ValueError, with what is wrong, for what is none."""

    def __init__(self, text: str) -> None:
        if not text.startswith("/") or len(text) > MAX_PATTERN or "\0" in text:
            raise ValueError("does not begin with a slash, or is too long")
        if ".." in text.split("/"):
            raise ValueError("has a part that is `..`")
        self.text = posixpath.normpath(f"/{text.lstrip('/')}")
        self.base = self._fixed_part()
        """The path up to the first part that may be several names."""
        self._whole = re.compile(_Translation(self.text).run(), re.DOTALL)

    def __repr__(self) -> str:
        return f"<PathPattern {self.text}>"

    def matches(self, path: str) -> bool:
        """Of a path that is normal: without `.`, `..` and a slash at its end."""
        return len(path) <= MAX_PATH and self._whole.fullmatch(path) is not None

    def _fixed_part(self) -> str:
        found = _SPECIAL.search(self.text)
        return self.text if found is None else posixpath.dirname(self.text[: found.start()])


class _Translation:
    """Of a pattern to a regular expression."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._open = 0
        self._made: list[str] = []

    def run(self) -> str:
        while self._at < len(self._text):
            self._made.append(self._next())
        if self._open:
            raise ValueError("has a { without its }")
        return "".join(self._made)

    def _next(self) -> str:
        char = self._text[self._at]
        if self._takes("/**", at_end_of_part=True):
            return "(?:/.*)?"
        if self._takes("/**/"):
            self._at -= 1  # its last slash may begin another one
            return "(?:/.*)?"
        self._at += 1
        match char:
            case "*":
                while self._takes("*"):
                    pass
                return "[^/]*"
            case "?":
                return "[^/]"
            case "[":
                return self._class()
            case "\\":
                return self._escaped()
            case "{":
                self._open += 1
                return "(?:"
            case "}" if self._open:
                self._open -= 1
                return ")"
            case "," if self._open:
                return "|"
            case _:
                return re.escape(char)

    def _takes(self, what: str, *, at_end_of_part: bool = False) -> bool:
        end = self._at + len(what)
        if not self._text.startswith(what, self._at) or (at_end_of_part and self._text[end : end + 1] not in _ENDS):
            return False
        self._at = end
        return True

    def _class(self) -> str:
        end = self._text.find("]", self._at + 1)
        if end < 0:
            raise ValueError("has a [ without its ]")
        inside, self._at = self._text[self._at : end], end + 1
        negated = inside[:1] in {"^", "!"}
        return f"(?!/)[{'^' if negated else ''}{''.join(_members(inside[negated:]))}]"

    def _escaped(self) -> str:
        if self._at == len(self._text):
            raise ValueError("ends with a backslash")
        self._at += 1
        return re.escape(self._text[self._at - 1])


def _members(inside: str) -> Iterator[str]:
    """Of a class of characters: each by itself, and ranges."""
    if not inside:
        raise ValueError("has a [] with nothing in it")
    at = 0
    while at < len(inside):
        first, last = inside[at], inside[at + 2 : at + 3]
        if inside[at + 1 : at + 2] == "-" and last:
            if first > last:
                raise ValueError("has a range of characters that is none")
            yield f"{re.escape(first)}-{re.escape(last)}"
            at += 3
        else:
            yield re.escape(first)
            at += 1


_ENDS = frozenset({"", ",", "}"})
