"""Schedules: what may be written, and when they are due, also in the nights in which clocks are changed."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.jobs.rules import normalised, problems
from shared.jobs.schedules import (
    SECOND_NS,
    due_after,
    due_between,
    least_interval_seconds,
    local_time,
    newest_due,
    next_due,
)
from shared.jobs.spec import Job, Schedule
from tests.builders import new_job

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Africa/Casablanca", "Pacific/Apia")
CRONS = ("* * * * *", "*/20 * * * *", "0,30 2 * * *", "0 2,3 * * *", "15 1-3 * * *", "30 2 * * SUN", "@daily")
KNOWN_TO_CRON = ("@hourly", "@Daily", "*/5 8-18 * * MON-FRI", "0 0 L * *", "0 6 * * 1#1", "0 0 29 2 *")
NEVER = ("0 0 30 2 *", "0 0 31 4,6 *")
NOT_OF_CRON = ("", "3", "* * * * * *", "60 * * * *", *NEVER, "@reboot", "H * * * *", "\u0663 * * * *", "0 0 * * ?")
NO_FILES = ("Mars/Olympus", "../../etc/passwd", "Europe", "/etc/localtime")
NO_ZONES = (*NO_FILES, "localtime", "right/Europe/Berlin", "x" * 500, "a\0b")
schedules = st.builds(Schedule, cron=st.sampled_from(CRONS), time_zone=st.sampled_from(ZONES))
changes_of_clocks = st.sampled_from(
    [datetime(2026, *at, tzinfo=UTC) for at in ((3, 29, 1), (10, 25, 1), (3, 8, 7), (11, 1, 6))]
)


def ns(*at: int) -> int:
    return int(datetime(*at, tzinfo=UTC).timestamp()) * SECOND_NS  # type: ignore[misc, arg-type]  # year, month, day...


def scheduled(cron: str = "0 3 * * *", **more: Any) -> Job:
    return new_job("nightly", schedule=Schedule(cron=cron, **more))


def found(job: Job) -> list[str]:
    return list(problems(normalised(job)))


def due(cron: str, zone: str, after: int, many: int) -> list[str]:
    schedule = Schedule(cron=cron, time_zone=zone)
    return [local_time(schedule, each).isoformat() for each in islice(due_after(schedule, after), many)]


class TestWhatIsWritten:
    def test_an_expression_alone_is_a_schedule_in_its_long_form(self) -> None:
        short = normalised(new_job("nightly", schedule="  0  3 * * * "))
        assert short.schedule == Schedule(cron="0 3 * * *")
        assert not found(short)

    def test_what_is_the_default_is_the_same_as_nothing_said(self) -> None:
        said = normalised(scheduled(missed="Once ", overlap="SKIP"))
        assert said.schedule == normalised(scheduled()).schedule

    @pytest.mark.parametrize("cron", KNOWN_TO_CRON)
    def test_what_cron_knows_is_taken(self, cron: str) -> None:
        assert not found(scheduled(cron))

    @pytest.mark.parametrize(
        "cron",
        NOT_OF_CRON,
    )
    def test_what_is_no_expression_or_never_comes_is_refused_with_its_key(self, cron: str) -> None:
        (told,) = found(scheduled(cron))
        assert told.startswith("Schedule.Cron ")

    def test_a_long_expression_is_not_even_read(self) -> None:
        (told,) = found(scheduled(",".join(["1"] * 100_000) + " * * * *"))
        assert "at most 128" in told

    @pytest.mark.parametrize("zone", NO_ZONES, ids=range(len(NO_ZONES)))
    def test_what_is_no_time_zone_is_refused_with_a_sentence(self, zone: str) -> None:
        (told,) = found(scheduled(time_zone=zone))
        assert told.startswith("Schedule.TimeZone")
        assert "such as Europe/Berlin" in told

    def test_a_schedule_needs_a_name_by_which_it_is_changed(self) -> None:
        (told,) = found(replace(scheduled(), name=""))
        assert told.startswith("Name is missing")

    @pytest.mark.parametrize(
        ("what", "key"),
        [
            ({"missed": "never"}, "Missed"),
            ({"overlap": "queue"}, "Overlap"),
            ({"missed": "all"}, "Missed"),
            ({"starting_deadline": "1s"}, "StartingDeadline"),
            ({"starting_deadline": "200h"}, "StartingDeadline"),
            ({"starting_deadline": "soon"}, "StartingDeadline"),
            ({"keep": -1}, "Keep"),
        ],
        ids=str,
    )
    def test_other_choices_are_refused_with_their_key(self, what: dict[str, Any], key: str) -> None:
        (told,) = found(scheduled(**what))
        assert told.startswith(f"Schedule.{key}")


class TestWhenItIsDue:
    def test_a_fixed_time_that_is_left_out_in_spring_is_due_when_clocks_have_been_put_forward(self) -> None:
        told = due("30 2 * * *", "Europe/Berlin", ns(2026, 3, 28, 12), 2)
        assert told == ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]

    def test_a_fixed_time_that_comes_twice_in_autumn_is_due_the_first_time(self) -> None:
        told = due("30 2 * * *", "Europe/Berlin", ns(2026, 10, 24, 12), 2)
        assert told == ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]

    def test_whoever_looks_in_the_hour_that_comes_twice_finds_it_was_due(self) -> None:
        told = due("30 2 * * *", "Europe/Berlin", ns(2026, 10, 25, 1, 10), 1)
        assert told == ["2026-10-26T02:30:00+01:00"]

    def test_each_hour_is_each_hour_that_passes(self) -> None:
        after = due("0 * * * *", "Europe/Berlin", ns(2026, 10, 24, 23, 30), 3)
        assert after == ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"]

    def test_what_begins_with_a_star_follows_the_clock_on_the_wall(self) -> None:
        spring = due("*/30 2 * * *", "Europe/Berlin", ns(2026, 3, 28, 12), 1)
        autumn = due("*/30 2 * * *", "Europe/Berlin", ns(2026, 10, 24, 12), 5)
        assert spring == ["2026-03-30T02:00:00+02:00"], "there is no such time in the night before"
        assert [each[11:] for each in autumn] == [
            "02:00:00+02:00",
            "02:30:00+02:00",
            "02:00:00+01:00",
            "02:30:00+01:00",
            "02:00:00+01:00",
        ]

    def test_two_fixed_times_that_are_left_out_are_due_once(self) -> None:
        told = due("0,30 2 * * *", "Europe/Berlin", ns(2026, 3, 28, 12), 2)
        assert told == ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]

    def test_without_a_time_zone_it_is_utc(self) -> None:
        assert next_due(Schedule(cron="0 3 * * *"), ns(2026, 7, 1)) == ns(2026, 7, 1, 3)

    def test_what_is_not_known_any_more_is_never_due(self) -> None:
        assert next_due(Schedule(cron="* * * * *", time_zone="Mars/Olympus"), 0) is None
        assert next_due(Schedule(cron="@reboot"), 0) is None

    @given(schedules, changes_of_clocks, st.integers(0, 900), st.integers(1, 900))
    def test_no_due_time_comes_twice_or_depends_on_where_one_begins_to_look(
        self, schedule: Schedule, around: datetime, before: int, later: int
    ) -> None:
        begin = round((around - timedelta(minutes=before)).timestamp()) * SECOND_NS
        whole = due_between(schedule, begin, begin + 2 * 86400 * SECOND_NS)
        assert all(one < another for one, another in pairwise(whole))
        middle = begin + later * 60 * SECOND_NS
        assert due_between(schedule, middle, begin + 2 * 86400 * SECOND_NS) == [each for each in whole if each > middle]

    @given(schedules, changes_of_clocks, st.integers(1, 20))
    def test_the_newest_ones_are_the_last_of_all(self, schedule: Schedule, around: datetime, most: int) -> None:
        end = round((around + timedelta(hours=9)).timestamp()) * SECOND_NS
        begin = end - 4 * 86400 * SECOND_NS
        assert newest_due(schedule, begin, end, most) == due_between(schedule, begin, end)[-most:]

    def test_the_least_interval_is_that_of_the_closest_runs(self) -> None:
        assert least_interval_seconds(Schedule(cron="*/50 * * * *"), ns(2026, 1, 1)) == 600
        assert least_interval_seconds(Schedule(cron="@daily"), ns(2026, 1, 1)) == 86400
