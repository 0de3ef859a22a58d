"""Bubblewrap on this machine: whether it works here, and how it is started for a task.

No task's environment is ever that of `bwrap` itself, which runs outside of the walls: a variable such as LD_PRELOAD
would have it load what the task brings.
"""

import contextlib
import os
import platform
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec

from compute.engines import syscalls
from compute.engines.process.configuration import ShownConfiguration
from compute.engines.process.ownerless import OwnerlessCopies
from compute.engines.process.sandbox import (
    MACHINE_FACTS,
    SYSTEM,
    SandboxBase,
    SandboxView,
    arguments,
)
from compute.processes import child
from compute.processes.child import Child
from shared.errors import Missing

PROGRAM = "bwrap"
NAME = "bubblewrap"
FOLDER = "sandbox"
TRIAL_SECONDS = 20.0
SETUP_SECONDS = 60.0
_FORBIDS_NESTING_SINCE = (0, 8)
_REPORT_BYTES = 4096
_MAX_WORDS = 300
_TOLD, _SECCOMP, _REPORTS = 3, 4, 5
"""What bwrap has open beside the standard streams."""
_ROOT = Path("/")
_ECHO, _QUESTION = "cat", b"?"


class SandboxUnavailable(Missing):
    """The operator wants walls around tasks on the machine itself, and there can be none."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(
            f"Tasks cannot be kept in their place on this machine, so the engine process is not offered: {why}",
            hint=(
                "Install bubblewrap (the program bwrap) and let its user make user namespaces, or set"
                " Engines.Types.Process.Sandbox=off, with which a task has all rights of the node."
            ),
        )


class SandboxReport(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What bwrap tells of itself, as it happens: first the process that it has made, at last its exit code.

    The latter is told only if the command was ever started.
    """

    child_pid: int = 0
    exit_code: int | None = None


