"""The frame of the page: what opens first, and that the tests see what goes wrong."""

from playwright.sync_api import Page, expect

from tests.e2e.page.browser import Watch


def test_who_needs_no_key_sees_the_jobs_at_once(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")


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
