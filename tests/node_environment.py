"""A Python environment as a compute node has it: Tarpon from its built wheel, without extras, so without boto."""

from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from tests.environments import CONSTRAINTS, ROOT, Environment

WHEELS = "wheels"
PACKAGES = ("shared", "orchestrator", "compute", "tarpon")
NODE = Environment("node")


@cache
def node_python() -> Path:
    """The environment's interpreter; made once in the checkout, and given a new wheel when a source has changed.

    Dependencies have the versions that they have where the tests run.
    """
    versions = our_versions()
    with NODE.locked():
        if NODE.made_of != versions:
            NODE.make()
            (NODE.home / "versions.txt").write_text(versions)
            _install()
            NODE.is_made(versions)
        elif NODE.stamp.stat().st_mtime < newest_source():
            _install()
            NODE.stamp.touch()
    return NODE.python


def our_versions() -> str:
    found = {each.name: each.version for each in distributions()}
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()) if name != "tarpon-jobs")


def newest_source() -> float:
    sources = [ROOT / "pyproject.toml", ROOT / "hatch_build.py"]
    sources += [path for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    return max(path.stat().st_mtime for path in sources)


def _install() -> None:
    wheels = NODE.home / WHEELS
    for old in wheels.glob("*.whl"):
        old.unlink()
    building = ("--no-deps", "--build-constraint", str(CONSTRAINTS))
    NODE.pip("wheel", "--quiet", *building, "--wheel-dir", str(wheels), str(ROOT))
    (wheel,) = wheels.glob("*.whl")
    NODE.pip("install", "--quiet", "--constraint", str(NODE.home / "versions.txt"), str(wheel))
    NODE.pip("install", "--quiet", "--no-deps", "--force-reinstall", str(wheel))
