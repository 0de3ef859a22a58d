"""Private files of the node, which no other user reads and that are never seen half written."""

import os
from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """Write by rename, with mode 0600. A power cut may undo it or empty the file, unlike shared/runtime/durable.py."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def make_folder(path: Path) -> None:
    """A folder, with its parents, that only this user can enter."""
    try:
        os.mkdir(path, 0o700)  # noqa: PTH102  # most of the time this is all, and costs a third
    except OSError:
        if path.is_dir():
            return
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
