"""What the HTTP API's shapes promise to programs that know the reference."""

import msgspec
import pytest

from shared.jobs.spec import JobView, StateView
from shared.jobs.states import DesiredState, ExecutionState, JobState
from shared.protocol.rest import (
    ExecutionView,
    ResultItem,
    ResultParams,
    RunOutputView,
    desired_state_name,
    desired_state_number,
    execution_state_name,
    execution_state_number,
)


@pytest.mark.parametrize(
    ("state", "number"),
    [
        (ExecutionState.NEW, 1),
        (ExecutionState.REJECTED, 4),
        (ExecutionState.ACCEPTED, 5),
        (ExecutionState.RUNNING, 6),
        (ExecutionState.PUBLISHING, 7),
        (ExecutionState.COMPLETED, 9),
        (ExecutionState.FAILED, 10),
        (ExecutionState.CANCELLED, 11),
    ],
)
def test_states_of_executions_have_the_numbers_of_the_reference(state: ExecutionState, number: int) -> None:
    assert execution_state_number(state) == number
    assert execution_state_name(number) == state.value


@pytest.mark.parametrize("state", list(ExecutionState))
def test_every_state_of_an_execution_has_a_number(state: ExecutionState) -> None:
    assert execution_state_name(execution_state_number(state)) == state


@pytest.mark.parametrize("state", list(DesiredState))
def test_every_desired_state_has_a_number(state: DesiredState) -> None:
    assert desired_state_name(desired_state_number(state)) == state


def test_a_number_from_the_future_is_shown_and_no_error() -> None:
    assert execution_state_name(42) == "Unknown(42)"
    assert desired_state_name(-1) == "Unknown(-1)"


def test_a_result_never_shows_its_url() -> None:
    item = ResultItem(params=ResultParams(pre_signed_url="https://host/key?X-Amz-Signature=secret"))
    assert "secret" not in f"{item} {item!r} {item.params}"


def test_stderr_is_written_as_the_reference_writes_it() -> None:
    assert set(msgspec.to_builtins(RunOutputView())) == {
        "Stdout",
        "StdoutTruncated",
        "stderr",
        "StderrTruncated",
        "ExitCode",
        "ErrorMsg",
    }


def test_a_field_that_a_newer_server_adds_is_ignored() -> None:
    view = msgspec.json.decode(b'{"ID":"e-1","JobID":"j-1","Colour":"red"}', type=ExecutionView)
    assert (view.id, view.job_id) == ("e-1", "j-1")


def test_states_are_names_in_python_whatever_number_the_wire_has() -> None:
    numbered = b'{"ID":"e-1","JobID":"j-1","ComputeState":{"StateType":%d},"DesiredState":{"StateType":%d}}'
    read = msgspec.json.Decoder(ExecutionView).decode
    known = read(numbered % (9, 2))
    assert (known.state, known.desired) == (ExecutionState.COMPLETED, DesiredState.STOPPED)
    assert isinstance(known.state, ExecutionState)
    assert known.state == "Completed"
    unknown = read(numbered % (2, 7))
    assert (unknown.state, unknown.desired) == ("AskForBid", "Unknown(7)")
    for state in JobState:
        told = StateView(state_type=state.value)
        assert JobView(id="j", state=told, version=1, revision=1, create_time=0, modify_time=0).status is state
