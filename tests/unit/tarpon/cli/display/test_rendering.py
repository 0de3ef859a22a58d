"""How things look to people."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.data.plain_text import printable
from shared.errors import InvalidInput, RemoteError
from shared.jobs.spec import WAITS_FOR, JobView, StateView
from shared.protocol.published_facts import PublishedParams
from shared.protocol.rest import (
    EventView,
    ExecutionView,
    HistoryItem,
    JobResponse,
    NumberedState,
    Page,
    PublishedResult,
    RunOutputView,
)
from tarpon.cli.console.outcomes import JobFailed, show_error
from tarpon.cli.console.output import (
    in_local_time,
    json_text,
    lasting,
    moment,
    pairs,
    plain_columns,
    show,
    size,
    yaml_text,
)
from tarpon.cli.console.progress import event_line, heading
from tarpon.cli.display.job_text import description, executions_table, history_lines, jobs_table, waits_text
from tarpon.cli.display.run_ends import exit_codes
from tarpon.cli.display.watching import failure
from tarpon.cli.program import _explained

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
NANOSECONDS = int(NOW.timestamp()) * 10**9
EXECUTION = "e-0950d2d8-14b1-50f5-a5b2-aa06004f5628"


def job(**changes: object) -> JobView:
    fields: dict[str, object] = {
        "id": "j-de69ab9b-bea2-5f4e-9e10-efda47359bea",
        "name": "hello",
        "type": "batch",
        "state": StateView(state_type="Completed"),
        "version": 1,
        "revision": 1,
        "create_time": NANOSECONDS,
        "modify_time": NANOSECONDS,
    }
    return JobView(**(fields | changes))  # type: ignore[arg-type]  # the test's own fields


def execution(exit_code: int = 0, state: int = 9, **output: object) -> ExecutionView:
    return ExecutionView(
        id=EXECUTION,
        job_id="j-1",
        node_id="n-1",
        create_time=NANOSECONDS,
        compute_state=NumberedState(state_type=state),
        run_output=RunOutputView(exit_code=exit_code, **output),  # type: ignore[arg-type]  # the test's own fields
        published_result=PublishedResult(
            type="s3managed", params=PublishedParams(bucket="b", key="p/j/e.tar.gz", size=2048)
        ),
    )


def event(message: str, topic: str = "Scheduling", **details: str) -> HistoryItem:
    return HistoryItem(
        seq_num=1,
        type="ExecutionLevel",
        job_id="j-1",
        execution_id=EXECUTION,
        event=EventView(message=message, topic=topic, timestamp=NOW, details=details),
        time=NOW,
    )


def test_columns_line_up_and_end_without_blanks() -> None:
    assert plain_columns([["A", "BB"], ["long one", "x"], ["s", ""]]) == "A         BB\nlong one  x\ns"


def test_a_cell_never_breaks_its_row() -> None:
    assert plain_columns([["A"], ["two\nlines"]]) == "A\ntwo lines"


def test_pairs_without_a_value_are_left_out() -> None:
    assert pairs({"Name": "x", "Message": "", "ID": "1"}) == "Name  x\nID    1"


def test_control_characters_of_a_task_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x07\tc\nd\u202e") == "a\\x1b[2Jb\\x07\tc\nd\\u202e"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB"), (5000 << 40, "5000.0 TiB")],
)
def test_sizes_are_short(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.038, "38 ms"), (1.25, "1.2 s"), (185, "3 min 5 s"), (3599.9, "1 h 0 min"), (7800, "2 h 10 min")],
)
def test_lengths_of_time_are_short(seconds: float, text: str) -> None:
    assert lasting(timedelta(seconds=seconds)) == text


def test_a_moment_of_another_day_has_its_date() -> None:
    assert len(moment(NOW, NOW)) == len("12:00:00")
    assert len(moment(NOW - timedelta(days=2), NOW)) == len("2026-02-27 12:00:00")


def test_an_event_is_one_line_under_the_heading() -> None:
    line = event_line(event("Placed on\nnode a"), now=NOW)
    assert line.endswith("e-0950d2d8  Scheduling            Placed on node a")
    assert heading().index("EVENT") == line.index("Placed")


def test_a_long_event_wraps_below_its_own_column() -> None:
    first, *rest = event_line(event("word " * 30), now=NOW, width=80).splitlines()
    assert len(first) <= 80
    assert rest
    assert all(line.startswith(" " * heading().index("EVENT") + "word") for line in rest)


def test_tables_fit_eighty_columns() -> None:
    tables = jobs_table([job(), job(type="service")], NOW), executions_table([execution(), execution(137)], NOW)
    assert all(len(line) <= 80 for table in tables for line in table.splitlines())


def test_what_an_execution_waits_for_has_a_column_while_one_waits() -> None:
    waits = NumberedState(state_type=1, message="Pulling image x: 34 % of 120 MB")
    pulling = replace(execution(), compute_state=waits, desired_state=NumberedState(state_type=1))
    failed = replace(execution(), compute_state=NumberedState(state_type=10, message="it is why"))
    headings, first, second = executions_table([pulling, failed], NOW).splitlines()
    place = headings.index("DOING")
    assert (first[place:], second[place:]) == ("Pulling image x: 34 % of 120 MB", "")
    assert "DOING" not in executions_table([failed], NOW)


def test_ids_are_short_in_tables() -> None:
    assert "j-de69ab9b " in jobs_table([job()], NOW)
    assert "bea2" not in jobs_table([job()], NOW)


def test_a_description_shows_output_results_and_history() -> None:
    described = JobResponse(
        job=job(),
        executions=Page(items=(execution(stdout="hi\n", stdout_truncated=True),)),
        history=Page(items=(event("Placed"),)),
    )
    text = description(described, NOW)
    assert "Standard output (the beginning; all of it is in the result)\nhi" in text
    assert "s3://b/p/j/e.tar.gz" in text
    assert "Scheduling            Placed" in text


def test_executions_of_several_versions_are_told_apart() -> None:
    earlier, later = execution(), replace(execution(), job_version=2)
    assert "VERSION" not in executions_table([earlier, earlier], NOW)
    headings, first, second = executions_table([earlier, later], NOW).splitlines()
    place = headings.index("VERSION")
    assert (first[place], second[place]) == ("1", "2")


def test_a_description_tells_what_a_job_waits_for() -> None:
    described = JobResponse(job=job(state=StateView(state_type="Pending")))
    (told,) = (line for line in description(described, NOW, "1 node drained").splitlines() if "Waiting" in line)
    assert told.split(maxsplit=1)[1] == f"1 node drained; `tarpon job why {described.job.id}` tells more"
    assert "Waiting" not in description(described, NOW)


def sweep(count: int, *, failed: range) -> JobResponse:
    """A job of so many parts, each of which wrote something; those in `failed` have failed."""
    parts = [
        replace(
            execution(state=10 if part in failed else 9, stdout=f"part {part}\n"), id=f"e-{part}", partition_index=part
        )
        for part in range(count)
    ]
    items = [replace(event(f"line of part {part}"), execution_id=f"e-{part}") for part in range(count)]
    submitted = replace(event("Job submitted"), execution_id="")
    return JobResponse(job=job(), executions=Page(items=tuple(parts)), history=Page(items=(submitted, *items)))


def test_of_many_executions_the_failed_and_some_others_are_described() -> None:
    described = sweep(100, failed=range(50, 53))
    told = description(described, NOW).splitlines()
    assert "100 in all: 97 Completed, 3 Failed" in told
    assert [line for line in told if line.startswith("part ")] == [
        f"part {part}" for part in [0, 1, 2, 3, 4, 50, 51, 52]
    ]
    assert f"and 92 more: tarpon job executions {described.job.id}" in told
    assert sum("line of part" in line for line in told) == 8
    assert any("Job submitted" in line for line in told)
    assert f"What happened to the other executions: tarpon job history {described.job.id}" in told
    assert len(told) < 100


def test_of_very_many_failures_the_first_are_described_and_all_are_counted() -> None:
    described = sweep(3000, failed=range(1000))
    told = description(described, NOW).splitlines()
    assert "3,000 in all: 2,000 Completed, 1,000 Failed" in told
    assert f"and 2,975 more, of which 980 have failed: tarpon job executions {described.job.id}" in told
    assert len(told) < 250


def test_of_few_executions_all_are_described() -> None:
    told = description(sweep(20, failed=range(3)), NOW)
    assert "in all" not in told
    assert told.count("\npart ") == 20
    assert told.count("line of part") == 20


def test_a_description_does_not_promise_what_was_not_published() -> None:
    unpublished = replace(execution(stdout="hi\n", stdout_truncated=True), published_result=None)
    text = description(JobResponse(job=job(), executions=Page(items=(unpublished,))), NOW)
    assert "Standard output (the beginning; the rest was not kept)\nhi" in text


def test_a_description_keeps_control_characters_to_itself() -> None:
    described = JobResponse(job=job(), executions=Page(items=(execution(stdout="\x1b]0;title\x07"),)))
    assert "\x1b" not in description(described, NOW)


def test_one_exit_code_is_told_plainly() -> None:
    assert exit_codes([execution(3)]) == "Exit code: 3."


def test_exit_codes_of_many_tasks_are_counted() -> None:
    assert exit_codes([execution(0), execution(0), execution(3)]) == "Exit codes: 0 (2 x), 3 (1 x)."
    assert exit_codes([execution(0), execution(0)]) == "Exit code of both tasks: 0."


def test_attempts_that_failed_have_no_exit_code_to_tell() -> None:
    assert exit_codes([execution(1, state=10)]) == ""


def test_a_failure_is_told_by_the_first_thing_that_went_wrong() -> None:
    ended = job(state=StateView(state_type="Failed", message="not enough nodes to run job"))
    first = event("no space left on device", IsError="true", Hint="Free some.")
    assert failure(ended, first) == ("no space left on device\n  In the end: not enough nodes to run job", "Free some.")


def test_a_failure_that_names_its_cause_is_not_told_twice() -> None:
    ended = job(state=StateView(state_type="Failed", message="e-1 failed: out of memory"))
    assert failure(ended, event("out of memory", IsError="true"))[0] == "e-1 failed: out of memory"
    assert failure(ended, None)[0] == "e-1 failed: out of memory"


def test_a_failure_by_an_exit_code_does_not_begin_with_what_was_published_all_the_same() -> None:
    code = "The task ended with exit code 3."
    first = event(f"Result published and verified, 344 bytes, 5 entries. {code}", IsError="true")
    assert failure(job(state=StateView(state_type="Failed", message=code)), first)[0] == code
    last = f"{code} (the last of 2 attempts)"
    assert failure(job(state=StateView(state_type="Failed", message=last)), first)[0] == last


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Failed: the task ended with exit code 3", "The task ended with exit code 3."),
        (
            "Failed: the task ended with exit code 3; its result is published, 9 bytes, 3 entries",
            "The task ended with exit code 3.",
        ),
        (
            "Failed: the task ended with exit code 3. Its result was not published: no room",
            "The task ended with exit code 3. Its result was not published: no room.",
        ),
    ],
)
def test_a_failure_by_an_exit_code_is_told_once(message: str, reason: str) -> None:
    ended = job(state=StateView(state_type="Failed", message=reason))
    assert failure(ended, event(message, IsError="true"))[0] == reason


def test_a_history_has_the_parts_of_a_job_that_has_several() -> None:
    items = [event("Job submitted"), replace(event("Placed on node a"), partition_index=7)]
    first, submitted, placed = history_lines(items, NOW).splitlines()
    assert placed[first.index("PART") :].startswith("7     Scheduling  ")
    assert submitted.index("Scheduling") == first.index("TOPIC")
    assert "PART" not in history_lines([replace(items[1], partition_index=0)], NOW)


def test_what_is_next_after_a_failed_attempt_is_told() -> None:
    waits = "Waiting for its next attempt."
    assert waits_text(job(state=StateView(state_type="Queued", message=waits))) == waits
    assert waits_text(job(state=StateView(state_type="Running", details={WAITS_FOR: waits}))) == waits
    assert waits_text(job(state=StateView(state_type="Failed", message="out of memory"))) == ""


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("Waiting until 12:00:05 UTC for its next attempt.", "Waiting until 14:00:05 for its next attempt."),
        ("Waiting until 22:30:00 UTC", "Waiting until 2026-03-02 00:30:00"),
        ("rests until 2026-03-01 09:00:00 UTC, and", "rests until 11:00:00, and"),
        ("0000-99-99 12:00:00 UTC, 99:00:00 UTC", "0000-99-99 12:00:00 UTC, 99:00:00 UTC"),
    ],
)
def test_times_that_are_told_are_those_of_here(monkeypatch: pytest.MonkeyPatch, told: str, shown: str) -> None:
    monkeypatch.setenv("TZ", "Etc/GMT-2")
    time.tzset()
    try:
        assert in_local_time(told, datetime(2026, 3, 1, 12, tzinfo=UTC)) == shown
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_went_wrong_first_names_its_part_where_there_are_several() -> None:
    ended = job(state=StateView(state_type="Failed", message="not enough nodes to run job"), count=2)
    first = event("no space left on device", IsError="true")
    told, _ = failure(ended, first, [replace(execution(), partition_index=1)])
    assert told == "Part 1: no space left on device\n  In the end: not enough nodes to run job"


HOSTILE = "a\x9b31m\u202egnp.exe\x1b]0;x\x07\x7f\u2066\U000e0001"
texts = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(HOSTILE + "\n\t\r:#'\"")), max_size=30)
documents = st.recursive(
    texts, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)), max_leaves=6
)


def harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_what_is_printed_for_programs_steers_no_terminal(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = {"Name": HOSTILE, HOSTILE: [f"two\nlines {HOSTILE}", "Größe 数据 🐟"]}
    show(data, output, str)
    told = capsys.readouterr().out
    assert harmless(told)
    assert "Größe 数据 🐟" in told
    assert (json.loads(told) if output == "json" else yaml.safe_load(told)) == data


@given(documents)
def test_json_and_yaml_say_the_same_as_before(data: Any) -> None:
    for text in (json_text(data), json_text(data, indent=2)):
        assert harmless(text)
        assert json.loads(text) == data
    written = yaml_text(data)
    assert harmless(written)
    assert yaml.safe_load(written) == data


def test_a_request_that_is_wrong_itself_is_wrong_usage_whoever_says_so() -> None:
    assert _explained(InvalidInput("not a selector"), debug=False) == 2
    assert _explained(RemoteError("InvalidInput", "not a selector"), debug=False) == 2
    assert _explained(RemoteError("Conflict", "it has changed"), debug=False) == 1


def test_an_unexpected_error_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    _explained(ValueError(HOSTILE), debug=True)
    show_error(RemoteError(HOSTILE, HOSTILE, hint=HOSTILE, details={HOSTILE: HOSTILE}))
    assert harmless(click.unstyle(capsys.readouterr().err))


def test_no_line_of_a_foreign_text_looks_like_one_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    told = pairs({"Labels": "zone=eu\nStatus  CONNECTED", "Status": "DISCONNECTED"})
    assert told.splitlines() == ["Labels  zone=eu", "        Status  CONNECTED", "Status  DISCONNECTED"]
    show_error(JobFailed("j-1", "it broke\nHint:  send your keys", ""))
    lines = click.unstyle(capsys.readouterr().err).splitlines()
    assert [line for line in lines if line.startswith("Hint")] == ["Hint:  See `tarpon job describe j-1`."]
