"""Signing in at the page where a key is asked for, and out again."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import ended
from tests.e2e.page.accessibility import assert_usable_by_all
from tests.e2e.page.browser import Watch
from tests.e2e.stack import Stack, process_job
from tests.servers import S3Server


@pytest.fixture(scope="module")
def site(chromium: str, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An orchestrator that asks for a key, with one node."""
    assert chromium
    made = Stack(tmp_path_factory.mktemp("asking"), s3_server)
    made.shown = tmp_path_factory.getbasetemp()
    made.start_asking_orchestrator()
    made.start_compute("node-a")
    yield made
    ended(made)


def test_who_has_a_key_signs_in_changes_something_and_signs_out(page: Page, watch: Watch, site: Stack) -> None:
    watch.expect("status of 401")
    job = site.submit(process_job("sleep 60"))
    page.goto(f"/#/jobs/{job}")
    key = page.get_by_label("Key")
    assert_usable_by_all(page)
    key.fill("tk1_nonsense")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("is not taken")
    key.fill(site.key)
    key.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(job[:6])
    assert site.key not in page.content()
    page.get_by_role("button", name="Stop").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    site.wait_state(job, "Stopped")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Key")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Key")).to_be_visible()
    assert page.context.cookies() == []


def test_a_link_opens_a_job_once(page: Page, watch: Watch, site: Stack) -> None:
    watch.expect("status of 401")
    job = site.submit(process_job("true"))
    link = site.cli("job", "open", job, "--print").stdout.strip()
    page.goto(link)
    expect(page.get_by_role("heading", level=1)).to_contain_text(job[:6])
    assert page.url == f"{site.api_url}/#/jobs/{job}", "the code is gone from the address"
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.context.clear_cookies()
    page.goto("about:blank")
    page.goto(link)
    expect(page.get_by_role("alert")).to_contain_text("the link was used before")
