"""The version of this program, since when it is here, and for which machines."""

import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path

DISTRIBUTION = "tarpon-jobs"

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "i386": "386"}
_OF_32_BIT_ARM = "armv"


@cache
def version_text() -> str:
    """Of the installed distribution, such as `0.1.0`; `0.0.0` when running from sources that were never installed.

    Blocks, the first time.
    """
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0.0.0"


@cache
def build_date() -> datetime | None:
    """When it was installed, in UTC and whole seconds; None for sources that never were. Blocks, the first time."""
    try:
        return _installed_at(distribution(DISTRIBUTION))
    except (PackageNotFoundError, OSError):
        return None


def _installed_at(found: Distribution) -> datetime | None:
    """The list of files is written by whatever installs it."""
    lists = [each for each in found.files or () if each.name == "RECORD"]
    if not lists:
        return None
    return datetime.fromtimestamp(int(Path(lists[0].locate()).stat().st_mtime), UTC)


def operating_system() -> str:
    """As Go names it, and with it Bacalhau: `linux`."""
    return platform.system().lower()


def architecture() -> str:
    """As Go names it, and with it Bacalhau and container images: `amd64`, `arm64`."""
    machine = platform.machine()
    return "arm" if machine.startswith(_OF_32_BIT_ARM) else _ARCHITECTURES.get(machine, machine)
