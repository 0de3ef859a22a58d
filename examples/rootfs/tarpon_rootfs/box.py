"""The box of one task: bubblewrap, the root file system in it, and what is in there beside that."""

import contextlib
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from compute.engines.engine import Run
from compute.processes import child
from compute.processes.child import Child
from compute.processes.mark import ProcessMark, mark_process
from compute.processes.table import Process, children, family
from tarpon_rootfs.params import RootfsParams

NOBODY = "65534"
PROGRAM = "bwrap"
OWN = frozenset({"dev", "proc", "sys", "tmp", "run"})
"""What of an image is not shown, but made anew."""
TEMPORARY = ("/tmp", "/dev/shm")  # noqa: S108  # the task's own
_TOLD, _REPORTS = 3, 4
_GONE_SECONDS = 10.0
_READ_BYTES = 4096


class CannotShow(Exception):
    """In words for the author of the job."""


def confinement() -> list[str]:
    """All ends with the process that starts it, however that ends, and with the thread that did."""
    who = ("--uid", NOBODY, "--gid", NOBODY) if os.geteuid() == 0 else ()
    return [
        *(PROGRAM, "--unshare-user", *who, "--cap-drop", "ALL", "--disable-userns", "--die-with-parent"),
        *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--new-session"),
    ]


def behind_walls(written: Mapping[str, Path], read: Mapping[str, Path]) -> list[str]:
    """The beginning of a command of the machine's own that sees its programs and these, and reaches nobody."""
    system = [path for path in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64") if Path(path).exists()]
    return [
        *(*confinement(), "--unshare-net", "--proc", "/proc", "--dev", "/dev"),
        *(part for path in system for part in ("--ro-bind", path, path)),
        *(part for path, source in written.items() for part in ("--bind", str(source), path)),
        *(part for path, source in read.items() for part in ("--ro-bind", str(source), path)),
        "--",
    ]


def view(root: Path, run: Run, params: RootfsParams, *, has_network: bool, variables: Mapping[str, str]) -> list[str]:
    """Arguments of bubblewrap that hold the environment, so that no command line may show them. Raises CannotShow."""
    results = {each.path: run.workspace.place(each.path) for each in run.task.result_paths}
    results |= {each.target: each.path for each in run.inputs if each.is_writable}
    read = {each.target: each.path for each in run.inputs if each.target not in {params.image, *results}}
    read |= {each.path: each.file for each in run.secrets}
    for path in (*results, *read):
        _check_place(root, path)
    return [
        *_entries(root),
        *("--proc", "/proc", "--dev", "/dev", "--dir", "/run"),
        *(part for place in TEMPORARY for part in ("--bind", str(run.workspace.temporary), place)),
        *(part for path, place in results.items() for part in ("--bind", str(place), path)),
        *(part for path, source in read.items() for part in ("--ro-bind", str(source), path)),
        *_network(root, has_network=has_network),
        *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", params.working_directory or "/"),
        "--clearenv",
        *(part for name, value in variables.items() for part in ("--setenv", name, value)),
    ]


def _entries(root: Path) -> Iterator[str]:
    """What is at the top of the image. That itself is in memory, so that places for results can be made in it."""
    for each in sorted(root.iterdir()):
        if each.is_symlink():
            yield from ("--symlink", str(each.readlink()), f"/{each.name}")
        elif each.name not in OWN:
            yield from ("--ro-bind", str(each), f"/{each.name}")


def _network(root: Path, *, has_network: bool) -> Iterator[str]:
    if not has_network:
        yield "--unshare-net"
    elif (root / "etc" / "resolv.conf").is_file():
        yield from ("--ro-bind-try", "/etc/resolv.conf", "/etc/resolv.conf")


def _check_place(root: Path, path: str) -> None:
    """What is in the image is never written to, so that a place in one of its folders has to be there."""
    top, *below = path.strip("/").split("/")
    if top in OWN:
        raise CannotShow(f"The path {path[:100]} is below a folder that each task has anew; use one such as /data.")
    is_there = os.path.lexists(root / top)
    if is_there and ((root / top).is_symlink() or not os.path.lexists(root.joinpath(top, *below))):
        raise CannotShow(f"The image has no {path[:100]}, where something of the job goes; use a path such as /data.")


class Box:
    """Every method blocks. `close` comes last, whatever was called before."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self._end = -1
        self._reports = -1
        self.mark: ProcessMark | None = None
        self.exit_code = -1
        self.has_begun = False
        """Whether the command was; else bubblewrap has told on stderr why not."""

    def start(self, arguments: Sequence[str], command: Sequence[str], *, stdout: int, stderr: int, name: str) -> None:
        """`name` is the execution's, by which what a killed node left is found. Raises OSError, ValueError."""
        program = shutil.which(PROGRAM)
        if program is None:
            raise FileNotFoundError(PROGRAM)
        told = _in_memory(arguments)
        self._reports, theirs = os.pipe2(os.O_CLOEXEC)
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            options = ["--args", str(_TOLD), "--json-status-fd", str(_REPORTS), "--"]
            self._child = child.start(
                [program, *confinement()[1:], *options, *command],
                cwd=Path("/"),
                env={"TARPON_EXECUTION_ID": name},
                descriptors=(nothing, stdout, stderr, told, theirs),
            )
        finally:
            for each in (told, theirs, nothing):
                os.close(each)
        self.mark = mark_process(self._child.pid)
        self._end = os.pidfd_open(self._child.pid)

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def family(self) -> Iterator[Process]:
        return family(children(self.pid))

    def ends_within(self, seconds: float) -> bool:
        waiting = select.poll()
        waiting.register(self._end, select.POLLIN)
        return bool(waiting.poll(seconds * 1000))

    def ask_to_end(self) -> None:
        """The first process inside does not heed this, and waits for the others."""
        for process in self.family():
            _send(process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Nothing of it runs afterwards, and its end is known."""
        if self._child is None or self._child.returncode is not None:
            return
        inside = [descriptor for each in self.family() if (descriptor := _opened(each.pid)) >= 0]
        _send(self.pid, signal.SIGKILL)
        self._child.wait()
        deadline = time.monotonic() + _GONE_SECONDS
        for descriptor in inside:
            waiting = select.poll()
            waiting.register(descriptor, select.POLLIN)
            waiting.poll(max(0.0, deadline - time.monotonic()) * 1000)
            os.close(descriptor)
        told = b""
        while more := os.read(self._reports, _READ_BYTES):
            told += more
        self.has_begun = b'"exit-code"' in told
        code = self._child.returncode or 0
        self.exit_code = code if code >= 0 else 128 - code

    def close(self) -> None:
        for each in (self._end, self._reports):
            if each >= 0:
                os.close(each)


def _opened(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return -1


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _in_memory(words: Sequence[str]) -> int:
    descriptor = os.memfd_create("arguments")
    os.write(descriptor, b"".join(os.fsencode(word) + b"\0" for word in words))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
