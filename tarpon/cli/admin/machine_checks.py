"""What the doctor looks at on each machine: its clock, the names that it has to know, the disk of DataDir."""

import ctypes
import os
import socket
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from shared.runtime.checkup import Check, Finding, aside, ok, problem, warning
from shared.settings.config import Config

CLOCK, NAMES, DISK = "clock", "names", "disk"
LEAST_FREE, LEAST_FREE_BYTES = 0.1, 1 << 30
_TIME_ERROR = 5
"""What adjtimex(2) answers while nothing keeps the clock right."""
_TIMEX_BYTES = 512
"""More than any kernel's struct timex has; all 0 is to ask and change nothing."""


def machine_checks(config: Config, hosts: Iterable[str]) -> list[Check]:
    """`hosts` are what has to be found by name, or is an address."""
    return [
        Check(CLOCK, partial(_aside, _clock)),
        *(Check(NAMES, partial(_aside, partial(_name, host))) for host in sorted(set(hosts))),
        Check(DISK, partial(_aside, partial(_disk, config.data_dir))),
    ]


def hosts_of(config: Config, *, of_orchestrator: bool, servers: Iterable[str]) -> set[str]:
    """Machines that are to be reached by these settings; `servers` are those of NATS."""
    s3 = config.publishers.types.s3managed
    urls = [*servers, *((s3.endpoint, s3.public_endpoint) if of_orchestrator else ())]
    urls += [each if "://" in each else f"//{each}" for each in config.api.host.split(",")]
    return {host for url in urls if url and (host := urlsplit(url.strip()).hostname)}


async def _aside(act: Callable[[], Finding]) -> tuple[Finding]:
    return (await aside(act),)


def _clock() -> Finding:
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if state == _TIME_ERROR:
        told = "Nothing keeps the clock of this machine right, as far as its kernel knows."
        hint = "Run chrony or systemd-timesyncd here, or on the host of this container: S3 refuses clocks 15 min off."
        return warning(CLOCK, "ClockNotSynchronized", told, hint)
    return ok(CLOCK, "The clock is kept right, or its kernel does not tell.")


def _name(host: str) -> Finding:
    try:
        found = {each[4][0] for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError as error:
        told = f"Nobody knows the name {host} here ({error.strerror or type(error).__name__})."
        return problem(NAMES, "HostNotResolved", told, "Correct the setting that has it, or the DNS of this machine.")
    return ok(NAMES, f"{host} is {', '.join(sorted(map(str, found))[:4])}.")


def _disk(folder: Path) -> Finding:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        told = f"This user may not write in {there}, where DataDir is."
        return problem(DISK, "DataDirNotWritable", told, "Run this as the user of the service, or give it the folder.")
    space = os.statvfs(there)
    free, size = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
    told = f"{free >> 20:,} MiB of {size >> 20:,} MiB are free where DataDir is ({there})."
    if free < LEAST_FREE_BYTES or free < LEAST_FREE * size:
        return warning(DISK, "DiskNearlyFull", told, "Make room there, or put DataDir on a larger disk.")
    if space.f_files and space.f_favail < 1000:
        told = f"Only {space.f_favail:,} more files can be made where DataDir is ({there})."
        return warning(DISK, "DiskNearlyFull", told, "Remove files there: the file system has no inodes left.")
    return ok(DISK, told)
