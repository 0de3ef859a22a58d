"""What fits on a terminal, and what never gets there."""

import io
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from shared.errors import NotFound
from shared.jobs.spec import LEFT_OUT_COUNT, JobView, StateView
from shared.protocol.rest import ExecutionView, InputsView, JobResponse, Page
from tarpon.cli.console import output
from tarpon.cli.console.outcomes import show_error
from tarpon.cli.console.output import pairs, table
from tarpon.cli.display.job_text import description, exit_text, jobs_table

KEY = "Publishers.Types.S3Managed.PreSignedURLExpiration"
ADDRESS = "nats://a.example.com:4222,nats://b.example.com:4222"
ORIGIN = "file /etc/tarpon/orchestrator.yaml"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "terminal_width", lambda: 80)


def without_styles(text: str) -> str:
    return text.replace("\x1b[1m", "").replace("\x1b[0m", "")


@pytest.mark.parametrize(
    "row", [[KEY, ADDRESS, ORIGIN], ["short", "x" * 300, "y" * 300], ["z" * 200, "a", "b"], ["a", "b", "c" * 100]]
)
def test_on_a_terminal_rows_are_folded_and_nothing_is_cut_off(terminal: None, row: list[str]) -> None:
    lines = without_styles(table(["KEY", "VALUE", "ORIGIN"], [row])).splitlines()
    assert all(len(line) <= 80 for line in lines)
    shown = "".join(lines[1:])
    for cell in row:
        assert all(shown.count(char) >= cell.count(char) for char in set(cell) - {" "})
    assert row[0] in shown or len(row[0]) > 60, "what a row is about is not folded as long as it fits"


def test_a_pipe_gets_one_line_for_each_row() -> None:
    assert table(["KEY", "VALUE"], [[KEY, "x" * 300]]).splitlines()[1] == f"{KEY}  {'x' * 300}"


def test_no_cell_and_no_value_can_steer_a_terminal() -> None:
    assert table(["NAME"], [["\x1b[2J"]]).splitlines()[1] == "\\x1b[2J"
    assert pairs({"Name": "a\x1b[2J"}) == "Name  a\\x1b[2J"


def test_no_error_can_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(NotFound("a\x1b[2J", hint="b\x07", details={"c\x1b": "d\x1b"}))
    told = capsys.readouterr().err
    assert "\x07" not in told
    assert "a\\x1b[2J" in told
    assert "c\\x1b: d\\x1b" in told


def test_the_width_of_what_is_no_terminal_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert output.terminal_width() == 0


def test_a_job_whose_results_are_not_whole_is_marked() -> None:
    job = JobView(
        id="j-1",
        name="j-1",
        type="batch",
        state=StateView(state_type="Completed", details={LEFT_OUT_COUNT: "1200"}),
        version=1,
        revision=1,
        create_time=0,
        modify_time=0,
    )
    now = datetime(2023, 11, 14, 12, tzinfo=UTC)
    assert "Completed (1,200 left out)" in jobs_table([job], now)
    assert "Completed (1,200 left out)" in description(JobResponse(job=job), now)
    whole = replace(job, state=StateView(state_type="Completed"))
    assert "left out" not in jobs_table([whole], now)


def test_what_executions_read_is_shown_with_the_first_names() -> None:
    job = JobView(
        id="j-1",
        name="j-1",
        type="batch",
        state=StateView(state_type="Running"),
        version=1,
        revision=1,
        create_time=0,
        modify_time=0,
    )
    reads = [
        InputsView(files=20, size=4 << 20, names=("a", "b\x1b", "c")),
        InputsView(files=1, size=1, names=("d",)),
        None,
    ]
    executions = tuple(
        ExecutionView(id=f"e-{part}", job_id="j-1", partition_index=part, inputs=each)
        for part, each in enumerate(reads)
    )
    text = description(JobResponse(job=job, executions=Page(items=executions)), datetime(2023, 11, 14, 12, tzinfo=UTC))
    assert "e-0  part 0  4.0 MiB in 20 files: a, b" in text
    assert "c, ..." in text
    assert "\x1b" not in text
    assert "e-1  part 1  1 B in 1 file: d\n" in f"{text}\n"


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        ({}, ""),
        ({0: 1}, "0"),
        ({137: 1}, "137"),
        ({0: 2}, "0x2"),
        ({1: 2, 0: 18}, "0x18 1x2"),
        (dict.fromkeys(range(6), 1), "0x1 1x1 2x1 3x1 and 2 more"),
    ],
    ids=str,
)
def test_exit_codes_are_told_shortly(codes: dict[int, int], told: str) -> None:
    assert exit_text(codes) == told
