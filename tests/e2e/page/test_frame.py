"""The frame of the page: what opens first, and who can use it."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.page.accessibility import assert_usable_by_all
from tests.e2e.page.browser import Watch

VIEWS = {
    "Jobs": "#/jobs",
    "Submit": "#/submit",
    "Nodes": "#/nodes",
    "Cluster": "#/cluster",
    "Access": "#/access",
    "API": "#/api",
}


def test_who_needs_no_key_sees_the_jobs_at_once(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")


@pytest.mark.parametrize("view", VIEWS)
def test_everybody_can_use_a_view(page: Page, view: str) -> None:
    page.goto(f"/{VIEWS[view]}")
    expect(page.get_by_role("link", name=view, exact=True)).to_have_attribute("aria-current", "page")
    assert_usable_by_all(page)


def test_what_a_page_may_not_do_is_seen(page: Page, watch: Watch) -> None:
    page.goto("/")
    with page.expect_console_message(lambda message: message.text.startswith("policy: img-src")):
        page.evaluate("new Image().src = 'http://tarpon.invalid/policy.png'")
    with page.context.expect_event("weberror"):
        page.evaluate("setTimeout(() => { throw new Error('of a script') })")
    page.goto("about:blank")
    with page.expect_request("**/left.png"):
        page.evaluate("new Image().src = 'http://127.0.0.1:9/left.png'")
    seen = "\n".join(watch.problems)
    assert "policy: img-src" in seen
    assert "of a script" in seen
    assert "a request left: GET http://127.0.0.1:9/left.png" in seen
    watch.expect("")  # all of it was meant
