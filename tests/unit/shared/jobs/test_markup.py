"""Jobs in notebooks: whatever a name or a message holds is text there."""

import re
from pathlib import Path

import pytest

from shared.data.markup import MOST_CELL, table
from shared.jobs.spec import JobView, StateView
from shared.protocol.rest import Page
from tarpon.results.fetch_job import Fetched

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</td></table><iframe srcdoc='x'>",
    '" onmouseover="x',
    "&lt;b&gt;",
    "$\\href{javascript:alert(1)}{x}$",
    "\u202e\x1b[2J\n",
]
PLAIN = re.compile(
    r'<(?:div class="tex2jax_ignore mathjax_ignore"|t[hd] style="text-align:left"|/?(?:div|b|table|tr|td|th))>'
)


def job(text: str, state: str = "Failed") -> JobView:
    return JobView(
        id=text,
        name=f"{text} name",
        namespace=text,
        state=StateView(state_type=state, message=text),
        version=1,
        revision=1,
        create_time=10**18,
        modify_time=10**18 + 61 * 10**9,
        exit_codes={3: 2},
    )


def assert_plain(markup: str) -> None:
    assert not re.search(r"[<>]", PLAIN.sub("", markup)), markup
    assert markup.startswith('<div class="tex2jax_ignore mathjax_ignore">')
    assert "".join(char for char in markup if not char.isprintable()) == ""


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_others_is_text(text: str) -> None:
    assert_plain(job(text)._repr_html_())
    assert_plain(Page(items=(job(text),))._repr_html_() or "")
    assert_plain(Fetched(folder=Path(text))._repr_html_())
    assert_plain(table([(text, text)], heading=(text,), title=text))


def test_a_job_is_shown_by_what_came_of_it() -> None:
    shown = job("j-1")._repr_html_()
    assert "2001-09-09 01:46:40 UTC" in shown
    assert "0:01:01" in shown
    assert "3 (2 times)" in shown
    assert "Ended after" not in job("j-1", "Running")._repr_html_()


def test_what_is_long_is_cut_and_lists_are_too() -> None:
    assert len(table([("x", "y" * 10 * MOST_CELL)])) < 2 * MOST_CELL
    assert "the first 100 of 150" in (Page(items=(job("j"),) * 150)._repr_html_() or "")


def test_lists_of_other_things_show_themselves() -> None:
    assert Page(items=("a",))._repr_html_() is None
