"""Nodes on the page: found among others, drained, and harmless whatever they say of themselves."""

import re

from playwright.sync_api import Page, expect

from tests.e2e.page.accessibility import assert_usable_by_all
from tests.e2e.page.browser import Watch
from tests.e2e.stack import Stack

HOSTILE = "<img src=x onerror=alert(1)>"


def test_a_node_is_drained_and_given_work_again_after_a_confirmation(page: Page, site: Stack) -> None:
    page.goto("/#/nodes")
    page.get_by_role("link", name="node-a").click()
    page.get_by_role("button", name="Drain …", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("tarpon node drain node-a")
    assert_usable_by_all(page)
    dialog.get_by_role("button", name="Drain", exact=True).click()
    expect(page.locator("[data-state]").first).to_contain_text("Drained")
    assert site.api("/orchestrator/nodes/node-a")["Node"]["Draining"]
    page.get_by_role("button", name="Undrain …").click()
    page.get_by_role("dialog").get_by_role("button", name="Undrain").click()
    expect(page.locator("[data-state]").first).to_contain_text("Connected")


def test_what_a_node_says_of_itself_stays_text(page: Page, site: Stack, watch: Watch) -> None:
    """The fixture fails where a script of it runs, or a request leaves."""
    site.start_compute("node-hostile", Labels=f"about={HOSTILE},zone=far")
    page.goto("/#/nodes?text=far")
    expect(page.get_by_title(f"about={HOSTILE}")).to_be_visible()
    page.get_by_role("link", name="node-hostile").click()
    expect(page.get_by_role("link", name=f"about={HOSTILE}")).to_be_visible()
    expect(page.locator("main img")).to_have_count(0)
    watch.check()


def test_nodes_are_found_by_their_text_and_their_labels(page: Page) -> None:
    page.goto("/#/nodes")
    table = page.get_by_role("region", name="Nodes")
    expect(table.get_by_role("link", name="node-a")).to_be_visible()
    page.get_by_label("Search").fill("no such node")
    expect(page.get_by_text("No node is like that.")).to_be_visible()
    page.get_by_label("Search").fill("bubblewrap")
    expect(page.get_by_text("No node is like that.")).to_be_hidden()
    page.get_by_label("Labels").fill("name=node-a")
    expect(page.get_by_role("status")).to_contain_text("1 node:")
    expect(page).to_have_url(re.compile("label=name"))
