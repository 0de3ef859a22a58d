"""Rules of a user for entries that become files: links, names, attributes, permissions."""

import enum
import os
import re
from pathlib import Path

import msgspec
from msgspec import field

PERMISSIONS = 0o777  # neither setuid nor setgid nor sticky

_UMASK = re.compile(r"^Umask:\s*([0-7]+)$", re.MULTILINE)
_CAREFUL = 0o077


class LinkRule(enum.StrEnum):
    """What becomes of symbolic links that lead, or could lead, out of the result."""

    REFUSE = "refuse"
    """Nothing is placed."""
    SKIP = "skip"
    """They are left out, and told."""
    KEEP_TEXT = "keep-text"
    """They are made as they stand. Nothing is ever written through them."""


def own_umask() -> int:
    """The umask of this process. It is not asked for by setting it, because other threads make files meanwhile."""
    try:
        found = _UMASK.search(Path("/proc/self/status").read_text(encoding="ascii", errors="replace"))
    except OSError:
        found = None
    if found is not None:
        return int(found[1], 8)
    umask = os.umask(_CAREFUL)
    os.umask(umask)
    return umask


class PlacementRules(msgspec.Struct, frozen=True, kw_only=True):
    """`xattrs` restores `user.*` and access control lists; `capabilities` file capabilities too, which root alone may.

    `rename_collisions` gives an entry another name where the target takes its own for that of another entry.
    """

    links: LinkRule = LinkRule.SKIP
    rename_collisions: bool = False
    xattrs: bool = False
    capabilities: bool = False
    umask: int = field(default_factory=own_umask)

    def permissions(self, mode: int) -> int:
        return mode & PERMISSIONS & ~self.umask
