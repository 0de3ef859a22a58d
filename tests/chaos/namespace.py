"""How a chaos run gets disks of its own to fill: a mount namespace, which ends with its last process.

As root, or where the kernel lets a user make one; else the kinds of faults that need small disks are left out.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

INSIDE = "TARPON_CHAOS_NAMESPACE"
_WAYS = (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"])


def enter(module: str, arguments: Sequence[str]) -> None:
    """Become the same program inside a namespace, or go on without."""
    if INSIDE in os.environ or shutil.which("unshare") is None:
        return
    for way in _WAYS:
        tried = subprocess.run([*way, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
        if tried.returncode == 0:
            os.environ[INSIDE] = "1"
            os.execvp(way[0], [*way, sys.executable, "-m", module, *arguments])


def has_disks() -> bool:
    return INSIDE in os.environ


def mount_disk(folder: Path, *, mebibytes: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    size = f"size={mebibytes}m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "chaos", str(folder)], check=True)


def unmount_disk(folder: Path) -> None:
    """What was stored on it is gone, but for what is open."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
