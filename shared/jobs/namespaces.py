"""Namespaces of jobs: how they are spelled."""

from collections.abc import Iterable

from shared.errors import InvalidInput
from shared.ids import is_safe_id

DEFAULT_NAMESPACE = "default"
ALL_NAMESPACES = "*"


class NamespaceInvalid(InvalidInput):
    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text[:80]!r} cannot be the name of a namespace.",
            hint="A namespace has 1 to 64 characters out of A-Z a-z 0-9 _ and -; * means all of them.",
        )


def checked_namespaces(texts: Iterable[str]) -> tuple[str, ...]:
    """Each once, in order; `*`, also where nothing is given, is all. Raises NamespaceInvalid."""
    given = {text.strip() for text in texts}
    for each in sorted(given - {ALL_NAMESPACES}):
        if not is_safe_id(each):
            raise NamespaceInvalid(each)
    return (ALL_NAMESPACES,) if ALL_NAMESPACES in given or not given else tuple(sorted(given))
