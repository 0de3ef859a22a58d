"""System calls that a task behind walls may not make, as a program for seccomp(2).

Without capabilities most of the kernel refuses by itself. Here stands what it would not: what belongs to the node's
user rather than to a namespace, such as its keyrings and leases on files of the system, memory that no look finds, and
parts of the kernel that few programs need and many holes were in.
"""

import errno
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_LOAD, _EQUALS, _ABOVE, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16

_CLONE_NEWUSER = 0x10000000
_F_SETLEASE = 1024
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
LARGEST_SEGMENT_BYTES = 64 << 10
"""Of System V shared memory, which nobody sees while it is not attached. Databases need 56 bytes of it."""


class _Machine(NamedTuple):
    audit: int
    """How the kernel names the machine, in linux/audit.h."""
    numbers: Mapping[str, int]
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
    "mount_setattr": 442,
}
"""The same numbers on all machines."""
_X86_64 = {
    "ioctl": 16,
    "shmget": 29,
    "clone": 56,
    "fcntl": 72,
    "syslog": 103,
    "pivot_root": 155,
    "mount": 165,
    "umount2": 166,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "unshare": 272,
    "perf_event_open": 298,
    "open_by_handle_at": 304,
    "setns": 308,
    "bpf": 321,
    "userfaultfd": 323,
}
_GENERIC = {
    "fcntl": 25,
    "ioctl": 29,
    "umount2": 39,
    "mount": 40,
    "pivot_root": 41,
    "unshare": 97,
    "syslog": 116,
    "shmget": 194,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "clone": 220,
    "perf_event_open": 241,
    "open_by_handle_at": 265,
    "setns": 268,
    "bpf": 280,
    "userfaultfd": 282,
}
_MACHINES = {
    "x86_64": _Machine(0xC000003E, _X86_64 | _SINCE_2019, first_foreign=0x40000000),
    "aarch64": _Machine(0xC00000B7, _GENERIC | _SINCE_2019),
    "riscv64": _Machine(0xC00000F3, _GENERIC | _SINCE_2019),
}
MACHINES = tuple(_MACHINES)
_LOOKED_AT = ("clone", "clone3", "fcntl", "ioctl", "shmget", "unshare")
"""Refused for some of their arguments only, or told to be absent, so that programs do without."""


def program(machine: str) -> bytes:
    """For a machine of MACHINES, as `bwrap --seccomp` reads it. Programs for another machine are refused all calls."""
    return b"".join(_instructions(_MACHINES[machine]))


def _instructions(machine: _Machine) -> Iterator[bytes]:
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
    yield _step(_EQUALS, numbers["clone3"], 0, 1)  # its flags cannot be seen from here
    yield _refuse(errno.ENOSYS)
    yield from _refused_if(numbers["clone"], 0, (_HAS_BITS, _CLONE_NEWUSER), errno.EPERM)
    yield from _refused_if(numbers["unshare"], 0, (_HAS_BITS, _CLONE_NEWUSER), errno.EPERM)
    yield from _refused_if(numbers["fcntl"], 1, (_EQUALS, _F_SETLEASE), errno.EACCES)
    yield from _refused_if(numbers["ioctl"], 1, (_EQUALS, _TIOCSTI), errno.EPERM)
    yield from _refused_if(numbers["ioctl"], 1, (_EQUALS, _TIOCLINUX), errno.EPERM)
    yield from _refused_if(numbers["shmget"], 1, (_ABOVE, LARGEST_SEGMENT_BYTES), errno.ENOSPC)
    yield from _refused_if(numbers["shmget"], 1, (_ABOVE, 0), errno.ENOSPC, upper=True)
    yield _step(_RETURN, _ALLOW)


def _refused_if(
    number: int, argument: int, condition: tuple[int, int], code: int, *, upper: bool = False
) -> Iterator[bytes]:
    """For 32 bits of an argument: machines of the table store the lower ones first."""
    test, value = condition
    yield _step(_EQUALS, number, 0, 4)
    yield _step(_LOAD, _ARGUMENTS_AT + 8 * argument + (4 if upper else 0))
    yield _step(test, value, 0, 1)
    yield _refuse(code)
    yield _step(_LOAD, _NUMBER_AT)


def _refuse(code: int) -> bytes:
    return _step(_RETURN, _ERRNO | code)


def _step(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    """One instruction of linux/filter.h; jumps are over so many of the next ones."""
    return struct.pack("=HBBI", code, if_so, if_not, value)
