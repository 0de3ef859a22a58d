"""How it looks why a job waits, or has ended as it did."""

from datetime import UTC, datetime
from typing import Any

from shared.jobs.spec import StateView
from shared.protocol.jobs.rest_waits import PartCounts, WaitsResponse
from tarpon.cli.job.why import _sections, waiting

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def found(state: str, message: str = "", **fields: Any) -> WaitsResponse:
    told = {"summary": f"it has ended ({state}), and waits for nothing"} | fields
    return WaitsResponse(job_id="j-1", job_version=2, state=StateView(state_type=state, message=message), **told)


def text(told: WaitsResponse) -> list[str]:
    return "\n".join(_sections(told, NOW)).splitlines()


def test_of_a_job_that_has_failed_the_reason_is_told_and_how_its_parts_ended() -> None:
    parts = PartCounts(total=100, completed=90, failed=3, stopped=5, never_begun=2)
    notes = ("NonZeroExitCode: The task ended with exit code 1.", "NodeLost: Its node is gone. (2 parts)")
    assert text(found("Failed", "The task ended with exit code 1.", parts=parts, notes=notes)) == [
        "Job j-1, version 2: Failed",
        "Why: The task ended with exit code 1.",
        "100 parts: 90 completed, 3 failed, 5 stopped, 2 never begun",
        "Failed: NodeLost: Its node is gone. (2 parts)",
        "`tarpon job describe j-1` has the details.",
    ]


def test_of_a_job_whose_parts_are_all_on_nodes_they_are_counted_once() -> None:
    parts = PartCounts(total=3, running=1, completed=2)
    counts = "it waits for no node: of 3 parts 1 running, 2 completed"
    assert text(found("Running", summary=counts, parts=parts))[1:] == ["3 parts: 1 running, 2 completed"]
    assert text(found("Running", summary=counts, parts=PartCounts(total=1, running=1)))[1:] == [counts]


def test_of_a_job_that_has_completed_its_parts_are_told() -> None:
    assert text(found("Completed", parts=PartCounts(total=1, completed=1))) == [
        "Job j-1, version 2: Completed",
        "1 part: 1 completed",
    ]


def test_of_a_job_that_was_stopped_it_is_told_by_what() -> None:
    parts = PartCounts(total=2, running=1, stopped=1)
    told = text(found("Stopped", "Job stopped: enough of it", parts=parts))
    assert told[1:3] == ["Why: Job stopped: enough of it", "2 parts: 1 stopped, 1 to stop yet"]


def test_what_a_job_waits_for_is_one_line_while_parts_of_it_are_on_no_node() -> None:
    assert (
        waiting(found("Pending", summary="1 node drained", parts=PartCounts(total=1, to_place=1))) == "1 node drained"
    )
    delayed = "of 1 parts 1 waiting for its next attempt"
    assert waiting(found("Pending", summary=f"it waits for no node: {delayed}")) == delayed
    assert waiting(found("Running", summary="it waits for no node: of 1 parts 1 running")) == ""
