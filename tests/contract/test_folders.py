"""A folder of the product is small enough to be read at a glance."""

from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("shared", "orchestrator", "compute", "tarpon")
MOST_MODULES = 20
MOST_IN_THE_MIDDLE = 8


def modules(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.py") if path.stem != "__init__"]


FOLDERS = sorted({path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_has_no_more_modules_than_can_be_read_at_a_glance(folder: Path) -> None:
    assert len(modules(folder)) <= MOST_MODULES


def test_most_folders_have_few_modules() -> None:
    assert median(len(modules(folder)) for folder in FOLDERS) <= MOST_IN_THE_MIDDLE
