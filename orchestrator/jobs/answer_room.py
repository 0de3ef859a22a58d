"""Room of an answer: how many items of a list fit into one message; for the others its reader has a token."""

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from shared.messaging.transport import MAX_PAYLOAD_BYTES

ROOM_BYTES = MAX_PAYLOAD_BYTES - (1 << 16)
"""What an answer has beside its items takes the rest."""

T = TypeVar("T")

_encoder = msgspec.json.Encoder()


class AnswerRoom:
    """Of one answer."""

    def __init__(self, size: int = ROOM_BYTES) -> None:
        self._left = size

    def __repr__(self) -> str:
        return f"<AnswerRoom of {self._left} bytes>"

    def take(self, *items: Any) -> None:
        """What is in the answer whatever else is."""
        self._left -= sum(len(_encoder.encode(item)) + 1 for item in items)

    def half(self) -> "AnswerRoom":
        """Half of what is left, for the one of two lists; the other half stays."""
        half = AnswerRoom(self._left // 2)
        self._left -= half._left
        return half

    def fill(self, items: Iterable[T], *, most: int = sys.maxsize) -> tuple[tuple[T, ...], bool]:
        """As many of the items, the first ones, as there is room for, and whether there are more of them.

        The first is always among them, so that whoever asks for page after page comes to an end.
        """
        found: list[T] = []
        for item in items:
            size = len(_encoder.encode(item)) + 1
            if len(found) == most or (found and size > self._left):
                return tuple(found), True
            self._left -= size
            found.append(item)
        return tuple(found), False
