"""Children: processes that this one starts while all of its other threads go on.

subprocess.Popen and os.posix_spawn hold Python's lock until the child has become its program, which takes half a
millisecond: a node that starts one short task after the other would do nothing else meanwhile. So posix_spawn(3) is
called without that lock. Like vfork it stops the calling thread alone, and copies no memory.
"""

import ctypes
import errno
import fcntl
import os
import resource
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_SETSIGDEF, _SETSID = 0x04, 0x80
_ATTRIBUTES_BYTES, _ACTIONS_BYTES, _SIGNALS_BYTES = 1024, 512, 128
"""At least what these structures take in any libc."""
_DEFAULT_AGAIN = (signal.SIGPIPE, signal.SIGXFSZ)
"""What Python ignores and a program does not expect to be ignored."""


class Child:
    """One that was started by `start`, and is nobody's until its end is taken."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        """Once its end is taken: its exit code, or minus the signal by which it died."""

    def __repr__(self) -> str:
        return f"<Child {self.pid}{'' if self.returncode is None else f', ended with {self.returncode}'}>"

    def wait(self) -> resource.struct_rusage | None:
        """Take its end: what it, and what it has waited for, has used. Blocks until then.

        None where the system has taken it before, because SIGCHLD is ignored; how it ended is then known to nobody.
        """
        try:
            _, status, used = os.wait4(self.pid, 0)
        except ChildProcessError:
            self.returncode = 0
            return None
        self.returncode = os.waitstatus_to_exitcode(status)
        return used

    def has_ended(self) -> bool:
        """Without taking its end, so that its number stays its own."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True


def start(command: Sequence[str], *, cwd: Path, env: Mapping[str, str], descriptors: Sequence[int]) -> Child:
    """Start a command in a session of its own; `descriptors` are what it has open, from its standard input on.

    A program without a slash is looked for on the PATH of `env`, of which relative folders are below `cwd`. Blocks for
    as long as the file system needs to find the program. Raises OSError, and ValueError for what no program can be
    given.
    """
    program = _found(command[0], cwd, env.get("PATH", os.defpath))
    if any("=" in name for name in env):
        raise ValueError("illegal environment variable name")
    arguments = _strings(command)
    variables = _strings([f"{name}={value}" for name, value in env.items()])
    pid = ctypes.c_int()
    with _high(descriptors) as sources:
        actions = _actions(cwd, sources)
        try:
            problem = _libc().posix_spawn(
                ctypes.byref(pid), os.fsencode(program), actions, _attributes(), arguments, variables
            )
        finally:
            _locked().posix_spawn_file_actions_destroy(actions)
    if problem:
        raise OSError(problem, os.strerror(problem), program)
    return Child(pid.value)


def _found(program: str, cwd: Path, path: str) -> str:
    """Where the program is, as execvp(3) finds it. Raises OSError."""
    if "/" in program:
        return program
    places = [os.path.join(cwd, folder, program) for folder in path.split(os.pathsep)]  # noqa: PTH118  # many times quicker
    for place in places:
        if os.access(place, os.X_OK) and not os.path.isdir(place):  # noqa: PTH112  # as above
            return place
    problem = errno.EACCES if any(map(os.path.lexists, places)) else errno.ENOENT
    raise OSError(problem, os.strerror(problem), program)


def _strings(words: Sequence[str]) -> "ctypes.Array[ctypes.c_char_p]":
    """As a program is given them. Raises ValueError."""
    encoded = [os.fsencode(word) for word in words]
    if any(b"\0" in word for word in encoded):
        raise ValueError("embedded null byte")
    return (ctypes.c_char_p * (len(encoded) + 1))(*encoded, None)


@contextmanager
def _high(descriptors: Sequence[int]) -> Iterator[list[int]]:
    """The same, none of which has a number that the child will have for another one."""
    moved = {each: fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, len(descriptors)) for each in _low(descriptors)}
    try:
        yield [moved.get(each, each) for each in descriptors]
    finally:
        for each in moved.values():
            os.close(each)


def _low(descriptors: Sequence[int]) -> set[int]:
    return {each for each in descriptors if each < len(descriptors)}


def _actions(cwd: Path, sources: Sequence[int]) -> "ctypes.Array[ctypes.c_char]":
    """What the child does before it becomes the program."""
    libc, actions = _locked(), ctypes.create_string_buffer(_ACTIONS_BYTES)
    libc.posix_spawn_file_actions_init(actions)
    libc.posix_spawn_file_actions_addchdir_np(actions, os.fsencode(cwd))
    for number, source in enumerate(sources):
        libc.posix_spawn_file_actions_adddup2(actions, source, number)
    if _closes_others():
        libc.posix_spawn_file_actions_addclosefrom_np(actions, len(sources))
    else:
        _keep_to_ourselves(first=len(sources))
    return actions


@cache
def _closes_others() -> bool:
    """Since glibc 2.34."""
    return hasattr(_locked(), "posix_spawn_file_actions_addclosefrom_np")


def _keep_to_ourselves(first: int) -> None:
    """Whatever else is open here, and was opened by a library that does not think of children."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # names alone are wanted
        if int(name) >= first:
            try:
                os.set_inheritable(int(name), False)
            except OSError:  # closed meanwhile, as the one that lists is
                continue


@cache
def _attributes() -> "ctypes.Array[ctypes.c_char]":
    libc, attributes = _locked(), ctypes.create_string_buffer(_ATTRIBUTES_BYTES)
    signals = ctypes.create_string_buffer(_SIGNALS_BYTES)
    libc.sigemptyset(signals)
    for number in _DEFAULT_AGAIN:
        libc.sigaddset(signals, int(number))
    libc.posix_spawnattr_init(attributes)
    libc.posix_spawnattr_setflags(attributes, ctypes.c_short(_SETSIGDEF | _SETSID))
    libc.posix_spawnattr_setsigdefault(attributes, signals)
    return attributes


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


@cache
def _locked() -> ctypes.PyDLL:
    """For calls so short that it takes longer to hand over Python's lock, and to get it again."""
    return ctypes.PyDLL(None)
