"""The keeper of a process leaves nothing behind: `python -m tarpon.devstack.keeper`, told on stdin what to run.

The keeper is the parent of that program, and of everything that loses its parent below it (PR_SET_CHILD_SUBREAPER in
prctl(2)). Its stdin ends when whoever started it closes it, or ends in whatever way: then the keeper asks the program
to stop, and kills it where it takes too long. At SIGTERM the keeper kills it at once. When the program has ended, all
that it has left is ended too, and the keeper ends as the program did.
"""

import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

from compute.processes.table import children, end_families
from tarpon.devstack.dies_with_parent import tied_command

STOP_SECONDS = 25.0
KILL_SECONDS = 10.0
"""For what multiplies faster than it is killed; the rest is gone in a moment."""
_AT_ONCE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PR_SET_CHILD_SUBREAPER = 36
_STDIN = 0


def keeper_command() -> list[str]:
    """To be started with `told(command)` on its stdin, which stays open until the program is to stop."""
    return [sys.executable, "-P", "-m", "tarpon.devstack.keeper"]


def told(command: Sequence[str]) -> bytes:
    return json.dumps(list(command)).encode() + b"\n"


class Keeper:
    """Keeps one program. All methods block."""

    def __init__(self) -> None:
        self._program: subprocess.Popen[bytes] | None = None
        self._is_unwanted = False

    def __repr__(self) -> str:
        return f"<Keeper of {self._program.pid if self._program else 'nothing'}>"

    def kill(self, *_: object) -> None:
        """Also as the handler of a signal, at any moment."""
        self._is_unwanted = True
        if self._program is not None:
            self._program.kill()

    def run(self, command: Sequence[str]) -> int:
        """Its exit code, negative for a signal, when it and all that it has started have ended."""
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._program = subprocess.Popen(tied_command(command, signal.SIGTERM), stdin=subprocess.DEVNULL)
        if self._is_unwanted:
            self._program.kill()
        self._wait(self._program)
        code = self._program.wait()
        end_families(lambda: children(os.getpid()), within=KILL_SECONDS)
        return code

    def _wait(self, program: "subprocess.Popen[bytes]") -> None:
        end, ends = os.pidfd_open(program.pid), select.poll()
        ends.register(end, select.POLLIN)
        ends.register(_STDIN, 0)  # its end is told in any case
        ends.poll()
        if program.poll() is None:
            program.terminate()
            ends.unregister(_STDIN)
            ends.poll(STOP_SECONDS * 1000)
            program.kill()


def main() -> None:
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        sys.exit("whoever started this has ended before it said what to run")
    keeper = Keeper()
    for number in _AT_ONCE:
        signal.signal(number, keeper.kill)
    _end_as(keeper.run(json.loads(line)))


def _end_as(code: int) -> None:
    if code >= 0:
        sys.exit(code)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the program has left its own, if it has to
    with suppress(OSError):  # SIGKILL has no handler
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)


if __name__ == "__main__":
    main()
