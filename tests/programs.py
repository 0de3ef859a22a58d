"""Programs of others that tests run (no tests in here)."""

import os
import shutil

import pytest

REQUIRED = "TESTS_REQUIRE_PROGRAMS"
_PACKAGES = {
    "bsdtar": "libarchive-tools",
    "docker": "docker.io",
    "ip": "iproute2",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
    "systemd-sysusers": "systemd",
}


def require_program(name: str) -> str:
    """Where the program is; skips the test where it is not, and fails it with TESTS_REQUIRE_PROGRAMS=1."""
    found = shutil.which(name)
    if found is None:
        reason = f"{name} is not installed (Debian: {_PACKAGES.get(name, name)})"
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(reason)
    return found
