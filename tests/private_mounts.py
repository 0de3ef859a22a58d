"""How a test mounts things that nobody outside of it sees: in a process with mounts of its own (no tests here)."""

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

SECONDS = 60.0


def private_mounts() -> list[str]:
    """What to put before a command, so that its mounts are its own. They end with its last process."""
    return ["unshare", "--mount", "--propagation", "private", *([] if os.geteuid() == 0 else ["--map-root-user"])]


def without_rights_to_mount() -> list[str]:
    return ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", "--"]


def in_private_mounts(test: Callable[[Path], None]) -> Callable[[Path], None]:
    """The whole test runs there. It may use nothing but a folder of its own."""

    @functools.wraps(test)
    def outside(tmp_path: Path) -> None:
        program = (
            f"import pathlib, {test.__module__} as tests\n"
            f"tests.{test.__name__}.__wrapped__(pathlib.Path({str(tmp_path)!r}))"
        )
        command = [*private_mounts(), sys.executable, "-W", "error", "-c", program]
        ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
        assert ended.returncode == 0, ended.stderr

    return outside


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True)
