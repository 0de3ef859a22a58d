"""Processes that die with their parent, also a killed one: `python -m tarpon.devstack.dies_with_parent SIGNAL ...`.

This program asks the kernel for the signal (prctl, PR_SET_PDEATHSIG) and becomes the program that it was told to
start, with the same process id. The kernel means the parent's thread, so start tied processes from the main thread.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def tied_command(command: Sequence[str], number: signal.Signals) -> list[str]:
    """`command`, to be started by this process, so that it gets the signal `number` when this process ends."""
    return [
        sys.executable,
        "-P",
        "-m",
        "tarpon.devstack.dies_with_parent",
        str(os.getpid()),
        str(int(number)),
        *command,
    ]


def main(parent: str, number: str, *command: str) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("the parent ended before its child began")
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python alone, and programs would go on doing so
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606  # no shell is wanted
    except OSError as error:
        sys.exit(f"{command[0]!r} cannot be run: {error.strerror}.")


if __name__ == "__main__":
    main(*sys.argv[1:])
