"""How a test has a network that nobody outside of it sees: in a process with interfaces of its own (no tests here)."""

import functools
import subprocess
import sys
from collections.abc import Callable

SECONDS = 60.0


def in_private_network(test: Callable[[], None]) -> Callable[[], None]:
    """The whole test runs there, as root. What it starts ends with it."""

    @functools.wraps(test)
    def outside() -> None:
        program = f"import {test.__module__} as tests\ntests.{test.__name__}.__wrapped__()"
        apart = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
        command = [*apart, sys.executable, "-W", "error", "-c", program]
        ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
        assert ended.returncode == 0, ended.stderr

    return outside
