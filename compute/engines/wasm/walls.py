"""Walls around a process that runs or compiles a module, should the runtime have a hole.

A module by itself reaches nothing but what it is given. If it gets out of the runtime all the same, it is in a process
that may open nothing but its own folders (landlock(7), where the kernel has it), start no program, reach no other
process and no network (seccomp(2)), and have only so much memory. The process puts these up itself, and cannot undo it.
"""

import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from compute.engines import syscalls
from compute.engines.wasm.orders import Folder

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Of landlock: the same numbers on all machines."""
_VERSION_ASKED, _PATH_BENEATH = 1, 1
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_READ = _READ_FILE | _READ_DIR
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG, _MAKE_SYM = 1 << 4, 1 << 5, 1 << 7, 1 << 8, 1 << 12
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_WRITE = _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _REFER | _TRUNCATE
_ALL_SINCE = ((1, (1 << 13) - 1), (2, _REFER), (3, _TRUNCATE), (5, 1 << 15))
"""What landlock knows to forbid of files, by the version that began to."""
_SET_NO_NEW_PRIVS, _SET_PDEATHSIG, _SET_DUMPABLE, _GET_DUMPABLE = 38, 1, 4, 3
_SECCOMP = {"x86_64": 317, "aarch64": 277, "riscv64": 277}
_SECCOMP_FILTER, _ALL_THREADS = 1, 1
_KILL = 9


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def prepare() -> None:
    """What the helper does once, for all that it forks."""
    _filter()
    landlock_version()
    _data_bytes()
    _libc().prctl(_GET_DUMPABLE, 0, 0, 0, 0)


def die_with_parent(parent: int) -> None:
    """Whatever becomes of this process: it ends when its parent does."""
    _checked(_libc().prctl(_SET_PDEATHSIG, _KILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(0)


def limit_memory(most_bytes: int) -> None:
    """Of what the process has of its own, beyond what the helper had; 0 is no limit."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if most_bytes:
        most = _data_bytes() + most_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def limit_compiling(seconds: int, most_bytes: int) -> None:
    limit_memory(most_bytes)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))


def close_in(folders: Iterable[Folder]) -> None:
    """Nothing else can be opened any more, nobody reached, and nobody of its user looks into it. Raises OSError."""
    _checked(_libc().prctl(_SET_DUMPABLE, 0, 0, 0, 0))
    _checked(_libc().prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if version := landlock_version():
        _forbid_files(version, folders)
    if (filtered := _filter()) is not None:
        _checked(_libc().syscall(_SECCOMP[platform.machine()], _SECCOMP_FILTER, _ALL_THREADS, ctypes.byref(filtered)))


@cache
def landlock_version() -> int:
    """0 where the kernel has none, or it is turned off."""
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, 0, _VERSION_ASKED)))


def _forbid_files(version: int, folders: Iterable[Folder]) -> None:
    known = 0
    for since, rights in _ALL_SINCE:
        known |= rights if version >= since else 0
    told = struct.pack("=Q", known)
    rules = _checked(_libc().syscall(_CREATE_RULESET, told, len(told), 0))
    try:
        for each in folders:
            place = os.open(each.path, os.O_PATH | os.O_CLOEXEC)
            try:
                rights = (_READ | _WRITE if each.is_writable else _READ) & known
                rule = struct.pack("=Qi", rights, place)
                _checked(_libc().syscall(_ADD_RULE, rules, _PATH_BENEATH, rule, 0))
            finally:
                os.close(place)
        _checked(_libc().syscall(_RESTRICT_SELF, rules, 0))
    finally:
        os.close(rules)


class _Program(ctypes.Structure):
    """As linux/filter.h has it."""

    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


@cache
def _filter() -> _Program | None:
    """None on a machine whose system calls are not known."""
    machine = platform.machine()
    if machine not in syscalls.MACHINES:
        return None
    steps = syscalls.program(machine, alone=True)
    return _Program(len(steps) // 8, steps)


@cache
def _data_bytes() -> int:
    """What counted for RLIMIT_DATA of the helper when it asked."""
    for line in Path("/proc/self/status").read_bytes().splitlines():
        if line.startswith(b"VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def _checked(result: int) -> int:
    if result < 0:
        problem = ctypes.get_errno() or errno.EPERM
        raise OSError(problem, os.strerror(problem))
    return result
