"""Engines from outside as nodes find them: the example, really installed, and broken ones (no tests in here)."""

import subprocess
import sys
from pathlib import Path

from tests.environments import CONSTRAINTS, ROOT

EXAMPLE = ROOT / "examples" / "rootfs"
NOTHING = """
from contextlib import contextmanager
from compute.engines.noop import NoopEngine
from compute.engines.plugin import EnginePlugin
closed = []

@contextmanager
def open_engine(host):
    assert host.folder.is_dir()
    engine = NoopEngine()
    engine.settings = dict(host.settings)
    try:
        yield engine
    finally:
        closed.append(host.folder.name)

PLUGIN = EnginePlugin(protocol=1, open=open_engine)
"""
"""The code of one that does nothing."""


def install_example(folder: Path) -> None:
    """Its wheel, built and unpacked into a folder for PYTHONPATH, as a node's environment has it."""
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    done = subprocess.run(
        [*command, "--build-constraint", str(CONSTRAINTS), str(EXAMPLE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def write_package(folder: Path, name: str, code: str, *engines: str) -> None:
    """What is left of an installed package that provides `engines`: a module, and what tells of its entry points."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(code)
    told = folder / f"{name}-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    points = "".join(f"{engine} = {name}:PLUGIN\n" for engine in engines)
    (told / "entry_points.txt").write_text(f"[tarpon.engines]\n{points}")
