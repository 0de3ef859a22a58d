"""Label selectors of lists, with the grammar and meaning of Kubernetes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.rules.label_selectors import MAX_SELECTOR, matches, selector
from shared.errors import InvalidInput

LABELS = {"team": "a", "env": "prod", "size": "5", "empty": "", "example.org/kind": "x"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "team",
        "!old",
        "! old",
        "team=a",
        "team==a",
        "team = a",
        "team!=b",
        "old!=b",
        "env in (prod,test)",
        "env in ( prod , test )",
        "env in(prod)",
        "env notin (test)",
        "old notin (test)",
        "size>4",
        "size < 6",
        "empty=",
        "empty in (,x)",
        "example.org/kind=x",
        "team=a,env in (prod,test),!old",
        " team = a , env in (prod) ",
        "size>4.5",
    ],
)
def test_these_labels_fulfil(text: str) -> None:
    assert matches(LABELS, selector([text]))


@pytest.mark.parametrize(
    "text",
    [
        "old",
        "!team",
        "team=b",
        "team=A",
        "old=a",
        "team!=a",
        "env in (test)",
        "old in (test)",
        "env notin (prod)",
        "size>5",
        "size<5",
        "team>1",
        "old<1",
        "team=a,env=test",
    ],
)
def test_these_labels_do_not_fulfil(text: str) -> None:
    assert not matches(LABELS, selector([text]))


@pytest.mark.parametrize(
    "text",
    [
        ",",
        "team=a,",
        ",team=a",
        "team=a,,env=prod",
        "team=a b",
        "team a",
        "=a",
        "team===a",
        "team in",
        "team in a",
        "team in (a",
        "team in (a))",
        "team in (a b)",
        "team in (*)",
        "!team=a",
        "-team",
        "team-",
        "size>many",
        "size>",
        "team=a;env=prod",
        "t\u00e9am",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        selector([text])


def test_what_is_longer_than_a_list_bears_is_refused_for_that() -> None:
    with pytest.raises(InvalidInput, match="at most 1,000 characters"):
        selector(["a" * (MAX_SELECTOR + 1)])


def test_several_selectors_have_to_hold_together() -> None:
    assert matches(LABELS, selector(["team=a", "env=prod"]))
    assert not matches(LABELS, selector(["team=a", "env=test"]))


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        selector([text])
    except InvalidInput:
        return


def test_a_selector_that_nearly_fits_is_refused_quickly() -> None:
    with pytest.raises(InvalidInput):
        selector(["a" + "-" * (MAX_SELECTOR - 1)])
