"""Jobs on the page: found, watched to their end, stopped, and harmless whatever they are called and write."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.e2e.page.accessibility import assert_usable_by_all
from tests.e2e.page.browser import Watch
from tests.e2e.stack import Stack, process_job

HOSTILE = "<img src=x onerror=alert(1)>"
REVERSED = "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe"


def until(path: Path) -> str:
    return f"while [ ! -e {path} ]; do sleep 0.05; done"


def test_a_job_is_watched_to_its_end(page: Page, site: Stack, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    site.submit({"Name": "watched", **process_job(f"echo first; {until(go_on)}; echo last")})
    page.goto("/#/jobs?name=watched")
    page.get_by_role("link", name="watched").click()
    expect(page).to_have_title("watched · Tarpon")
    page.get_by_role("navigation", name="Job").get_by_role("link", name="Log").click()
    expect(page.get_by_role("log")).to_contain_text("first")
    expect(page.locator(".head [data-state]").first).to_contain_text("Running")
    go_on.touch()
    expect(page.get_by_role("log")).to_contain_text("last")
    expect(page.locator(".head [data-state]").first).to_contain_text("Completed")
    page.get_by_role("navigation", name="Job").get_by_role("link", name="History").click()
    expect(page.get_by_text("The job has ended: this is all.")).to_be_visible()
    expect(page.get_by_text("Result published and verified")).to_have_count(1)
    assert_usable_by_all(page)


def test_a_log_and_a_history_go_on_where_they_were_when_the_orchestrator_comes_back(
    page: Page, site: Stack, watch: Watch, tmp_path: Path
) -> None:
    """Each line once. A browser writes a line of its own for each request that nobody answers."""
    watch.expect("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|WebSocket connection to|status of 50[234]")
    go_on = tmp_path / "go-on"
    job = site.submit({"Name": "cut-off", **process_job(f"echo one; echo two; {until(go_on)}; echo three")})
    page.goto(f"/#/jobs/{job}?tab=log")
    expect(page.locator(".log-line")).to_have_text(["one", "two"])
    history = page.context.new_page()
    history.goto(f"/#/jobs/{job}?tab=history")
    expect(history.get_by_text("Running on node node-a")).to_be_visible()
    assert site.orchestrator is not None
    site.orchestrator.kill()
    expect(page.get_by_text("The connection is lost; it goes on where it was.")).to_be_visible()
    site.orchestrator.start()
    site.wait_ready()
    go_on.touch()
    expect(page.locator(".log-line")).to_have_text(["one", "two", "three"])
    expect(history.get_by_text("The job has ended: this is all.")).to_be_visible()
    expect(history.get_by_text("Running on node node-a")).to_have_count(1)


def test_a_job_is_stopped_after_a_confirmation(page: Page, site: Stack, tmp_path: Path) -> None:
    job = site.submit({"Name": "stopped-here", **process_job(until(tmp_path / "never"))})
    page.goto(f"/#/jobs/{job}")
    page.get_by_role("button", name="Stop …").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Stop …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Why").fill("it's enough")
    expect(dialog).to_contain_text(f"tarpon job stop {job} --reason 'it'\\''s enough'")
    assert_usable_by_all(page)
    dialog.get_by_role("button", name="Stop the job").click()
    expect(page.locator(".head [data-state]").first).to_contain_text("Stopped")
    expect(page.get_by_text("it's enough").first).to_be_visible()


def test_the_filters_of_a_list_are_in_its_address(page: Page, site: Stack) -> None:
    for name, team, code in (("filtered-a", "x", 0), ("filtered-b", "x", 1), ("filtered-c", "y", 0)):
        ended = site.submit(
            {"Name": name, "Labels": {"team": team}, **process_job(f"exit {code}", FailOnExitCode=True)}
        )
        site.wait_ended(ended)
    page.goto("/#/jobs")
    page.get_by_label("Name", exact=True).fill("filtered")
    names = page.locator("table.jobs .name")
    expect(names).to_have_text(["filtered-c", "filtered-b", "filtered-a"])
    page.get_by_role("button", name="team=x").first.click()
    expect(names).to_have_text(["filtered-b", "filtered-a"])
    page.get_by_role("button", name="Failed").click()
    expect(names).to_have_text(["filtered-b"])
    expect(page).to_have_url(re.compile("state=Failed"))
    assert_usable_by_all(page)
    shared = page.url
    page.goto("/#/submit")
    page.goto(shared)
    expect(names).to_have_text(["filtered-b"])
    expect(page.get_by_label("Name", exact=True)).to_have_value("filtered")


def test_words_are_found_in_a_log(page: Page, site: Stack) -> None:
    script = "for i in $(seq 400); do echo line $i; done; echo a needle >&2"
    job = site.submit({"Name": "searched", **process_job(script)})
    site.wait_ended(job)
    page.goto(f"/#/jobs/{job}?tab=log")
    log = page.get_by_role("log")
    expect(log).to_contain_text("a needle")  # at its end, which is followed
    page.get_by_label("Find in the log").fill("LINE 12")
    expect(page.get_by_text("11 lines")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 of 11 lines")).to_be_visible()
    expect(log.locator(".current")).to_have_text("line 12")
    page.get_by_role("button", name="Previous").click()
    expect(log.locator(".current")).to_have_text("line 129")
    expect(page.get_by_label("Follow")).not_to_be_checked()
    page.get_by_label("Show").select_option("stderr")
    expect(log).to_have_text("Ea needle")


def test_a_part_is_chosen_by_keys_and_shows_how_its_time_went_by(page: Page, site: Stack) -> None:
    job = site.submit({"Name": "of-parts", "Count": 3, **process_job("exit $TARPON_PARTITION_INDEX")})
    site.wait_ended(job)
    page.goto(f"/#/jobs/{job}")
    expect(page.get_by_role("group", name="Parts by state")).to_contain_text("Completed 3")
    page.get_by_role("application").focus()
    page.keyboard.press("End")
    expect(page.get_by_text("Part 2: Completed")).to_be_visible()
    page.keyboard.press("Enter")
    attempts = page.get_by_role("region", name="Part 2: Completed")
    for phase in ("queue", "start", "run", "archive", "upload"):
        expect(attempts.locator(".timeline li", has_text=phase)).to_be_visible()
    expect(attempts.locator("dt:text('Exit code') + dd")).to_have_text("2")
    expect(attempts).to_contain_text("node-a")
    assert_usable_by_all(page)


def test_an_ops_job_has_a_part_for_each_node_which_it_names(page: Page, site: Stack) -> None:
    job = site.submit({**process_job("echo on $TARPON_NODE_ID"), "Name": "everywhere", "Type": "ops"})
    site.wait_ended(job)
    page.goto(f"/#/jobs/{job}")
    expect(page.locator("dt:text('Parts') + dd")).to_have_text("1")
    expect(page.get_by_role("region", name="Part 0 (node node-a): Completed")).to_be_visible()
    page.goto(f"/#/jobs/{job}?tab=log")
    expect(page.get_by_role("log")).to_have_text("on node-a")


def test_what_a_job_is_called_and_writes_stays_text(page: Page, site: Stack, watch: Watch) -> None:
    """The fixture fails where a script of it runs, or a request leaves."""
    script = f"echo '{HOSTILE}{REVERSED}'; printf '\\033[31mred\\033[0m\\n'"
    job = site.submit({"Name": f"hostile {HOSTILE}", "Labels": {"about": HOSTILE}, **process_job(script)})
    site.wait_ended(job)
    page.goto("/#/jobs?name=hostile")
    expect(page.get_by_role("button", name=f"about={HOSTILE}")).to_be_visible()
    page.get_by_role("link", name=HOSTILE).click()
    page.get_by_role("navigation", name="Job").get_by_role("link", name="Log").click()
    log = page.get_by_role("log")
    expect(log).to_contain_text(f"{HOSTILE}\N{MATHEMATICAL LEFT ANGLE BRACKET}U+202E")
    expect(log).to_contain_text("red")
    page.get_by_role("navigation", name="Job").get_by_role("link", name="Specification").click()
    expect(page.get_by_label("Specification", exact=True)).to_contain_text(HOSTILE)
    expect(page.locator("main img")).to_have_count(0)
    watch.check()
