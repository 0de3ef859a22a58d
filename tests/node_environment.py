"""A Python environment as a compute node has it: Tarpon from its built wheel, without extras, so without boto."""

import fcntl
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".venv-node"
PACKAGES = ("shared", "orchestrator", "compute", "tarpon")


def node_python() -> Path:
    """The environment's interpreter; made once in the checkout, and given a new wheel when a source has changed."""
    python, stamp = HOME / "bin" / "python", HOME / ".installed"
    HOME.mkdir(exist_ok=True)
    with (HOME / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists():
            _run(sys.executable, "-m", "venv", str(HOME))
        if not stamp.exists() or stamp.stat().st_mtime < _newest_source():
            _install(python)
            stamp.touch()
    return python


def _newest_source() -> float:
    sources = [ROOT / "pyproject.toml", *(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))]
    return max(path.stat().st_mtime for path in sources)


def _install(python: Path) -> None:
    wheels = HOME / "wheels"
    for old in wheels.glob("*.whl"):
        old.unlink()
    _run(str(python), "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(ROOT))
    (wheel,) = wheels.glob("*.whl")
    _run(str(python), "-m", "pip", "install", "--quiet", str(wheel))
    _run(str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", str(wheel))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
