"""Submitting from the page: what one writes is one job, in the form, in the file and in the commands beside them."""

from typing import Any

import pytest
import yaml
from playwright.sync_api import Page, expect

from tests.e2e.page.accessibility import assert_usable_by_all
from tests.e2e.page.conftest import OUTSIDE
from tests.e2e.stack import Stack

WORDS = "sh -c 'echo \"it'\\''s $HOME\" > outputs/said; exit 0'"


@pytest.fixture
def writing(page: Page) -> Page:
    page.goto("/#/submit")
    page.get_by_label("Engine").select_option("process")
    page.get_by_label("Command", exact=True).fill(WORDS)
    page.get_by_label("Name", exact=True).fill("of-the-page")
    return page


def whole_job(page: Page) -> dict[str, Any]:
    return dict(yaml.safe_load(page.get_by_label("The whole job").input_value()))


def test_a_job_is_submitted_once_and_leads_to_itself(writing: Page, site: Stack) -> None:
    writing.get_by_label("Name", exact=True).fill("")  # two jobs of one name would be one all the same
    writing.get_by_label("Labels").fill("from=page")
    writing.get_by_label("Environment").fill("GREETING=a b")
    expect(writing.get_by_text("It can be submitted.")).to_be_visible()
    assert_usable_by_all(writing)
    writing.get_by_role("button", name="Submit").dblclick()
    writing.wait_for_url("**/#/jobs/*")
    (job,) = site.api("/orchestrator/jobs?labels=from%3Dpage")["Items"]
    assert writing.url.endswith(job["ID"])
    assert job["Tasks"][0]["Env"] == {"GREETING": "a b"}
    writing.goto("/#/submit")
    assert "from: page" not in writing.get_by_label("The whole job").input_value()


def test_the_engines_to_choose_from_are_those_of_the_nodes_too(page: Page) -> None:
    page.goto("/#/submit")
    page.get_by_label("Engine").select_option("wasm")
    page.get_by_label("Module").fill("/app/main.wasm")
    page.get_by_label("Arguments").fill("fast 'two words'")
    wanted = {"EntryModule": "/app/main.wasm", "Parameters": ["fast", "two words"]}
    assert whole_job(page)["Tasks"][0]["Engine"] == {"Type": "wasm", "Params": wanted}
    page.get_by_label("Engine").select_option(OUTSIDE)
    expect(page.get_by_text("From outside: its parameters are written in the whole job")).to_be_visible()
    assert whole_job(page)["Tasks"][0]["Engine"] == {"Type": OUTSIDE}


def test_the_commands_beside_a_job_make_the_same_job(writing: Page, site: Stack) -> None:
    writing.get_by_label("Environment").fill("A=$(touch /tmp/no) `x` \"y\" 'z'")
    writing.get_by_label("Inputs").fill("s3://bucket/a key:/in\njob:j-1/outputs:/before")
    writing.get_by_label("Result folders").fill("outputs:/outputs")
    writing.get_by_label("Nodes that have").fill("zone=a,gpu,!old")
    writing.get_by_label("Of the job in all").fill("1h30m")
    wanted = whole_job(writing)
    assert wanted["Tasks"][0]["Timeouts"] == {"TotalTimeout": 5400}
    shown = writing.get_by_label("The same on a command line")
    for text in shown.all_inner_texts():
        said = text.replace("tarpon exec", "tarpon exec --dry-run").replace("job run -", "job run --dry-run -")
        assert without_defaults(yaml.safe_load(site.shell(said, cwd=site.root))) == without_defaults(wanted)


def without_defaults(job: dict[str, Any]) -> dict[str, Any]:
    """As it is written, whoever wrote it: an empty list of values says nothing."""
    constraints = [{**each, "Values": each.get("Values") or []} for each in job["Constraints"]]
    return {**job, "Constraints": constraints}


def test_what_is_wrong_is_told_where_it_is_while_one_types(writing: Page) -> None:
    writing.get_by_label("Cores").fill("many")
    expect(writing.get_by_label("Cores")).to_have_attribute("aria-invalid", "true")
    expect(writing.get_by_role("button", name="Submit")).to_be_disabled()
    writing.get_by_role("button", name="Line").click()
    assert "many" in writing.evaluate("document.getSelection().toString()")
    writing.get_by_label("The whole job").fill("Tasks: [")
    expect(writing.get_by_text("This cannot be read")).to_be_visible()


def test_what_was_typed_is_there_when_one_comes_back(writing: Page) -> None:
    writing.get_by_role("link", name="Nodes", exact=True).click()
    writing.get_by_role("link", name="Submit", exact=True).click()
    expect(writing.get_by_label("Name", exact=True)).to_have_value("of-the-page")
    writing.reload()
    expect(writing.get_by_label("Command", exact=True)).to_have_value(WORDS)
