"""A browser that looks at the page, and what it must never see while it does (no tests in here)."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

WAIT_MILLISECONDS = 20_000
"""For what is to be seen; the machine may be busy."""
_OWN_SCHEMES = {"blob", "data"}
"""Of what the page makes itself: nothing leaves the browser."""
_TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`), true)
"""


class Watch:
    """Everything in a context that no page of ours may do: `problems`, a line each.

    Errors of the console and of scripts, what the page's policy had to stop, and requests to anybody but `origins`.
    """

    def __init__(self, context: BrowserContext, origins: set[str]) -> None:
        self.problems: list[str] = []
        self.requests: list[Request] = []
        self._origins = origins
        self._expected: list[re.Pattern[str]] = []
        context.add_init_script(_TELL_VIOLATIONS)
        context.on("console", self._hear)
        context.on("weberror", lambda error: self._add(f"a script failed: {error.error}"))
        context.on("request", self._see)

    def expect(self, pattern: str) -> None:
        """From now on this is no problem: the browser itself writes a line for every answer such as 404."""
        self._expected.append(re.compile(pattern))

    def check(self) -> None:
        found = [each for each in self.problems if not any(known.search(each) for known in self._expected)]
        assert not found, "\n".join(found)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning", "assert"}:
            self._add(f"the console has: {message.text} ({message.location.get('url', '')})")

    def _see(self, request: Request) -> None:
        self.requests.append(request)
        parts = urlsplit(request.url)
        if parts.scheme not in _OWN_SCHEMES and f"{parts.scheme}://{parts.netloc}" not in self._origins:
            self._add(f"a request left: {request.method} {request.url[:200]}")

    def _add(self, problem: str) -> None:
        self.problems.append(problem)


@contextmanager
def chromium_at(program: str) -> Iterator[Browser]:
    """A headless Chromium, in half a second. While it is there, no test of this process may be async."""
    expect.set_options(timeout=WAIT_MILLISECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, chromium_sandbox=os.geteuid() != 0)
        yield browser
        browser.close()


@contextmanager
def page_in(
    browser: Browser, url: str, origins: set[str], *, width: int = 1000, height: int = 800
) -> Iterator[tuple[Page, Watch]]:
    """A page of a fresh profile, which has opened nothing yet; at its end, what was watched is checked."""
    context = browser.new_context(
        base_url=url,
        viewport={"width": width, "height": height},
        locale="en-GB",
        timezone_id="UTC",
        reduced_motion="reduce",
        service_workers="block",
    )
    context.set_default_timeout(WAIT_MILLISECONDS)
    watch = Watch(context, origins)
    try:
        yield context.new_page(), watch
        watch.check()
    finally:
        context.close()
