"""Mounts below a folder, and how they are detached, so that none is taken for the task's own files.

A bind mount may show a folder of the same file system, so that no device number gives it away: only the kernel's table
of mounts and the mount of an open descriptor tell.
"""

import ctypes
import errno
import functools
import os
import re
import select
import shutil
import subprocess
import threading
from pathlib import Path
from typing import NamedTuple

_TABLE = "/proc/self/mountinfo"
_ESCAPED = re.compile(rb"\\([0-7]{3})")
_ROUNDS = 8
"""A mount may hide others."""
_FUSE_SECONDS = 10.0
_READ_BYTES = 1 << 16
_MNT_DETACH = 2
_MS_BIND = 4096
WITHOUT_FILES = frozenset(
    b"proc sysfs devtmpfs devpts cgroup cgroup2 mqueue securityfs debugfs tracefs bpf binfmt_misc".split()
)
"""File systems that hold nothing a task could have written as a result."""


class Mount(NamedTuple):
    """`below` is the mount point's path from the folder that was asked about."""

    id: int
    point: bytes
    kind: bytes
    below: str = ""


class MountTable:
    """The kernel's table, read again only after it has changed. May be used by any thread."""

    def __init__(self) -> None:
        self._descriptor = os.open(_TABLE, os.O_RDONLY | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLPRI | select.POLLERR)
        self._lock = threading.Lock()
        self._mounts: tuple[Mount, ...] | None = None
        self._later: tuple[Mount, ...] = ()
        self._first: frozenset[int] | None = None

    def __repr__(self) -> str:
        return f"<MountTable of {len(self._mounts or ())}>"

    def read(self) -> tuple[Mount, ...]:
        """In the order in which they were mounted."""
        with self._lock:
            if self._poll.poll(0) or self._mounts is None:
                self._mounts = tuple(map(_mount, self._lines()))
                if self._first is None:
                    self._first = frozenset(each.id for each in self._mounts)
                self._later = tuple(each for each in self._mounts if each.id not in self._first)
            return self._mounts

    def later(self) -> tuple[Mount, ...]:
        """Those that were not there yet when this process began."""
        self.read()
        return self._later

    def _lines(self) -> list[bytes]:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        pieces = []
        while piece := os.read(self._descriptor, _READ_BYTES):
            pieces.append(piece)
        return b"".join(pieces).splitlines()


@functools.cache
def _table() -> MountTable:
    return MountTable()


def _mount(line: bytes) -> Mount:
    """See proc_pid_mountinfo(5): optional fields end with a dash, and blanks in paths are written in octal."""
    fields = line.split(b" ")
    return Mount(int(fields[0]), _plain(fields[4]), fields[fields.index(b"-", 6) + 1])


def _plain(path: bytes) -> bytes:
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), path) if b"\\" in path else path


def mounts_in(folder: Path) -> list[Mount]:
    """What is mounted on the folder or below it, the deepest and latest first."""
    parent, slash, name = os.fspath(folder).rpartition("/")
    top = real_path(parent or slash or ".") + b"/" + name.encode(errors="surrogateescape")
    within = top + b"/"
    found = [each for each in _table().read() if each.point.startswith(top) and (each.point + b"/").startswith(within)]
    found.sort(key=lambda each: each.point.count(b"/"))
    found.reverse()
    return [each._replace(below=os.fsdecode(each.point[len(within) :])) for each in found]


def mount_points_in(folder: Path) -> frozenset[str]:
    """By the names that a walk of `folder` meets."""
    return frozenset(f"{folder}/{each.below}" if each.below else str(folder) for each in mounts_in(folder))


@functools.lru_cache(maxsize=256)
def real_path(path: str) -> bytes:
    """Of a folder of the node's own. It blocks at the first time alone."""
    return os.fsencode(os.path.realpath(path)).rstrip(b"/")


def mount_of(descriptor: int) -> int:
    """Which mount an open file or folder belongs to."""
    with open(f"/proc/self/fdinfo/{descriptor}", "rb", buffering=0) as file:  # noqa: PTH123  # there are very many
        told = file.read(1024)
    return int(told.partition(b"mnt_id:")[2].split(None, 1)[0])


def detach_in(folder: Path) -> list[Mount]:
    """Detach what is mounted on the folder and below it, and tell what of it cannot be. Blocks."""
    for _ in range(_ROUNDS):
        found = mounts_in(folder)
        detached = [detach(each) for each in found]
        if not any(detached):
            return found
    return mounts_in(folder)


def uncover(folder: Path) -> bool:
    """Detach what was mounted, since this process began, on the two folders above it, which are the node's.

    Whether there was anything. Blocks.
    """
    later = _table().later()
    if not later:
        return False
    parent = real_path(os.fspath(folder.parent))
    above = [each for each in reversed(later) if each.point in {parent, parent.rpartition(b"/")[0]}]
    return any([detach(each) for each in above])  # noqa: C419  # all of them


def detach(mount: Mount) -> bool:
    """At once, whoever uses it still. False if this node may not."""
    try:
        descriptor = os.open(mount.point, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if mount_of(descriptor) != mount.id:  # another one hides it, or a process has exchanged a folder on the way
            return False
        _call("umount2", f"/proc/self/fd/{descriptor}".encode("ascii"), _MNT_DETACH)
    except OSError as error:
        return error.errno == errno.EPERM and mount.kind.startswith(b"fuse") and _detach_fuse(mount)
    finally:
        os.close(descriptor)
    return True


def _detach_fuse(mount: Mount) -> bool:
    """What a user mounted without being root, the same user may detach."""
    program = shutil.which("fusermount3") or shutil.which("fusermount")
    if program is None:
        return False
    try:
        ended = subprocess.run(
            [program, "-u", "-z", "--", mount.point], check=False, capture_output=True, timeout=_FUSE_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ended.returncode == 0


def bind(source: int, target: int) -> None:
    """Show the open folder `source`, without what is mounted below it, at the open folder `target` too."""
    names = (f"/proc/self/fd/{each}".encode("ascii") for each in (source, target))
    _call("mount", *names, None, ctypes.c_ulong(_MS_BIND), None)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc(), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
