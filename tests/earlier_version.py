"""An environment with an earlier version of Tarpon, installed out of git (no tests in here).

It is the last release, or, as long as there is none, a commit that is named here. What it depends on it finds where
the tests run.
"""

import shutil
import subprocess
import sysconfig
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests.environments import CONSTRAINTS, ROOT, Environment

COMMIT = "4aa8384"


def earlier_commit() -> str:
    """The newest tag of a release that is no later than the checkout, or else the commit above."""
    tagged = _git("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^")
    return tagged or COMMIT


@cache
def earlier_python(commit: str = "") -> Path:
    """The interpreter of the environment; skips the test where the commit is not here, as in a shallow clone."""
    asked = commit or earlier_commit()
    whole = _git("rev-parse", "--verify", "--quiet", f"{asked}^{{commit}}")
    if not whole:
        pytest.skip(f"the commit {asked} is not here: this is no clone, or a shallow one (git fetch --unshallow)")
    environment = Environment(f"earlier-{whole[:10]}")
    with environment.locked():
        if environment.made_of != whole:
            environment.make()
            _install(environment, whole)
            environment.is_made(whole)
    return environment.python


def _install(environment: Environment, commit: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        environment.pip("install", "--quiet", "--no-deps", "--build-constraint", str(CONSTRAINTS), folder)
    (packages,) = environment.home.glob("lib/python3*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")


def _git(*arguments: str) -> str:
    if shutil.which("git") is None:
        return ""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