class SandboxReports:
    """What one bwrap tells. Methods block until it has."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._unread = b""

    def __repr__(self) -> str:
        return f"<SandboxReports {self._descriptor}>"

    def close(self) -> None:
        os.close(self._descriptor)

    def next(self, within: float) -> SandboxReport | None:
        """None where bwrap ends before it tells any more, or does not in time."""
        deadline = time.monotonic() + within
        waiting = select.poll()
        waiting.register(self._descriptor, select.POLLIN)
        while b"\n" not in self._unread:
            if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return None
            read = os.read(self._descriptor, _REPORT_BYTES)
            if not read:
                return None
            self._unread += read
        line, _, self._unread = self._unread.partition(b"\n")
        return msgspec.json.decode(line, type=SandboxReport)


class StartedSandbox(NamedTuple):
    """`first_pid` is the first process inside of the walls; 0 where bwrap ended before it had made one."""

    process: Child
    reports: SandboxReports
    first_pid: int

    def abandon(self) -> None:
        """End what nobody could find again. That needs no descriptor, for there may be none left."""
        # While it is stopped it does not wait for the first process, whose number is then nobody else's.
        os.kill(self.process.pid, signal.SIGSTOP)
        if self.first_pid and not self.process.has_ended():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.first_pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # the first process is in this group until it is set up
        self.process.wait()
        self.reports.close()


class Bubblewrap:
    """What `open` has found to work. Every method blocks."""

    def __init__(
        self, program: str, version: str, base: SandboxBase, copies: OwnerlessCopies, shown: ShownConfiguration
    ) -> None:
        self.version = version
        self._program = copies.program(program)
        self._base = base
        self._copies = copies
        self._configuration = shown
        self._filter = syscalls.program(platform.machine())
        self._nothing = os.open(copies.device(os.devnull), os.O_RDONLY | os.O_CLOEXEC)

    def __repr__(self) -> str:
        return f"<Bubblewrap {self.version}>"

    @classmethod
    def open(
        cls, folder: Path, *, hidden: Path | None = None, shown: Sequence[str] = (), path: str = os.defpath
    ) -> "Bubblewrap":
        """Raises SandboxUnavailable.

        `folder` is where devices may be. `hidden` is what no task sees of but its own, and `shown` what all may read.
        """
        program = shutil.which(PROGRAM, path=path)
        if program is None:
            raise SandboxUnavailable(f"there is no program {PROGRAM} on the node's PATH.")
        if platform.machine() not in syscalls.MACHINES:
            raise SandboxUnavailable(f"no list of system calls is known for {platform.machine()}.")
        if missing := [path for path in shown if not Path(path).exists()]:
            raise SandboxUnavailable(f"{missing[0]} of Engines.Types.Process.ReadOnlyPaths is not there.")
        if leads := [path for path in shown if _leads_to(path, hidden or folder)]:
            raise SandboxUnavailable(
                f"{leads[0]} of Engines.Types.Process.ReadOnlyPaths is behind a link and shows the node's own folder:"
                f" name {Path(leads[0]).resolve()} instead."
            )
        version = _version_of(program)
        copies = OwnerlessCopies(folder / FOLDER)
        try:
            base = _base(hidden or folder, shown, version, copies)
            found = cls(program, version, base, copies, ShownConfiguration(folder / FOLDER))
        except OSError as error:
            raise SandboxUnavailable(
                f"what they need cannot be copied to {folder / FOLDER}: {error.strerror}. A node that root runs makes"
                " devices there, another one does not."
            ) from error
        found._try(folder)
        return found

    def start(
        self,
        command: Sequence[str],
        view: SandboxView,
        *,
        variables: Mapping[str, str],
        stdout: int,
        stderr: int,
        stdin: int | None = None,
    ) -> StartedSandbox:
        """`variables` are those of bwrap itself, which nobody but the node may choose. Raises OSError, ValueError."""
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            with _in_memory(self._filter) as seccomp, _in_memory(self._arguments(view)) as told:
                process = child.start(
                    [
                        *(self._program, "--args", str(_TOLD), "--seccomp", str(_SECCOMP)),
                        *("--json-status-fd", str(_REPORTS), "--", *command),
                    ],
                    cwd=_ROOT,
                    env=variables,
                    descriptors=(self._nothing if stdin is None else stdin, stdout, stderr, told, seccomp, theirs),
                )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        reports = SandboxReports(ours)
        try:
            first = reports.next(SETUP_SECONDS)
        except BaseException:
            StartedSandbox(process, reports, 0).abandon()
            raise
        return StartedSandbox(process, reports, first.child_pid if first else 0)

    def _arguments(self, view: SandboxView) -> bytes:
        gpus = self._copies.gpus() if view.has_gpus else {}
        view = replace(view, configuration=self._configuration.current())
        return b"".join(os.fsencode(each) + b"\0" for each in arguments(self._base, view, gpus))

    def _try(self, folder: Path) -> None:
        """Run a program behind walls. Raises SandboxUnavailable."""
        view = SandboxView(workspace=folder, temporary=folder, working_directory=folder, has_network=False)
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                ends = dict.fromkeys(("stdin", "stdout", "stderr"), theirs.fileno())
                try:
                    started = self.start([_ECHO], view, variables={}, **ends)
                except OSError as error:
                    raise SandboxUnavailable(f"{self._program} cannot be run: {error.strerror}.") from error
            started.reports.close()
            told = _answer(ours)
        started.process.wait()  # it has no input any more
        if told != _QUESTION:
            words = told.decode(errors="replace").strip()[:_MAX_WORDS] or "it said nothing"
            raise SandboxUnavailable(f"a trial of {self._program} failed: {words.rstrip('.')}.")


def _answer(end: socket.socket) -> bytes:
    """What comes back; if that is something else, it is what bwrap has to say."""
    end.settimeout(TRIAL_SECONDS)
    with contextlib.suppress(OSError):  # it has ended, and says why
        end.sendall(_QUESTION)
    told = b""
    try:
        while told != _QUESTION and len(told) < _REPORT_BYTES and (more := end.recv(_REPORT_BYTES)):
            told += more  # bwrap says what it has to say in pieces
    except OSError as error:
        return told or str(error).encode()
    return told


def _version_of(program: str) -> str:
    """Raises SandboxUnavailable."""
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, env={}, text=True, timeout=TRIAL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxUnavailable(f"{program} --version failed: {error}.") from error
    return done.stdout.rpartition(" ")[2].strip()[:40]


def _forbids_nesting(version: str) -> bool:
    numbers = [int(part) if part.isdecimal() else 0 for part in version.split(".")[:2]]
    return tuple(numbers) >= _FORBIDS_NESTING_SINCE


def _base(private: Path, shown: Sequence[str], version: str, copies: OwnerlessCopies) -> SandboxBase:
    links = {path: str(Path(path).readlink()) for path in SYSTEM if Path(path).is_symlink()}
    there = [path for path in (*SYSTEM, MACHINE_FACTS) if path not in links and Path(path).exists()]
    own = private.resolve()
    is_shown = any(own.is_relative_to(Path(path).resolve()) for path in (*there, *shown))
    return SandboxBase(
        links=links,
        system=there,
        shown=shown,
        hidden=str(own) if is_shown else "",
        devices=copies.basic_devices(),
        forbids_nesting=_forbids_nesting(version),
        is_root=os.geteuid() == 0,
    )


def _leads_to(path: str, private: Path) -> bool:
    """Whether it shows the node's folder under a name under which it is not hidden."""
    target = Path(path).resolve()
    return str(target) != os.path.normpath(path) and private.resolve().is_relative_to(target)


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[int]:
    """A descriptor from which it can be read."""
    descriptor = os.memfd_create(NAME)
    try:
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
