"""How constraints.txt is made: the newest releases that fit together, for each of the interpreters that are named.

`make constraints` runs it, with nothing but the standard library.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "constraints.txt"
TITLE = "# The releases that were tested together; `make constraints` renews them.\n"
GROUPS = ("check", "build", "release", "images", "helm", "bacalhau", "tables", "programs", "workflows")
NOT_NEEDED = {"setuptools", "wheel", "tarpon-jobs"}
"""What some interpreters put into each environment, and what is installed from the checkout."""

Python = tuple[int, int]


def render(found: Mapping[Python, Mapping[str, str]]) -> str:
    """A line for each package, or one for each range of interpreters that take different releases of it."""
    names = sorted({name for versions in found.values() for name in versions} - NOT_NEEDED)
    return TITLE + "".join(f"{line}\n" for name in names for line in _lines(name, found))


def _lines(name: str, found: Mapping[Python, Mapping[str, str]]) -> Sequence[str]:
    having = sorted(python for python in found if name in found[python])
    ranges = [(version, min(pythons)) for version, pythons in groupby(having, lambda each: found[each][name])]
    starts = [None, *(start for _, start in ranges[1:]), None]
    return [f"{name}=={version}{_marker(*ends)}" for (version, _), ends in zip(ranges, pairwise(starts), strict=True)]


def _marker(start: Python | None, end: Python | None) -> str:
    limits = [f'python_version {sign} "{each[0]}.{each[1]}"' for sign, each in ((">=", start), ("<", end)) if each]
    return f" ; {' and '.join(limits)}" if limits else ""


def newest(python: str) -> tuple[Python, dict[str, str]]:
    """What this interpreter gets when nothing is constrained."""
    with tempfile.TemporaryDirectory() as folder:
        _run(python, "-m", "venv", folder)
        pip = [f"{folder}/bin/python", "-m", "pip"]
        _run(*pip, "install", "--quiet", "--upgrade", "pip")
        _run(*pip, "install", "--quiet", ".[devstack]", *(part for group in GROUPS for part in ("--group", group)))
        installed = json.loads(_run(*pip, "list", "--format=json"))
        major, minor = _run(python, "-c", "import sys; print(*sys.version_info[:2])").split()
    return (int(major), int(minor)), {each["name"].lower(): each["version"] for each in installed}


def _run(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT).stdout


if __name__ == "__main__":
    FILE.write_text(render(dict(map(newest, sys.argv[1:]))), encoding="utf-8")
