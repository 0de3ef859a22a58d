"""Durable files and folders: a power cut does not undo one, nor leave it empty under its name.

A file's content is synced before its name is given to it, and then the folder that holds the name; a new folder's own
name is in its parent. All functions block on the disk and raise OSError.
"""

import os
from functools import cache
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Put `content` there, with mode 0600, whole or not at all. On return it is on the disk."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """A folder, with its parents, that only this user can enter. On return it is on the disk, if it was not before."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Write through which names are in it. Of a folder that may not be read that cannot be asked, and is not."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@cache
def boot_id() -> str:
    """Of the machine, which went down since something was written where it is another one; empty where none is told."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
