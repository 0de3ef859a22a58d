"""Windows of lists: which items one answer shows, and the token with which a reader asks for the next ones."""

import base64
import binascii
import heapq
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from shared.errors import InvalidInput

T = TypeVar("T")

MAX_PAGE = 1000
"""How many items one answer holds at most, whatever its reader asks for."""
MAX_OFFSET = 10**9 - 1
BY_NUMBER = "seq_num"
"""The order of a list whose items are numbered: its offset is the number of the last item that was shown."""
MAX_NUMBER = 10**18 - 1

_TOKEN = re.compile(r"([a-z_]{0,40}):([YN]):([0-9]{1,9}):([0-9]{1,18})\Z")


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a sorted list."""

    sort_by: str = ""
    reverse: bool = False
    limit: int = MAX_PAGE
    offset: int = 0

    @property
    def most(self) -> int:
        return MAX_NUMBER if self.sort_by == BY_NUMBER else MAX_OFFSET

    @property
    def end(self) -> int:
        return self.offset + self.limit

    def token(self) -> str:
        """The token that asks for this part."""
        text = f"{self.sort_by}:{'Y' if self.reverse else 'N'}:{self.limit}:{min(self.offset, self.most)}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def following(self) -> "Window":
        return msgspec.structs.replace(self, offset=self.end)


def window_of(*, sort_by: str, reverse: bool, limit: int, token: str, default_limit: int = MAX_PAGE) -> Window:
    """What a reader asks for; a token decides alone. Raises InvalidInput for one that was not made here."""
    if token:
        return decoded(token)
    return Window(sort_by=sort_by, reverse=reverse, limit=min(limit or default_limit, MAX_PAGE))


def decoded(token: str) -> Window:
    """Raises InvalidInput for a token that was not made here."""
    found = _TOKEN.match(plain(token[:200]))
    window = found and Window(sort_by=found[1], reverse=found[2] == "Y", limit=int(found[3]), offset=int(found[4]))
    if window is None or not 1 <= window.limit <= MAX_PAGE or window.offset > window.most:
        raise not_a_token(token)
    return window


def not_a_token(token: str) -> InvalidInput:
    return InvalidInput(
        f"{token[:80]!r} is not a token of this list.",
        hint="Use the NextToken of the last answer as it is, or none to begin anew.",
    )


def plain(token: str) -> str:
    """What stands in a token; empty for what is none."""
    try:
        padded = token + "=" * (-len(token) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, UnicodeError, ValueError):
        return ""


def sort_key(window: Window, keys: dict[str, Callable[[T], Any]]) -> Callable[[T], Any]:
    """By what to sort. Raises InvalidInput for an order that the list does not have."""
    key = keys.get(window.sort_by)
    if key is None:
        raise InvalidInput(
            f"The list cannot be ordered by {window.sort_by!r}.",
            hint=f"Orders are {', '.join(name for name in keys if name)}.",
        )
    return key


def page(
    found: Sequence[T], window: Window, key: Callable[[T], Any], *, descending: bool = False
) -> tuple[list[T], str]:
    """The items of this part in order, and the token for what follows, empty at the end.

    `descending` is the order of a reader who does not reverse it. Keys have to be different, so that parts of a list
    that does not change neither overlap nor leave anything out.
    """
    choose = heapq.nlargest if descending != window.reverse else heapq.nsmallest
    items = choose(window.end, found, key=key)[window.offset :]
    return items, window.following().token() if window.end < len(found) else ""
