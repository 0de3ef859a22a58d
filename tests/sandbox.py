"""Bubblewrap for tests: whether it works here, found out once (no tests in here)."""

import os
import tempfile
from functools import cache
from pathlib import Path

import pytest

from compute.engines.process.bubblewrap import Bubblewrap, SandboxUnavailable

REQUIRED = "TESTS_REQUIRE_SANDBOX"


@cache
def why_no_sandbox() -> str:
    """Empty where nodes can keep tasks in their place."""
    with tempfile.TemporaryDirectory(prefix="tarpon-sandbox-") as folder:
        try:
            Bubblewrap.open(Path(folder), path=os.environ["PATH"])
        except SandboxUnavailable as error:
            return error.message
    return ""


def sandbox_setting() -> str:
    """Of nodes that tests start: as an operator has it, where that is possible."""
    return "off" if why_no_sandbox() else "require"


def need_sandbox() -> None:
    """Skip the test where there is none. With TESTS_REQUIRE_SANDBOX=1 that is a failure."""
    if why := why_no_sandbox():
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, but there is no sandbox: {why}")
        pytest.skip(why)
