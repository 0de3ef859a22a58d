"""Python environments beside the tests' own, for programs that must not see what is installed here (no tests)."""

import fcntl
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"


class Environment:
    """Kept in the checkout from run to run; each environment in which tests run has its own."""

    def __init__(self, name: str) -> None:
        ours = Path(sys.prefix).name.removeprefix(".venv").lstrip(".-")
        self.home = ROOT / "-".join([".venv", name, *([ours] if ours else [])])
        self.python = self.home / "bin" / "python"
        self.stamp = self.home / ".installed"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Against other processes that want it too; who wants another one does not wait for minutes."""
        with self.home.with_name(f"{self.home.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @property
    def made_of(self) -> str:
        """What `is_made` was told; nothing while it is not whole."""
        return self.stamp.read_text() if self.stamp.exists() else ""

    def make(self) -> None:
        """Anew, with nothing in it."""
        _run(sys.executable, "-m", "venv", "--clear", "--without-pip", str(self.home))

    def pip(self, *arguments: str) -> None:
        """The tests' own pip, at work in there."""
        _run(sys.executable, "-m", "pip", "--python", str(self.python), *arguments)

    def is_made(self, what: str) -> None:
        self.stamp.write_text(what)

    def made_beside_ours(self, *packages: str) -> Path:
        """Its interpreter, which finds these packages, then what the tests have, then the checkout; made once."""
        wanted = " ".join(packages) + CONSTRAINTS.read_text(encoding="utf-8")
        with self.locked():
            if self.made_of != wanted:
                self.make()
                _run(
                    *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(self.python)),
                    *("--constraint", str(CONSTRAINTS), *packages),
                )
                (site,) = self.home.glob("lib/python*/site-packages")
                (site / "ours.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
                self.is_made(wanted)
        return self.python


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
