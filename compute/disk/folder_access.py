"""Access to what a task left: whatever mode it was given, and neither through a link nor into a mount."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from compute.disk.mounts import mount_of

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HANDLE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class IsMounted(OSError):
    """Something is mounted on the folder, which is then nobody's to look into."""

    def __init__(self, name: str) -> None:
        super().__init__(errno.EBUSY, "something is mounted there", name)


@contextmanager
def entered(name: str, within: int, mount: int) -> Iterator[int]:
    """The folder `name` of the open folder `within`, to be written to. Raises OSError, IsMounted unless on `mount`."""
    descriptor = _opened(name, within, mount)
    try:
        if mount_of(descriptor) != mount:
            raise IsMounted(name)
        mode = os.fstat(descriptor).st_mode
        if mode & stat.S_IRWXU != stat.S_IRWXU:
            with suppress(PermissionError):  # it is another user's, who may let this one write all the same
                os.fchmod(descriptor, stat.S_IMODE(mode) | stat.S_IRWXU)
        yield descriptor
    finally:
        os.close(descriptor)


def _opened(name: str, within: int, mount: int) -> int:
    try:
        return os.open(name, FOLDER, dir_fd=within)
    except PermissionError:
        handle = os.open(name, _HANDLE, dir_fd=within)
        try:
            if mount_of(handle) != mount:
                raise IsMounted(name) from None
            # Of a handle only the name in /proc can be given to chmod.
            os.chmod(f"/proc/self/fd/{handle}", stat.S_IMODE(os.fstat(handle).st_mode) | stat.S_IRWXU)  # noqa: PTH101
        finally:
            os.close(handle)
        return os.open(name, FOLDER, dir_fd=within)


def checked_mount(descriptor: int, path: bytes, expected: int) -> int:
    """The mount of an open folder. Raises IsMounted if it is not the expected one; 0 is any."""
    mount = mount_of(descriptor)
    if expected not in {0, mount}:
        raise IsMounted(os.fsdecode(path))
    return mount


def opened_to_read(name: bytes, flags: int, folder: int) -> tuple[int, int]:
    """A descriptor of what its owner, who is this process's user, has closed to all, and its mode.

    It is open as long as it is read, for a folder lets nobody in by a descriptor alone, and has that mode again then.
    """
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        path = f"/proc/self/fd/{handle}"  # of a handle, that is all there is
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        os.chmod(path, mode | stat.S_IRUSR | stat.S_IXUSR)  # noqa: PTH101
        return os.open(path, flags & ~os.O_NOFOLLOW), mode
    finally:
        os.close(handle)
