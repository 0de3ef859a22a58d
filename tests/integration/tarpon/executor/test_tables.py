"""Arrays and tables that a node makes up are refused before they cost memory, and those of honest nodes come back."""

import subprocess
from pathlib import Path

from tests.tables_environment import tables_python

ROOT = Path(__file__).resolve().parents[4]
CASES = Path(__file__).with_name("tables_cases.py")


def test_arrays_and_tables_are_as_large_as_their_bytes() -> None:
    """In an environment that has numpy, pyarrow and pandas, with little memory."""
    command = ["sh", "-c", 'ulimit -v 4000000; exec "$0" "$1"', str(tables_python()), str(CASES)]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout) == (0, "all held\n"), done.stderr
