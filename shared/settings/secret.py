"""A text that never shows itself by accident."""

HIDDEN = "********"


class Secret:
    """Holds a secret text; only `reveal()` gives it.

    It is not a `str` on purpose: formatting, joining and serialising a `str` subclass would all show the value.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __str__(self) -> str:
        return HIDDEN if self._text else ""

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"
