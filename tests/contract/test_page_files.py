"""The files of the page: libraries are those that are told of, and nothing leads to another host."""

import hashlib
import re
from pathlib import Path

import pytest

from orchestrator.api.page.files import TYPES, page_files
from tests.documents import ROOT

STATIC = ROOT / "orchestrator" / "api" / "page" / "static"
VENDOR = STATIC / "vendor"
README = (VENDOR / "README.md").read_text()
NAMESPACES = frozenset(
    f"http://www.w3.org/{name}" for name in ("2000/svg", "1998/Math/MathML", "1999/xhtml", "1999/xlink")
)
"""Names of kinds of elements, which nobody asks for anything."""
LEADS_AWAY = re.compile(r"""(?:https?|wss?|ftp):/{1,2}\w[\w.-]*[^\s"'`)]*|["'`(=]\s*//[\w.-]+\.[a-z]+""")


def libraries() -> list[str]:
    return sorted(path.name for path in VENDOR.iterdir() if path.suffix in {".js", ".css"})


def test_each_library_is_the_one_that_is_told_of_with_its_release_and_licence() -> None:
    told = dict(re.findall(r"^([0-9a-f]{64})  (\S+)$", README, re.MULTILINE))
    found = {hashlib.sha256((VENDOR / name).read_bytes()).hexdigest(): name for name in libraries()}
    assert found == told
    licences = (VENDOR / "LICENSES.txt").read_text().lower()
    for name, about in re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", README, re.MULTILINE)[1:]:
        if name.strip("-"):
            for package in re.findall(r"([a-z][a-z-]+) \d+\.\d+\.\d+", about):
                assert package in licences, package


@pytest.mark.parametrize("path", sorted(page_files()))
def test_no_file_of_the_page_leads_to_another_host(path: str) -> None:
    if path.endswith(".txt"):  # licences name their authors' pages, and nothing follows them
        return
    assert set(LEADS_AWAY.findall(page_files()[path].content.decode())) <= NAMESPACES


def test_a_file_that_leads_to_another_host_would_be_found() -> None:
    for text in ('import "https://cdn.example/x.js"', "url(//cdn.example/x.css)", 'src="//cdn.example"'):
        assert LEADS_AWAY.search(text)


def test_every_file_of_the_page_is_served() -> None:
    files = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file()}
    assert {path for path in files if f".{path.rpartition('.')[2]}" in TYPES} == set(page_files())
    assert {path for path in files if path.count("/") > 1} == set(), "two levels are served"


IMPORTED = re.compile(r"""(?:from|import)\s*\(?\s*"(\.[^"]+\.js)\"""")
OURS = [path for path in STATIC.rglob("*.js") if path.parent.name != "vendor"]


def test_each_module_is_imported_by_one_that_is_there() -> None:
    imported = {
        (path.parent / found).resolve() for path in OURS for found in IMPORTED.findall(path.read_text(encoding="utf-8"))
    }
    assert not [path for path in imported if not path.is_file()]
    assert set(OURS) - imported == {STATIC / "main.js"}


@pytest.mark.parametrize("folder", sorted({path.parent for path in OURS}), ids=lambda folder: folder.name)
def test_a_folder_of_the_page_has_no_more_modules_than_can_be_read_at_a_glance(folder: Path) -> None:
    assert len(list(folder.glob("*.js"))) <= 20
