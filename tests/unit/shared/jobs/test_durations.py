import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidDuration
from shared.jobs.durations import Duration, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h30m", 5400.0),
        ("90s", 90.0),
        ("1.5h", 5400.0),
        ("100ms", 0.1),
        ("24h0m0s", 86400.0),
        ("-1s", -1.0),
        ("+1s", 1.0),
        ("0", 0.0),
        ("0s", 0.0),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("1us", 1e-6),
        ("1\N{MICRO SIGN}s", 1e-6),
        ("1\N{GREEK SMALL LETTER MU}s", 1e-6),
        ("1ns", 1e-9),
        (" 5m ", 300.0),
    ],
)
def test_go_text_is_read_as_seconds(text: str, seconds: float) -> None:
    assert math.isclose(parse_duration(text), seconds)


@pytest.mark.parametrize(
    "text",
    ["", " ", "5", "-5", "1d", "h", "1h m", "1 h", "one hour", "1h-3m", "s1", "1e3s", "--1s", "\u0661s", "9" * 90],
)
def test_text_without_a_number_and_a_unit_is_refused(text: str) -> None:
    with pytest.raises(InvalidDuration):
        parse_duration(text)


def test_a_duration_longer_than_go_can_hold_is_refused() -> None:
    assert parse_duration("2562047h") > 0
    with pytest.raises(InvalidDuration):
        parse_duration("2562048h")


def test_the_error_shows_the_text_and_how_to_write_it() -> None:
    with pytest.raises(InvalidDuration) as caught:
        parse_duration("soon")
    assert caught.value.message == "'soon' is not a duration."
    assert caught.value.hint == "Write a number and a unit, such as 90s, 15m or 1h30m."


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3600, "1h0m0s"),
        (86400, "24h0m0s"),
        (90, "1m30s"),
        (1.5, "1.5s"),
        (61.25, "1m1.25s"),
        (0.1, "100ms"),
        (0.0015, "1.5ms"),
        (1e-6, "1\N{MICRO SIGN}s"),
        (1e-9, "1ns"),
        (0, "0s"),
        (-1, "-1s"),
        (-1e-12, "0s"),
        (0.9999999999, "1s"),
    ],
)
def test_seconds_are_written_as_go_writes_them(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_what_is_written_is_read_back_to_the_microsecond(microseconds: int) -> None:
    seconds = microseconds / 1e6
    assert math.isclose(parse_duration(format_duration(seconds)), seconds, abs_tol=1e-6)


def test_a_duration_is_a_number_of_seconds_that_prints_as_it_is_written() -> None:
    duration = Duration.parse("90m")
    assert duration == 5400.0
    assert f"{duration}" == "1h30m0s"
    assert repr(duration) == "Duration(1h30m0s)"
