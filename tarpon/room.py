"""How much a file system has room for, and whether the holes of a file take any."""

import os

_PROBE = ".tarpon-probe"
_PROBE_BYTES = 1 << 20
_BLOCK = 512  # the unit of st_blocks


def free_bytes(folder: int | str | os.PathLike[str]) -> int:
    """For who has no special rights."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def keeps_holes(folder: int) -> bool:
    """Whether a hole takes no room in files of the open directory; found out with a file that is removed at once."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(_PROBE, flags, 0o600, dir_fd=folder)
    except OSError:
        return True
    try:
        os.ftruncate(descriptor, _PROBE_BYTES)
        return os.fstat(descriptor).st_blocks * _BLOCK < _PROBE_BYTES
    except OSError:
        return False
    finally:
        os.close(descriptor)
        os.unlink(_PROBE, dir_fd=folder)
