"""How a release is made and tried: built, checked by twine, and installed with each Python that has to run it.

`make release` runs it, in an environment with the group `release`. Nothing is uploaded.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
CONSTRAINTS = ROOT / "constraints.txt"
REQUIRED = ("3.11", "3.12", "3.13")
WHERE_FOUND = ("3.14",)
EXTRA = "orchestrator"
IMPORTED = (
    "shared, shared.errors, tarpon, tarpon.client, tarpon.errors, tarpon.results, compute, compute.service,"
    " orchestrator, orchestrator.service"
)


def main(versions: Sequence[str]) -> None:
    """Try what is built with these Pythons, which have to be here, or with all."""
    pythons = found(versions or (*REQUIRED, *WHERE_FOUND))
    if told := lacking(versions or REQUIRED, pythons):
        sys.exit(told)
    files = build()
    run(sys.executable, "-m", "twine", "check", "--strict", *map(str, files))
    for version in (*REQUIRED, *WHERE_FOUND):
        if version not in pythons:
            say(f"Python {version}: skipped, {'not here' if version in (versions or WHERE_FOUND) else 'not asked for'}")
    for version, python in pythons.items():
        for file in files:
            say(f"Python {version}: {file.name} in an environment of its own")
            attempt(python, file)
    say(f"Tried with Python {', '.join(pythons)}: {', '.join(file.name for file in files)} in {DIST}")


def found(versions: Iterable[str]) -> dict[str, str]:
    """The interpreter of each of these versions that is here."""
    listed = {version: run(str(ROOT / ".ci" / "pythons"), version, quiet=True).strip() for version in versions}
    return {version: python for version, python in listed.items() if python}


def lacking(versions: Iterable[str], pythons: Iterable[str]) -> str:
    """What to tell where a Python is needed that is not here."""
    absent = sorted(set(versions) - set(pythons))
    if not absent:
        return ""
    return (
        f"Python {', '.join(absent)} is not here, and a release has to be tried with it. Put it on the PATH, or where"
        ' pyenv or uv keep theirs, or try those that are here: make release PYTHONS="3.11".'
    )


def build() -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it; nothing of earlier ones stays."""
    for old in (*DIST.glob("*.whl"), *DIST.glob("*.tar.gz")):
        old.unlink()
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST), str(ROOT))
    (sdist,), (wheel,) = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    return sdist, wheel


def attempt(python: str, file: Path) -> None:
    """Install the file with this interpreter, with nothing of the checkout beside it, and use it."""
    with tempfile.TemporaryDirectory() as folder:
        run(python, "-m", "venv", "--without-pip", f"{folder}/venv")
        pip = [sys.executable, "-m", "pip", "--python", f"{folder}/venv/bin/python"]
        constraints = ["--constraint", str(CONSTRAINTS), "--build-constraint", str(CONSTRAINTS)]
        run(*pip, "install", "--quiet", *constraints, f"{file}[{EXTRA}]")
        run(*pip, "check")
        run(f"{folder}/venv/bin/tarpon", "version", "--client", folder=folder)
        run(f"{folder}/venv/bin/python", "-c", f"import {IMPORTED}", folder=folder)


def run(*command: str, folder: str | Path = ROOT, quiet: bool = False) -> str:
    """What the command writes. Ends this program, with all of it, where the command fails."""
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{' '.join(command)} ended with {done.returncode}.")
    if not quiet:
        say(done.stdout.strip())
    return done.stdout


def say(text: str) -> None:
    if text:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
