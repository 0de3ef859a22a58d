"""The commit of this program: written into a package when it is built, or read out of its checkout.

`hatch_build.py` loads this file by its path, so it imports nothing of ours.
"""

import re
from functools import cache
from pathlib import Path

FILE = "commit.txt"
"""In a built package, beside this file."""
SHORT = 12

_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")


@cache
def commit() -> str:
    """In full; empty where nothing tells. Blocks, the first time."""
    here = Path(__file__).resolve().parent
    return _hash_in(here / FILE) or of_checkout(here.parents[1])


def of_checkout(root: Path) -> str:
    """The commit that is checked out in this folder; empty where that is no checkout. Needs no git."""
    folder = root / ".git"
    if folder.is_file():  # of a further work tree, or of a submodule
        folder = root / _text(folder).removeprefix("gitdir:").strip()
    head = _text(folder / "HEAD")
    if not head.startswith("ref:"):
        return head if _HASH.match(head) else ""
    name = head.removeprefix("ref:").strip()
    common = folder / (_text(folder / "commondir") or ".")
    return next(filter(None, (_hash_in(each / name) for each in (folder, common))), "") or _packed(common, name)


def _packed(common: Path, name: str) -> str:
    for line in _text(common / "packed-refs").splitlines():
        found, _, ref = line.partition(" ")
        if ref == name and _HASH.match(found):
            return found
    return ""


def _hash_in(path: Path) -> str:
    text = _text(path)
    return text if _HASH.match(text) else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
