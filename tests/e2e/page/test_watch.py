"""What the other tests of the page rest on: that they see what a page may not do."""

from playwright.sync_api import Browser, Route

from orchestrator.api.page.policy import headers_of_page
from tests.e2e.page.browser import page_in

ORIGIN = "http://page.test"


def test_what_a_page_may_not_do_is_seen(browser: Browser) -> None:
    def serve(route: Route) -> None:
        route.fulfill(body="<!doctype html>", content_type="text/html", headers=dict(headers_of_page([])))

    with page_in(browser, ORIGIN, {ORIGIN}) as (page, watch):
        page.route(f"{ORIGIN}/**", serve)
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
