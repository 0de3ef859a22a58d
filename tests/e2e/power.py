"""A disk whose power can be cut, and users whom Tarpon has told things before that (no tests in here).

The disk is an ext4 file system in a file. Its shutdown by ioctl, without flushing its log, is what a power cut is to a
file system: what was synced is found again by replaying the log, and nothing else that was still in memory.
"""

import fcntl
import hashlib
import io
import os
import shutil
import signal
import struct
import subprocess
import tarfile
import threading
import urllib.request
from contextlib import AbstractContextManager
from functools import partial
from http.client import HTTPException
from pathlib import Path

from tests.e2e.at_work import at_work
from tests.e2e.stack import Stack, process_job, wait_until

REQUIRED = "TESTS_REQUIRE_POWER_CUTS"
"""The environment variable that makes a machine which cannot cut the power fail instead of skip."""

DISK_BYTES = 4 << 30
"""Sparse. The stream of reports reserves 1 GiB, and JetStream takes no more than three quarters of a disk."""

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), in fs/ext4/ext4.h
_NO_LOG_FLUSH = 2
_PROGRAMS = ("mkfs.ext4", "mount", "umount")
_UMOUNT_SECONDS = 20.0


class CannotCut(Exception):
    """This machine does not let the tests make such a disk; the text says why."""


class Disk:
    """Mounted at `place`, with its bytes in `image`."""

    def __init__(self, image: Path, place: Path) -> None:
        self._image = image
        self.place = place
        self._is_mounted = False

    def make(self) -> None:
        """Raises CannotCut."""
        if os.geteuid() != 0:
            raise CannotCut("only root can mount a disk")
        if missing := [name for name in _PROGRAMS if shutil.which(name) is None]:
            raise CannotCut(f"{missing[0]} is missing (apt install e2fsprogs mount)")
        with self._image.open("wb") as file:
            file.truncate(DISK_BYTES)
        _run("mkfs.ext4", "-q", "-F", "-J", "size=16", "-E", "lazy_itable_init=1", str(self._image))
        self.place.mkdir()
        self.mount()

    def mount(self) -> None:
        _run("mount", "-t", "ext4", "-o", "loop,noinit_itable", str(self._image), str(self.place))
        self._is_mounted = True

    def come_back(self) -> None:
        """Mount what has reached the disk.

        It is a copy: where somebody on this machine has just made a mount namespace, which holds all mounts, the file
        system that was shut down lives on, and whoever mounts the same file gets it again.
        """
        self.unmount()
        copy = self._image.with_name(f"{self._image.name}.copy")
        _run("cp", "--sparse=always", str(self._image), str(copy))
        copy.replace(self._image)
        self.mount()

    def cut(self) -> None:
        """From now on nothing reaches the disk, and whoever tries is told of an error."""
        descriptor = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """As soon as nobody has a file open on it; a process that was killed may take a moment to go."""

        def is_done() -> bool:
            return subprocess.run(["umount", str(self.place)], capture_output=True, check=False).returncode == 0

        if self._is_mounted:
            wait_until(is_done, within=_UMOUNT_SECONDS, what=f"{self.place} is unmounted")
            self._is_mounted = False


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotCut(f"{' '.join(command)} failed: {done.stderr.strip()}")


def cut_power(stack: Stack, disk: Disk) -> None:
    """The orchestrator's machine is dead at once, and its disk is as it comes back.

    First the processes are stopped, so that none sees its disk fail, which they would not in a power cut either.
    """
    assert stack.orchestrator is not None
    pids = (stack.nats_pid(), stack.orchestrator.process.pid)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    disk.cut()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    stack.orchestrator.process.wait()
    disk.come_back()


class Users:
    """They submit jobs, each one after the other, and one looks which have completed: all note what they are told."""

    def __init__(self, stack: Stack) -> None:
        self.submitted: dict[str, str] = {}
        """The job, by the token of the submit that was answered with it."""
        self.unanswered: set[str] = set()
        self.completed: set[str] = set()
        self._stack = stack
        self._over = threading.Event()

    def at_work(self, name: str, *, submitters: int = 4, jobs_each: int = 15) -> AbstractContextManager[None]:
        """Meanwhile they submit so many jobs, or until there is nobody who answers. `name` is of this time alone."""
        submits = [partial(self._submit, f"{name}-{number}", jobs_each) for number in range(submitters)]
        return at_work(self._over, *submits, self._look)

    def ask_again(self) -> None:
        """Repeat each submit that was not answered, of which nobody knows whether it made a job."""
        while self.unanswered:
            token = self.unanswered.pop()
            self.submitted[token] = submit(self._stack, token)

    def _submit(self, user: str, jobs: int) -> None:
        for number in range(jobs):
            token = f"{user}-{number}"
            try:
                self.submitted[token] = submit(self._stack, token)
            except (OSError, HTTPException):
                self.unanswered.add(token)
                return

    def _look(self) -> None:
        while not self._over.is_set():
            try:
                self.completed |= {job for job, state in states(self._stack).items() if state == "Completed"}
            except (OSError, HTTPException):
                return


def submit(stack: Stack, token: str) -> str:
    """A job whose result is its token. Repeated with the same token, it is the same job."""
    job = process_job(f"echo {token} > outputs/token", ResultPaths=[{"Name": "outputs", "Path": "/outputs"}])
    job["Tasks"][0]["Resources"] = {"CPU": "200m", "Memory": "20MB"}
    return str(stack.api("/orchestrator/jobs", {"Job": job, "IdempotencyToken": token}, "PUT")["JobID"])


def states(stack: Stack) -> dict[str, str]:
    """Of all jobs there are."""
    items = stack.api("/orchestrator/jobs?limit=1000")["Items"]
    return {item["ID"]: item["State"]["StateType"] for item in items}


def read_token(stack: Stack, job: str) -> str:
    """What the job's task wrote, out of its one result, which is as it was recorded."""
    (item,) = stack.api(f"/orchestrator/jobs/{job}/results")["Items"]
    with urllib.request.urlopen(item["Params"]["PreSignedURL"], timeout=30) as answer:
        archive = answer.read()
    assert hashlib.sha256(archive).hexdigest() == item["Params"]["SHA256"]
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        file = tar.extractfile("outputs/token")
        assert file is not None
        return file.read().decode().strip()
