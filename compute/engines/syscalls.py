"""System calls that a task behind walls may not make, as a program for seccomp(2).

Without capabilities most of the kernel refuses by itself. Here stands what it would not: what belongs to the node's
user rather than to a namespace, such as its keyrings and leases on files of the system, files that give whoever runs
them its rights, memory that no look finds, and parts of the kernel that few programs need and many holes were in.
"""

import errno
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_LOAD, _EQUALS, _ABOVE, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16

_CLONE_NEWUSER, _CLONE_THREAD = 0x10000000, 0x00010000
_F_SETLEASE = 1024
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
LARGEST_SEGMENT_BYTES = 64 << 10
"""Of System V shared memory, which nobody sees while it is not attached. Databases need 56 bytes of it."""
_GIVES_RIGHTS = 0o6000
"""Of a file's mode: whoever runs it has the rights of its owner, here the node's user, or of its group.

Where a task sees its files that has no effect. But it may hand an open one to another user of the machine, by a socket
with a name and no path, and outside of the walls it has.
"""
_CREATES = 0o100 | 0o20000000
"""O_CREAT, and what of O_TMPFILE is no O_DIRECTORY: without these a mode means nothing."""


class _Machine(NamedTuple):
    audit: int
    """How the kernel names the machine, in linux/audit.h."""
    numbers: Mapping[str, int]
    of_others: Mapping[str, int]
    """What starts programs or concerns other processes and machines."""
    first_foreign: int = 0
    """Numbers from here on are of another kind of programs; 0 is none."""


_SINCE_2019 = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "clone3": 435,
    "openat2": 437,
    "mount_setattr": 442,
    "fchmodat2": 452,
}
"""The same numbers on all machines."""
_X86_64 = {
    "open": 2,
    "ioctl": 16,
    "shmget": 29,
    "clone": 56,
    "fcntl": 72,
    "creat": 85,
    "chmod": 90,
    "fchmod": 91,
    "syslog": 103,
    "mknod": 133,
    "pivot_root": 155,
    "mount": 165,
    "umount2": 166,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "openat": 257,
    "mknodat": 259,
    "fchmodat": 268,
    "unshare": 272,
    "perf_event_open": 298,
    "prlimit64": 302,
    "open_by_handle_at": 304,
    "setns": 308,
    "bpf": 321,
    "userfaultfd": 323,
}
_GENERIC = {
    "fcntl": 25,
    "ioctl": 29,
    "mknodat": 33,
    "umount2": 39,
    "mount": 40,
    "pivot_root": 41,
    "fchmod": 52,
    "fchmodat": 53,
    "openat": 56,
    "unshare": 97,
    "syslog": 116,
    "shmget": 194,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "clone": 220,
    "perf_event_open": 241,
    "prlimit64": 261,
    "open_by_handle_at": 265,
    "setns": 268,
    "bpf": 280,
    "userfaultfd": 282,
}
_OF_OTHERS_X86_64 = {
    "socket": 41,
    "connect": 42,
    "bind": 49,
    "listen": 50,
    "fork": 57,
    "vfork": 58,
    "execve": 59,
    "kill": 62,
    "ptrace": 101,
    "rt_sigqueueinfo": 129,
    "tkill": 200,
    "tgkill": 234,
    "rt_tgsigqueueinfo": 297,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "execveat": 322,
}
_OF_OTHERS_GENERIC = {
    "ptrace": 117,
    "kill": 129,
    "tkill": 130,
    "tgkill": 131,
    "rt_sigqueueinfo": 138,
    "rt_tgsigqueueinfo": 240,
    "socket": 198,
    "bind": 200,
    "listen": 201,
    "connect": 203,
    "execve": 221,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "execveat": 281,
}
_OF_OTHERS_SINCE_2019 = {"pidfd_send_signal": 424, "pidfd_open": 434, "pidfd_getfd": 438}
_MACHINES = {
    "x86_64": _Machine(
        0xC000003E, _X86_64 | _SINCE_2019, _OF_OTHERS_X86_64 | _OF_OTHERS_SINCE_2019, first_foreign=0x40000000
    ),
    "aarch64": _Machine(0xC00000B7, _GENERIC | _SINCE_2019, _OF_OTHERS_GENERIC | _OF_OTHERS_SINCE_2019),
    "riscv64": _Machine(0xC00000F3, _GENERIC | _SINCE_2019, _OF_OTHERS_GENERIC | _OF_OTHERS_SINCE_2019),
}
MACHINES = tuple(_MACHINES)
_UNREADABLE = ("clone3", "openat2")
"""What they are to do cannot be seen from here: they are told to be absent, so that programs do without."""
_MODES = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "creat": 1, "mknod": 1, "mknodat": 2}
"""Which argument is the mode of a file."""
_OPENS = {"open": 1, "openat": 2}
"""Which argument is the flags; the next one is the mode of a file that is made."""
_LOOKED_AT = ("clone", "fcntl", "ioctl", "prlimit64", "shmget", "unshare", *_UNREADABLE, *_MODES, *_OPENS)
"""Not refused whatever their arguments are."""


