"""The cluster and the API's description on the page, for who sees pictures and for who does not."""

from playwright.sync_api import Page, expect

from tests.e2e.page.accessibility import assert_usable_by_all
from tests.e2e.stack import Stack


def test_the_last_hour_is_there_in_words_and_as_a_table_too(page: Page, site: Stack) -> None:
    leader = site.api("/agent/node")["Leader"]
    page.goto("/#/cluster")
    expect(page.get_by_role("link", name=leader)).to_be_visible()
    chart = page.get_by_role("figure").filter(has_text="Queue: age of the oldest job")
    expect(chart).to_contain_text("Oldest waits: ")
    chart.get_by_text("As a table").click()
    expect(chart.get_by_role("columnheader", name="Oldest waits")).to_be_visible()
    assert_usable_by_all(page)


def test_a_route_is_found_and_says_what_it_takes_and_gives(page: Page) -> None:
    page.goto("/#/api")
    page.get_by_label("Search").fill("put join token text")
    expect(page.get_by_role("status")).to_contain_text("1 of ")
    page.get_by_text("/api/v1/orchestrator/tokens").click()
    expect(page.get_by_role("region", name="CreateTokenRequest")).to_contain_text("ExpiresSeconds")
    expect(page.get_by_label("With curl")).to_contain_text("curl -X PUT")
    assert_usable_by_all(page)
