"""Attributes of a file or directory: permissions, time, and those extended ones that are restored.

Restored is what users set, and access control lists. All others are for the kernel of the machine that made them. A
file capability gives rights to who runs the file, so it is restored only where root asks for that alone.
"""

import errno
import os
import struct

from shared.extraction.placement_rules import PERMISSIONS, PlacementRules

Attributes = tuple[tuple[bytes, bytes], ...]

_USER = b"user."
_ACCESS_LIST = b"system.posix_acl_access"
_ACCESS_LISTS = frozenset({_ACCESS_LIST, b"system.posix_acl_default"})
_HEADER_BYTES = 4
_ENTRY = struct.Struct("<HHI")  # tag, permissions, number: see acl(5) and linux/posix_acl_xattr.h
_MAX_LIST_BYTES = 64 << 10
_GROUP, _MASK = 0x04, 0x10
_CAPABILITY = b"security.capability"
_SECOND = 1_000_000_000
_FIRST_SECOND, _LAST_SECOND = 315_619_200, 0x7FFF_FFFF
"""From the beginning of 1980 to that of 2038: what FAT and the oldest ext4 can both have."""
_NOT_KEPT = frozenset({errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EOVERFLOW})


def set_metadata(descriptor: int, permissions: int, mtime_ns: int) -> str:
    """Permissions and time of an open file or directory; which of them its file system does not keep, or nothing."""
    try:
        os.fchmod(descriptor, permissions)
    except OSError as error:
        _unless_not_kept(error)
    try:
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))
    except OSError as error:
        _unless_not_kept(error)
    status = os.fstat(descriptor)
    lost = "" if status.st_mode & PERMISSIONS == permissions else "permissions"
    if abs(status.st_mtime_ns - mtime_ns) < _SECOND:
        return lost
    return f"{lost} and times" if lost else "times"


class KnownKept:
    """Permissions and times as one file system has kept them before: there is no need to look whether it does again."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def __repr__(self) -> str:
        return f"<KnownKept {len(self._seen)} seen>"

    def note(self, permissions: int, mtime_ns: int) -> None:
        self._seen.add((permissions, mtime_ns // _SECOND & 1))

    def set(self, descriptor: int, permissions: int, mtime_ns: int) -> bool:
        """Whether an open file has them now. Nothing is known of times that only some file systems can have."""
        second = mtime_ns // _SECOND
        # Some keep every other second alone.
        if (permissions, second & 1) not in self._seen or not _FIRST_SECOND < second < _LAST_SECOND:
            return False
        os.fchmod(descriptor, permissions)
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        return True


def _unless_not_kept(error: OSError) -> None:
    if error.errno not in _NOT_KEPT:
        raise error


def without_access_list(permissions: int, attributes: Attributes) -> int:
    """Permissions that give the group what its own entry of the access list does, and not what the list's mask allows.

    The mask stands in place of the group in the mode of a file that has a list. Restoring the list puts it there again.
    """
    value = dict(attributes).get(_ACCESS_LIST, b"")
    if len(value) % _ENTRY.size != _HEADER_BYTES or len(value) > _MAX_LIST_BYTES:
        return permissions
    allowed: dict[int, int] = {tag: bits for tag, bits, _ in _ENTRY.iter_unpack(value[_HEADER_BYTES:])}
    group = allowed.get(_GROUP, 0o7) & allowed.get(_MASK, 0o7)
    return permissions & (~0o070 | (group & 0o7) << 3)


def restore(descriptor: int, attributes: Attributes, rules: PlacementRules) -> str:
    """Give the file or directory what the rules say; which ones are missing, and why, or nothing."""
    missing: list[str] = []
    for name, value in attributes:
        shown = name.decode(errors="backslashreplace")
        if not _may_be_restored(name, rules):
            missing.append(shown)
            continue
        try:
            os.setxattr(descriptor, name, value)
        except OSError as error:
            missing.append(f"{shown} ({error.strerror})")
    return ", ".join(missing)


def _may_be_restored(name: bytes, rules: PlacementRules) -> bool:
    if name == _CAPABILITY:
        return rules.capabilities and not os.geteuid()
    return rules.xattrs and (name.startswith(_USER) or name in _ACCESS_LISTS)
