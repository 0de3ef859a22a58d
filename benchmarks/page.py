"""What the page costs: `python -m benchmarks.page [--jobs 10000] [--parts 10000] [--nodes 1000] [--pages 50] [--json]`.

Real processes on loopback and a real Chromium: ended jobs, of which one has many parts, and simulated nodes. For each
view: how long until it shows what it is about, in milliseconds from the navigation in a fresh browser context; and how
long scripts run for each look at the API after that. Then what share of a core the orchestrator takes while nobody
looks, while one page of jobs is open, and while many are.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.control_plane import job_of
from benchmarks.rig import Rig, rig
from benchmarks.running import end_on_sigterm, tell, warn_of_load

WATCHED_SECONDS = 10.0
SHARE_SECONDS = 20.0
RUNS = 5
CHROMIUM = "/usr/bin/chromium"
SHOWN = {
    "jobs": "main table tbody tr",
    "parts": "main canvas",
    "nodes": "main table tbody tr",
    "cluster": "main .uplot",
}
"""What a view is about, by a selector."""


def main() -> None:
    end_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--parts", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    warn_of_load()
    print(json.dumps(measure(wanted), indent=None if wanted.json else 2))


def measure(wanted: argparse.Namespace) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory() as folder,
        rig(Path(folder), sink="discard", sync="default", most_jobs=10**9) as made,
    ):
        made.start_orchestrator()
        made.store_jobs(wanted.jobs, job_of("process"))
        made.simulate_nodes(wanted.nodes)
        tell(f"{wanted.jobs} jobs and {wanted.nodes} nodes are there")
        many = made.stack.submit(job_of("noop") | {"Name": "many", "Count": wanted.parts})
        made.stack.wait_ended(many, within=600)
        tell(f"a job of {wanted.parts} parts has ended")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            return _looked_at(browser, made, many, wanted.pages)


def _looked_at(browser: Browser, made: Rig, many: str, pages: int) -> dict[str, Any]:
    places = {"jobs": "#/jobs", "parts": f"#/jobs/{many}?tab=parts", "nodes": "#/nodes", "cluster": "#/cluster"}
    try:
        views = {name: _view(browser, made, name, place) for name, place in places.items()}
        return {"views": views, "orchestrator_percent": _shares(browser, made, pages)}
    finally:
        browser.close()


def _view(browser: Browser, made: Rig, name: str, place: str) -> dict[str, float]:
    first = [_first_view(browser, made, name, place) for _ in range(RUNS)]
    page = browser.new_context().new_page()
    try:
        _go(page, made, name, place)
        page.wait_for_timeout(3000)
        script_ms, looks = _scripted(page)
    finally:
        page.context.close()
    found = {
        "first_view_ms": round(statistics.median(first)),
        "slowest_ms": round(max(first)),
        "script_ms_per_look": round(script_ms / looks, 1),
        "looks": looks,
    }
    tell(f"{name}: {found}")
    return found


def _first_view(browser: Browser, made: Rig, name: str, place: str) -> float:
    page = browser.new_context().new_page()
    try:
        return _go(page, made, name, place)
    finally:
        page.context.close()


def _go(page: Page, made: Rig, name: str, place: str) -> float:
    """By the browser's own clock, from the navigation until the view is in the page."""
    page.goto(f"{made.stack.api_url}/{place}", wait_until="commit")
    page.wait_for_selector(SHOWN[name], timeout=60_000)
    elapsed: float = page.evaluate("performance.now()")
    return elapsed


def _scripted(page: Page) -> tuple[float, int]:
    """How long scripts, styles and layout have run, and how often the API was asked meanwhile."""
    looks: list[str] = []
    page.on("request", lambda request: looks.append(request.url) if "/api/" in request.url else None)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def spent() -> float:
        metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        return 1000 * float(metrics["ScriptDuration"] + metrics["LayoutDuration"] + metrics["RecalcStyleDuration"])

    before = spent()
    page.wait_for_timeout(1000 * WATCHED_SECONDS)
    return spent() - before, max(1, len(looks))


def _shares(browser: Browser, made: Rig, pages: int) -> dict[str, float]:
    found = {"0": _share(made)}
    contexts = [browser.new_context()]
    _go(contexts[0].new_page(), made, "jobs", "#/jobs")
    found["1"] = _share(made)
    for _ in range(pages - 1):
        contexts.append(browser.new_context())
        _go(contexts[-1].new_page(), made, "jobs", "#/jobs")
    found[str(pages)] = _share(made)
    for context in contexts:
        context.close()
    return found


def _share(made: Rig) -> float:
    time.sleep(2)
    meter = made.meter()
    time.sleep(SHARE_SECONDS)
    return round(100 * meter.seconds()["orchestrator"] / SHARE_SECONDS, 1)


if __name__ == "__main__":
    main()
