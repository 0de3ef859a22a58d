"""Every view of the page with something in it: its picture for the documents, and what anybody needs to use it.

`make pictures` writes the pictures into docs/pictures. TESTS_PICTURES=FOLDER writes them there, in each size and theme.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import ended
from tests.e2e.page.accessibility import THEMES, assert_usable_by_all
from tests.e2e.page.gallery import Gallery
from tests.e2e.stack import Stack
from tests.servers import S3Server

VIEWS = (
    "jobs", "job", "history", "log", "results", "submit", "nodes", "node", "cluster", "access", "api", "sign-in",
)  # fmt: skip
TALL = {"job", "results"}
WIDTHS = (400, 1600, 1000)
"""The last one is that of the documents' pictures."""
NO_SCROLLING = "width => innerWidth === width && document.documentElement.scrollWidth <= width"
"""Once what is drawn has got its new size."""
MOST_BYTES = 150_000
PICTURES = Path(__file__).parents[3] / "docs" / "pictures"
IS_WRITING = bool(os.environ.get("TESTS_WRITE_PICTURES"))
EVERYWHERE = os.environ.get("TESTS_PICTURES", "")


@pytest.fixture(scope="module")
def site(chromium: str, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("gallery"), s3_server)
    made.start_orchestrator()
    yield made
    ended(made)


@pytest.fixture(scope="module")
def gallery(site: Stack) -> Gallery:
    return Gallery(site)


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_fits_each_width_and_can_be_used_by_all(page: Page, gallery: Gallery, tmp_path: Path, view: str) -> None:
    address, text = gallery.views()[view]
    page.goto(address)
    expect(page.get_by_text(text).first).to_be_visible()
    expect(page.locator(".loading")).to_have_count(0)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 1100 if view in TALL else 700})
        page.wait_for_function(NO_SCROLLING, arg=width)
        for theme in THEMES if EVERYWHERE else ():
            page.emulate_media(color_scheme=theme)
            page.screenshot(path=Path(EVERYWHERE) / f"{view}-{width}-{theme}.png", animations="disabled")
    assert_usable_by_all(page)
    page.emulate_media(color_scheme="light")
    picture = (PICTURES if IS_WRITING else tmp_path) / f"{view}.png"
    page.screenshot(path=picture, animations="disabled")
    assert picture.stat().st_size < MOST_BYTES
    assert (PICTURES / picture.name).exists(), "`make pictures` makes it"
