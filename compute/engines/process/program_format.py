"""Program format: whether the kernel can run a file that a task has brought.

Bubblewrap would have a shell read whatever the kernel cannot run, and that may well end with exit code 0.
"""

import errno
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from compute.engines.process.sandbox import seen_at

_ELF, _SCRIPT = b"\x7fELF", b"#!"
_HEAD_BYTES = 20
_NONE: Mapping[Path, Path] = {}
_FURTHER_FORMATS = Path("/proc/sys/fs/binfmt_misc")


def check_format(program: str, cwd: Path, workspace: Path, inputs: Mapping[Path, Path] = _NONE) -> None:
    """Raise OSError of the kind ENOEXEC for a file of the workspace that is no program of this machine. Blocks.

    `inputs` are those that are somewhere else, by their places in the workspace.

    Nothing is said of links, and of what the kernel says another error about.
    """
    path = os.path.normpath(cwd / program)
    if "/" not in program or not Path(path).is_relative_to(workspace):
        return
    head = _head(os.fspath(seen_at(Path(path), inputs)))
    if head is None or head.startswith(_SCRIPT) or _is_native(head) or _knows_further_formats():
        return
    raise OSError(errno.ENOEXEC, os.strerror(errno.ENOEXEC))


def _head(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or not found.st_mode & 0o111:
            return None
        return os.read(descriptor, _HEAD_BYTES)
    finally:
        os.close(descriptor)


def _is_native(head: bytes) -> bool:
    """Of the same class, byte order and machine as the node's own interpreter."""
    own = _head(os.path.realpath(sys.executable)) or b""
    return head.startswith(_ELF) and (head[4:6], head[18:20]) == (own[4:6], own[18:20])


def _knows_further_formats() -> bool:
    try:
        return any(each.name not in {"register", "status"} for each in _FURTHER_FORMATS.iterdir())
    except OSError:
        return False
