"""A class is found by its name alone, in a search as in a traceback."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("shared", "orchestrator", "compute", "tarpon")


def test_no_two_public_classes_have_the_same_name() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            for each in ast.parse(file.read_text(encoding="utf-8")).body:
                if isinstance(each, ast.ClassDef) and not each.name.startswith("_"):
                    found[each.name].append(f"{file.relative_to(ROOT)}:{each.lineno}")
    assert found
    assert {name: places for name, places in found.items() if len(places) > 1} == {}
