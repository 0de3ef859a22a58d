"""A Python environment with the client that was generated from Bacalhau's API description, and nothing of ours."""

import fcntl
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parents[1] / ".venv-bacalhau"
CLIENT = "bacalhau-apiclient==1.4.1"
UNDECLARED = ("certifi", "python-dateutil", "six", "urllib3")
"""What the client imports and its package does not ask for."""


def bacalhau_python() -> Path:
    """The environment's interpreter; made once in the checkout."""
    python, stamp = HOME / "bin" / "python", HOME / ".installed"
    HOME.mkdir(exist_ok=True)
    with (HOME / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != CLIENT:
            _run(sys.executable, "-m", "venv", "--clear", str(HOME))
            _run(str(python), "-m", "pip", "install", "--quiet", CLIENT, *UNDECLARED)
            stamp.write_text(CLIENT)
    return python


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
