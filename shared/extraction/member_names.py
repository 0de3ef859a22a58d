"""Names of an archive's members: their components, none of which leads out of the target.

Each name may be chosen by an attacker.
"""

import os
from functools import lru_cache

from shared.errors import UnsafeArchive

Components = tuple[bytes, ...]

_NO_NAMES = frozenset({b"", b".", b".."})
_CACHED_BYTES = 4096
"""Longer names of folders are not remembered."""


def components_of(name: bytes) -> Components:
    """The components of a member's name, none for the target itself. Raises UnsafeArchive where it could leave it."""
    folder, _, last = name.rpartition(b"/")
    if last in _NO_NAMES or b"\x00" in last or name[:1] == b"/" or len(folder) > _CACHED_BYTES:
        found = _split(name)
    else:
        parents = _split_folder(folder)
        found = None if parents is None else (*parents, last)
    if found is None:
        raise UnsafeArchive(f"The archive has the name {os.fsdecode(name[:160])!r}, which leaves the target.")
    return found


def _split(name: bytes) -> Components | None:
    components = tuple(each for each in name.split(b"/") if each not in {b"", b"."})
    return None if name[:1] == b"/" or b".." in components or b"\x00" in name else components


_split_folder = lru_cache(maxsize=64)(_split)
"""The files of a directory come one after another."""
