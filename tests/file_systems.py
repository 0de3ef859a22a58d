"""File systems of a test's own, mounted from images: those that a result's reader may have (no tests in here)."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

REQUIRED = "TESTS_REQUIRE_MOUNTS"
SECONDS = 30
_MAKERS = {"exfat": ["mkfs.exfat"], "ext4": ["mkfs.ext4", "-q", "-O", "^has_journal"]}
_MOUNTS = {"exfat": ["mount.exfat-fuse"], "ext4": ["mount", "-t", "ext4"]}


class CannotMount(Exception):
    """Why this machine cannot have the file system."""


@contextmanager
def mounted(kind: str, folder: Path, *, size_bytes: int) -> Iterator[Path]:
    """A new and empty file system of this kind; where there can be none, the test is skipped and says why.

    With TESTS_REQUIRE_MOUNTS=1 that is a failure.
    """
    try:
        device, place = _mount(kind, folder, size_bytes)
    except CannotMount as error:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(f"no {kind} file system: {error}")
    try:
        yield place
    finally:
        _run("umount", str(place))
        _run("losetup", "--detach", device)


def _mount(kind: str, folder: Path, size_bytes: int) -> tuple[str, Path]:
    if os.geteuid():
        raise CannotMount("only root mounts images")
    programs = [_MAKERS[kind][0], _MOUNTS[kind][0], "losetup"]
    if missing := [name for name in programs if shutil.which(name) is None]:
        raise CannotMount(f"{', '.join(missing)} not installed (Debian: exfatprogs, exfat-fuse, e2fsprogs, mount)")
    image, place = folder / f"{kind}.image", folder / kind
    with image.open("wb") as file:
        file.truncate(size_bytes)
    place.mkdir()
    _run(*_MAKERS[kind], str(image))
    device = _run("losetup", "--find", "--show", str(image)).strip()
    try:
        _run(*_MOUNTS[kind], device, str(place))
    except CannotMount:
        _run("losetup", "--detach", device)
        raise
    return device, place


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise CannotMount(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
