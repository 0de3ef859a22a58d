"""The page in a real browser: a stack and a Chromium for each module, a fresh profile for each test."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.conftest import ended
from tests.e2e.page.browser import Watch, chromium_at, page_in
from tests.e2e.stack import Stack
from tests.outside_engines import NOTHING, write_package
from tests.programs import require_program
from tests.servers import S3Server

OUTSIDE = "of-somebody"
"""An engine that the node has from outside."""


@pytest.fixture(scope="session")
def chromium() -> str:
    """Without the windows, which nobody sees and which cost more than the pages, where Debian's package has that."""
    return require_program("chromium-headless-shell", "chromium")


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with chromium_at(chromium) as browser:
        yield browser


@pytest.fixture(scope="module")
def site(chromium: str, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An orchestrator that lets everybody in, with one node."""
    made = Stack(tmp_path_factory.mktemp("site"), s3_server)
    made.shown = tmp_path_factory.getbasetemp()
    made.start_orchestrator()
    packages = tmp_path_factory.mktemp("packages")
    write_package(packages, "of_somebody", NOTHING, OUTSIDE)
    made.start_compute("node-a", variables={"PYTHONPATH": str(packages)})
    yield made
    ended(made)


@pytest.fixture
def looking(browser: Browser, site: Stack) -> Iterator[tuple[Page, Watch]]:
    with page_in(browser, site.api_url, {site.api_url, site.s3.endpoint}) as found:
        yield found


@pytest.fixture
def page(looking: tuple[Page, Watch]) -> Page:
    """Fails the test at its end for errors, for what the policy stopped, and for requests to anybody else."""
    return looking[0]


@pytest.fixture
def watch(looking: tuple[Page, Watch]) -> Watch:
    """What has been seen beside the page; `watch.expect(PATTERN)` for what a test brings about."""
    return looking[1]
