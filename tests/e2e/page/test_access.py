"""Keys and join tokens on the page: shown once, then nowhere, and ended when one says so."""

from playwright.sync_api import Page, expect

from tests.e2e.page.accessibility import assert_usable_by_all
from tests.e2e.stack import Stack


def test_a_join_token_is_shown_once_and_revoked(page: Page, site: Stack) -> None:
    page.goto("/#/access?tab=tokens")
    page.get_by_text("Make a join token").click()
    page.get_by_label("Labels of its nodes").fill("zone=far")
    page.get_by_role("button", name="Make the token").click()
    line = page.get_by_role("alert").locator("pre").inner_text()
    assert line.startswith("TARPON_COMPUTE_AUTH_TOKEN=")
    (token,) = site.api("/orchestrator/tokens")["Tokens"]
    assert token["Labels"] == {"zone": "far"}
    assert_usable_by_all(page)

    page.get_by_role("link", name="Nodes", exact=True).click()
    page.get_by_role("link", name="Access", exact=True).click()
    page.get_by_role("link", name="Join tokens").click()
    row = page.get_by_role("row").filter(has_text=token["ID"])
    expect(row).to_contain_text("Usable")
    assert line.partition("=")[2].split()[0] not in page.content()

    row.get_by_role("button", name="Revoke").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"tarpon node token revoke {token['ID']}")
    dialog.get_by_role("button", name="Revoke").click()
    expect(row).to_contain_text("Revoked")


def test_a_user_is_made_and_revoked(page: Page, site: Stack) -> None:
    page.goto("/#/access")
    page.get_by_text("Make a user").click()
    page.get_by_label("Name", exact=True).fill("maria")
    page.get_by_label("Namespaces").fill("a b")
    page.get_by_role("button", name="Make the user").click()
    key = page.get_by_role("alert").locator("pre").inner_text()
    page.get_by_role("button", name="I have it").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    assert key not in page.content()
    row = page.get_by_role("row").filter(has_text="maria")
    expect(row).to_contain_text("a, b")
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_contain_text("revoked")
    (maria,) = (each for each in site.api("/orchestrator/users")["Users"] if each["Name"] == "maria")
    assert maria["Revoked"]


def test_who_may_not_is_told_why(page: Page, site: Stack) -> None:
    key = site.api("/orchestrator/users", {"Name": "reader", "Capabilities": ["read:job", "read:node"]}, "PUT")["Key"]
    page.goto("/#/sign-in")
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.goto("/#/access")
    expect(page.get_by_text("takes the capability")).to_contain_text("*")
    page.get_by_role("link", name="Join tokens").click()
    expect(page.get_by_text("To make join tokens takes the capability write:node")).to_be_visible()
    page.goto("/#/submit")
    expect(page.get_by_text("can submit jobs. What you write here can be copied.")).to_be_visible()
    expect(page.get_by_role("button", name="Submit")).to_be_disabled()
    page.goto("/#/nodes/node-a")
    expect(page.get_by_text("can drain, reject and delete nodes")).to_be_visible()
