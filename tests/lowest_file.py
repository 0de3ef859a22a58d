"""How the constraints are made with which the lowest releases are installed that pyproject.toml allows.

What is not named there gets the newest that fits. `make lowest` runs it, with nothing but the standard library.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?(?:[>=]=(?P<version>[\w.]+))?")


def render(project: Mapping[str, Any]) -> str:
    return "".join(f"{name}=={floor}\n" for name, floor in sorted(set(floors_of(project))))


def floors_of(project: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Of everything that anybody installs: the project with all its extras, its groups, and what builds it."""
    extras = project["project"].get("optional-dependencies", {}).values()
    groups = project.get("dependency-groups", {}).values()
    lists = (project["build-system"]["requires"], project["project"]["dependencies"], *extras, *groups)
    for requirement in (each for named in lists for each in named if isinstance(each, str)):
        found = _REQUIREMENT.match(requirement)
        if found and found["version"]:
            yield normal(found["name"]), found["version"]


def normal(name: str) -> str:
    """As the indexes compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    sys.stdout.write(render(project))
