"""What the conditions of `tarpon job list` may be, and what is told of those that are none."""

import time
from collections.abc import Iterator

import click
import pytest

from tarpon.cli.job.list_conditions import ExitCodes, Since, States


@pytest.fixture(autouse=True)
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nine hours before UTC, always."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def refusal(kind: "click.ParamType[str]", text: str) -> str:
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(text, None, None)
    return caught.value.message


@pytest.mark.parametrize(("text", "states"), [("failed", "Failed"), ("Queued, RUNNING,", "Queued,Running"), ("", "")])
def test_states_have_any_case_and_commas_between_them(text: str, states: str) -> None:
    assert States().convert(text, None, None) == states


def test_a_state_that_is_none_is_refused_with_the_one_that_was_meant_and_with_all() -> None:
    all_of_them = "are Pending, Queued, Running, Completed, Failed, Stopped."
    told = f"'Faled' is not a state of a job; did you mean Failed? There {all_of_them}"
    assert refusal(States(), "Failed,Faled") == told
    assert refusal(States(), "blue") == f"'blue' is not a state of a job; there {all_of_them}"


@pytest.mark.parametrize("text", ["1", "0,137", "nonzero", "NonZero,0", "-1"])
def test_exit_codes_are_numbers_or_all_but_0(text: str) -> None:
    assert ExitCodes().convert(text, None, None) == text


@pytest.mark.parametrize("text", ["one", "1,x", "0x1", "1.5"])
def test_an_exit_code_that_is_none_is_refused(text: str) -> None:
    assert "is not an exit code; give a number, such as 1, or nonzero." in refusal(ExitCodes(), text)


@pytest.mark.parametrize("text", ["", "30m", "2h", "1h30m", "7d", "1800000000", "1800000000.5"])
def test_a_length_of_time_and_seconds_since_1970_stay_as_they_are(text: str) -> None:
    assert Since().convert(text, None, None) == text


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", "2026-01-30T15:00:00Z"),
        ("20260131", "2026-01-30T15:00:00Z"),
        ("2026-01-31T12:00", "2026-01-31T03:00:00Z"),
        ("2026-01-31 12:00:30", "2026-01-31T03:00:30Z"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00Z"),
    ],
)
def test_a_date_or_a_time_is_local_unless_it_names_its_zone(text: str, moment: str) -> None:
    assert Since().convert(text, None, None) == moment


@pytest.mark.parametrize("text", ["yesterday", "2 weeks", "2026-02-30", "31.01.2026", "0001-01-01", "7x"])
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    assert refusal(Since(), text).startswith(
        f"{text!r} is neither a length of time, such as 30m, 12h or 7d, nor a date"
    )
