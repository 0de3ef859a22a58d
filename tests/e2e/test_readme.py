"""The README's example for Python programs runs as it is written."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.stack import Stack

README = Path(__file__).resolve().parents[2] / "README.md"
PORT = "1234"


def test_the_python_example_runs(running: Stack, tmp_path: Path) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert program.count(PORT) == 1, "the port is all that differs here"
    done = subprocess.run(
        [sys.executable, "-c", program.replace(PORT, str(running.api_port))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(README.parent)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Completed\nHello\n\n"
    (folder,) = tmp_path.glob("job-*")
    assert (folder / "exitCode").read_text() == "0"