def program(machine: str, *, alone: bool = False) -> bytes:
    """For a machine of MACHINES, as `bwrap --seccomp` reads it. Programs for another machine are refused all calls.

    One that is `alone` may not start another one either, nor reach any other process or a network.
    """
    return b"".join(_instructions(_MACHINES[machine], alone=alone))


def _instructions(machine: _Machine, *, alone: bool) -> Iterator[bytes]:
    numbers = machine.numbers
    yield _step(_LOAD, _MACHINE_AT)
    yield _step(_EQUALS, machine.audit, 1, 0)
    yield _refuse(errno.ENOSYS)
    yield _step(_LOAD, _NUMBER_AT)
    if machine.first_foreign:
        yield _step(_AT_LEAST, machine.first_foreign, 0, 1)
        yield _refuse(errno.ENOSYS)
    for name, number in numbers.items():
        if name not in _LOOKED_AT:
            yield _step(_EQUALS, number, 0, 1)
            yield _refuse(errno.EPERM)
    for number in machine.of_others.values() if alone else ():
        yield _step(_EQUALS, number, 0, 1)
        yield _refuse(errno.EPERM)
    for name in _UNREADABLE:
        yield _step(_EQUALS, numbers[name], 0, 1)
        yield _refuse(errno.ENOSYS)
    if alone:
        yield from _refused_if(numbers["clone"], errno.EPERM, _If(0, _HAS_BITS, _CLONE_THREAD, holds=False))
        yield from _refused_if(numbers["prlimit64"], errno.EPERM, _If(0, _EQUALS, 0, holds=False))
    for name in ("clone", "unshare"):
        yield from _refused_if(numbers[name], errno.EPERM, _If(0, _HAS_BITS, _CLONE_NEWUSER))
    yield from _refused_if(numbers["fcntl"], errno.EACCES, _If(1, _EQUALS, _F_SETLEASE))
    yield from _refused_if(numbers["ioctl"], errno.EPERM, _If(1, _EQUALS, _TIOCSTI))
    yield from _refused_if(numbers["ioctl"], errno.EPERM, _If(1, _EQUALS, _TIOCLINUX))
    yield from _refused_if(numbers["shmget"], errno.ENOSPC, _If(1, _ABOVE, LARGEST_SEGMENT_BYTES))
    yield from _refused_if(numbers["shmget"], errno.ENOSPC, _If(1, _ABOVE, 0, upper=True))
    yield from _refused_modes(numbers)
    yield _step(_RETURN, _ALLOW)


def _refused_modes(numbers: Mapping[str, int]) -> Iterator[bytes]:
    for name, mode in _MODES.items():
        if name in numbers:
            yield from _refused_if(numbers[name], errno.EPERM, _If(mode, _HAS_BITS, _GIVES_RIGHTS))
    for name, flags in _OPENS.items():
        if name in numbers:
            creates, gives = _If(flags, _HAS_BITS, _CREATES), _If(flags + 1, _HAS_BITS, _GIVES_RIGHTS)
            yield from _refused_if(numbers[name], errno.EPERM, creates, gives)


class _If(NamedTuple):
    """About 32 bits of an argument: machines of the table store the lower ones first."""

    argument: int
    test: int
    value: int
    upper: bool = False
    holds: bool = True
    """Whether the test has to hold, or not to."""


def _refused_if(number: int, code: int, *conditions: _If) -> Iterator[bytes]:
    """If all of them hold."""
    left = 2 * len(conditions)
    yield _step(_EQUALS, number, 0, left + 2)
    for each in conditions:
        left -= 2
        yield _step(_LOAD, _ARGUMENTS_AT + 8 * each.argument + (4 if each.upper else 0))
        yield _step(each.test, each.value, *((0, left + 1) if each.holds else (left + 1, 0)))
    yield _refuse(code)
    yield _step(_LOAD, _NUMBER_AT)


def _refuse(code: int) -> bytes:
    return _step(_RETURN, _ERRNO | code)


def _step(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    """One instruction of linux/filter.h; jumps are over so many of the next ones."""
    return struct.pack("=HBBI", code, if_so, if_not, value)
