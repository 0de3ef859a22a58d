"""The process group of a task behind walls: bwrap, which the node waits for, and what it runs in namespaces of its own.

The first process inside is of bwrap too. Whatever the task starts descends from it and cannot leave; when it ends, the
kernel ends all of them. So that nothing is left is not looked for but known.
"""

import contextlib
import errno
import os
import select
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from compute.engines.process.bubblewrap import Bubblewrap, SandboxReports
from compute.engines.process.group import ProcessGroup
from compute.engines.process.program_format import check_format
from compute.engines.process.sandbox import SandboxView
from compute.processes.child import Child
from compute.processes.strays import Strays
from compute.processes.table import NAMED, Process, children, family, look
from shared.errors import TarponError
from shared.ids import ExecutionId

REPORT_SECONDS = 5.0
GONE_SECONDS = 1.0
_MAX_WORDS, _MAX_READ = 300, 4096
_KILLED = 128 + signal.SIGKILL
_NO_COMMAND = "bwrap: execvp "
_TOO_MANY = "bwrap: Exceeded maximum number of arguments"
_PROBLEMS = {os.strerror(number): number for number in sorted(errno.errorcode)}


class SandboxFailed(TarponError):
    """The walls of one task could not be made, although others could."""

    def __init__(self, words: str) -> None:
        super().__init__(
            f"Walls around the task could not be made: {words[:_MAX_WORDS] or 'bubblewrap said nothing'}",
            hint="What its node may do has changed since the node was started.",
        )


class SandboxedGroup(ProcessGroup):
    """`stderr` is the file that the task writes to: if the command never began, the words of bwrap are in it."""

    def __init__(
        self, execution_id: ExecutionId, strays: Strays, bubblewrap: Bubblewrap, view: SandboxView, stderr: Path
    ) -> None:
        super().__init__(execution_id, strays)
        self._bubblewrap = bubblewrap
        self._view = view
        self._stderr = stderr
        self._reports: SandboxReports | None = None
        self._first: Process | None = None
        self._first_end: int | None = None
        """A descriptor of the first process inside, which tells its end: then all have ended."""
        self._has_begun = False

    @property
    def killed_by(self) -> str:
        """A kill is told as a shell does, by an exit code.

        Nobody exits so unless something was killed, mostly by the kernel for want of memory. What was killed has not
        done what it was to do.
        """
        return super().killed_by or ("SIGKILL" if self.exit_code == _KILLED else "")

    @property
    def start_problem(self) -> Exception | None:
        if self._leader is None or self._returncode <= 0 or self._has_begun:
            return None
        words = self._stderr.read_text(encoding="utf-8", errors="replace")[:_MAX_READ].strip()
        os.truncate(self._stderr, 0)
        last = words.rpartition("\n")[2]
        if last.startswith(_TOO_MANY):
            return OSError(errno.E2BIG, last)
        number = _PROBLEMS.get(last.rpartition(": ")[2])
        return OSError(number, last) if last.startswith(_NO_COMMAND) and number else SandboxFailed(last)

    def start(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdout: int, stderr: int) -> None:
        try:
            super().start(command, cwd=cwd, env=env, stdout=stdout, stderr=stderr)
        finally:
            if self._gone:
                self._all_ended(GONE_SECONDS)
                self._hear_reports()
                self._forget_first()

    async def end(self, grace_seconds: float) -> None:
        await super().end(grace_seconds)
        self._forget_first()

    def family(self) -> Iterator[Process]:
        return family(children(self._first.pid)) if self._first is not None else iter(())

    def _spawn(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdout: int, stderr: int) -> Child:
        check_format(command[0], cwd, self._view.workspace, self._view.inputs)
        try:
            started = self._bubblewrap.start(
                command,
                replace(self._view, working_directory=cwd, environment=env),
                variables={NAMED: self._execution_id},
                stdout=stdout,
                stderr=stderr,
            )
        except OSError as error:
            if error.errno == errno.E2BIG:
                raise
            raise SandboxFailed(str(error)) from error
        try:
            self._know_first(started.first_pid)
        except BaseException:
            self._first = None
            started.abandon()
            raise
        self._reports = started.reports
        return started.process

    def _know_first(self, pid: int) -> None:
        self._first = look(pid) if pid else None
        with contextlib.suppress(ProcessLookupError):
            self._first_end = os.pidfd_open(pid) if self._first is not None else None

    def end_rest(self) -> bool:
        """When its leader has ended. Whether nothing is left of it; else that is on its way. Blocks for moments."""
        assert self._leader is not None
        self._signal(signal.SIGKILL)
        self._take_end(self._leader)
        self._strays.ends(self.mark)
        self._hear_reports()
        self._gone = self._all_ended(GONE_SECONDS)
        # By an abstract socket, which is the network's, it may have handed its open folder to a task that still runs.
        self.left_nobody = self._gone and not self._view.has_network
        self._forget_first()
        return self._gone

    def _signal(self, number: int) -> bool:
        """Whether anything is there to get it. bwrap itself is not asked to end: it waits for the task's end."""
        if number != signal.SIGTERM:
            super()._signal(number)
        if self._first is None or self._first_end is None or self._all_ended():
            return False
        if number == signal.SIGTERM:
            try:
                os.killpg(self._first.pid, number)
            except ProcessLookupError:  # it has no session yet, and the command has not begun
                super()._signal(number)
        elif number:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first_end, number)
        return True

    def _all_ended(self, within: float = 0.0) -> bool:
        if self._first_end is None:
            return True
        waiting = select.poll()
        waiting.register(self._first_end, select.POLLIN)
        return bool(waiting.poll(within * 1000))

    def _reap_orphans(self) -> None:
        """The leader ends without waiting for the first process, which is then a child of this one, if it adopts."""
        if self._first is not None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._first.pid, os.WNOHANG)

    def _hear_reports(self) -> None:
        """The last one tells that the command was begun."""
        if self._reports is None:
            return
        while (report := self._reports.next(REPORT_SECONDS)) is not None:
            self._has_begun |= report.exit_code is not None
        self._reports.close()
        self._reports = None

    def _forget_first(self) -> None:
        """Its number may soon be another's."""
        if self._gone and self._first_end is not None:
            self._reap_orphans()
            os.close(self._first_end)
            self._first_end = self._first = None
