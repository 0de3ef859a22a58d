"""Placed names: what an entry is called in a target that takes different bytes for the same name.

Whether a target does, and for which names, is not guessed: it is asked for a new name, and where it has that already,
what was made so far tells whether it was made from these very bytes. The target's own listing cannot tell, because
some file systems store names in another form than they were given.
"""

from array import array
from collections.abc import Callable
from typing import TypeVar

from shared.extraction.oddities import CannotHave, Odd

T = TypeVar("T")

MAX_COMPARED = 100_000_000
"""So many names are compared at most, whatever an archive does; after that no name counts as the same."""
MAX_RENAMED = 100_000
_TRIES = 1000


class PlacedNames:
    """Entries are told by the components of their names in the archive, `components`."""

    def __init__(self, *, may_rename: bool) -> None:
        self._may_rename = may_rename
        self._renamed: dict[tuple[bytes, ...], bytes] = {}
        self._made = array("q")
        """Eight bytes for each entry: their hashes, which differ from process to process and cannot be aimed at."""
        self._note = self._made.append
        self._collided = array("q")
        """The same of those that were left out for their names."""
        self._compared = 0

    def __repr__(self) -> str:
        return f"<PlacedNames {len(self._renamed)} renamed>"

    def of(self, components: tuple[bytes, ...]) -> bytes:
        return self._renamed.get(components, components[-1]) if self._renamed else components[-1]

    def note(self, components: tuple[bytes, ...]) -> None:
        """The entry was made."""
        self._note(hash(components))

    def was_made(self, components: tuple[bytes, ...]) -> bool:
        """Whether an entry of these very bytes was made."""
        self._compared += len(self._made)
        return self._compared <= MAX_COMPARED and hash(components) in self._made

    def has_collided(self, components: tuple[bytes, ...]) -> bool:
        """Whether what the target has under this name is another entry."""
        self._compared += len(self._collided)
        return bool(self._collided) and (self._compared > MAX_COMPARED or hash(components) in self._collided)

    def renamed(self, components: tuple[bytes, ...], make: Callable[[bytes], T]) -> T:
        """Make the entry under another name, if that is wanted. Raises CannotHave."""
        if self._may_rename and len(self._renamed) < MAX_RENAMED:
            stem, dot, suffix = components[-1].rpartition(b".")
            if not stem:
                stem, dot, suffix = components[-1], b"", b""
            for number in range(2, _TRIES):
                name = b"%s~%d%s%s" % (stem, number, dot, suffix)
                try:
                    made = make(name)
                except FileExistsError:
                    continue
                self._renamed[components] = name
                return made
        self._collided.append(hash(components))
        raise CannotHave(Odd.NAME_COLLIDES, "the target has another entry under what it takes for the same name")
