"""What a node tells of a task shows none of its secrets, wherever a text was cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute.executions.given_secrets import UNKNOWN_SECRETS, GivenSecrets
from compute.executions.masking import LEAST_MASKED, MASK, Masking
from shared.protocol.messages import RunOutput

VALUE = "correct horse\nbattery"


def test_a_value_is_masked_wherever_it_appears() -> None:
    assert Masking([VALUE.encode()]).text(f"a {VALUE} b {VALUE}") == f"a {MASK} b {MASK}"


@pytest.mark.parametrize("quoted", [json.dumps(VALUE), repr(VALUE)])
def test_a_value_is_masked_as_programs_quote_it(quoted: str) -> None:
    assert "horse" not in Masking([VALUE.encode()]).text(f"cannot start {quoted}: no")


def test_the_longer_of_two_values_is_masked_first() -> None:
    assert Masking([b"password", b"password-of-the-database"]).text("x password-of-the-database") == f"x {MASK}"


def test_a_short_value_is_left_alone_as_it_would_be_found_in_other_words() -> None:
    assert Masking([b"true", b"1234567"]).text("true 1234567") == "true 1234567"


@pytest.mark.parametrize("length", range(1, len(VALUE)))
def test_nothing_is_left_of_a_value_in_which_the_output_was_cut(length: int) -> None:
    output = RunOutput(stdout=f"it is {VALUE[:length]}", stdout_truncated=True, exit_code=0)
    assert Masking([VALUE.encode()]).output(output).stdout == f"it is {MASK}"


def test_an_output_that_is_whole_keeps_its_end() -> None:
    output = RunOutput(stdout="coffee: c", exit_code=0)
    assert Masking([VALUE.encode()]).output(output).stdout == "coffee: c"


def test_what_an_unknown_secret_may_be_in_is_not_told_at_all() -> None:
    told = UNKNOWN_SECRETS.told(RunOutput(stdout="hello", stderr="", exit_code=3))
    assert told == RunOutput(stdout="", stdout_truncated=True, stderr="", exit_code=3)


def test_a_task_that_is_resumed_is_given_nothing_again() -> None:
    assert UNKNOWN_SECRETS.variables({"DB": "secret:db"}) == {}


def test_no_value_is_in_what_is_shown_of_the_secrets_of_a_task() -> None:
    assert repr(GivenSecrets({"db": VALUE.encode()})) == "<GivenSecrets db>"


@given(st.text(max_size=30), st.text(min_size=LEAST_MASKED, max_size=20), st.text(max_size=30), st.data())
def test_no_text_shows_a_value_nor_its_beginning_where_it_ends(
    before: str, value: str, after: str, data: st.DataObject
) -> None:
    whole = before + value + after
    cut = data.draw(st.integers(0, len(whole)))
    told = Masking([value.encode(errors="replace")]).text(whole[:cut])
    assert value not in told or value in MASK
    assert len(told) <= len(whole)


def test_values_that_begin_alike_or_overlap_leave_nothing() -> None:
    assert Masking([b"aaaaaaaaab"]).text("x aaaaaaaaaaab y") == f"x {MASK} y"
    assert Masking([b"password-one", b"password-two"]).text("password-two, password-one") == f"{MASK}, {MASK}"
