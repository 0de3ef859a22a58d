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


def require_program(name: str, *others: str) -> str:
    """Where it is, or the first of the others that is; skips the test where none is.

    With TESTS_REQUIRE_PROGRAMS=1 that fails the test.
    """
    found = next((found for each in (name, *others) if (found := shutil.which(each))), None)
    if found is None:
        reason = f"{name} is not installed (Debian: {_PACKAGES.get(name, name)})"
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(reason)
    return found
