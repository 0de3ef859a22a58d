"""What a task wrote is told with the bytes up to which it was, so that whoever lost the connection goes on there."""

import pytest
from msgspec.structs import replace

from orchestrator.api.logs import _Frames
from orchestrator.jobs.task_output import STDERR, STDOUT, Begin, End, Piece, _kept, chosen
from orchestrator.rules.location import Location
from orchestrator.rules.records import ExecutionRecord, Failure, VerifiedResult
from orchestrator.state.model import Model
from shared.ids import ExecutionId, JobId
from shared.jobs.capacity import Capacity
from shared.jobs.states import ExecutionState, FailureReason
from shared.protocol import subjects
from shared.protocol.messages import ReadOutput, RunOutput
from shared.protocol.rest import LogEnd, LogFrame, LogLine, LogPlace
from tests.builders import JOB, new_execution, new_job, new_job_record

ID = ExecutionId("e-1")
FROM_THE_BEGINNING = ReadOutput(execution_id=ID)
RESULT = VerifiedResult(etag="e", size_bytes=1, sha256="")


def record(output: RunOutput | None, *, result: VerifiedResult | None = None, deleted: int = 0) -> ExecutionRecord:
    return new_execution(
        ExecutionState.COMPLETED,
        id=ID,
        resources=Capacity(),
        location=Location(bucket="b", key="k", region="r"),
        output=output,
        result=result,
        result_deleted=deleted,
    )


class TestChosen:
    def test_of_replicas_none_is_shown_that_others_agree_against(self) -> None:
        model = Model(max_attempts=1)
        model.apply(subjects.job_record(JobId(JOB)), new_job_record(JOB, first=new_job(JOB, namespace="default")), 1)
        failure = Failure(reason=FailureReason.RESULT_DIFFERS)
        for attempt, state in enumerate((ExecutionState.COMPLETED, ExecutionState.FAILED, ExecutionState.CANCELLED)):
            replica = new_execution(
                state,
                attempt=attempt,
                owner=f"of-{attempt}",
                answer="a",
                create_time=attempt + 1,
                result=RESULT,
                failure=failure if state is ExecutionState.FAILED else None,
            )
            model.apply(replica.key, replica, attempt + 2)
        assert chosen(model.jobs[JobId(JOB)], "", 1).state is ExecutionState.COMPLETED


class TestFrames:
    def test_half_a_character_is_told_with_its_other_half_and_counts_when_it_is(self) -> None:
        frames = _Frames(FROM_THE_BEGINNING)
        first = "aä".encode()
        assert list(frames.of(Piece(STDOUT, 0, first[:2]))) == [
            LogFrame(value=LogLine(type=STDOUT, line="a"), place=LogPlace(execution_id=ID, stdout=1))
        ]
        assert list(frames.of(Piece(STDOUT, 2, first[2:]))) == [
            LogFrame(value=LogLine(type=STDOUT, line="ä"), place=LogPlace(execution_id=ID, stdout=3))
        ]

    def test_half_a_character_at_the_end_is_told_as_what_it_is(self) -> None:
        frames = _Frames(FROM_THE_BEGINNING)
        assert list(frames.of(Piece(STDERR, 0, b"a\xc3"))) != []
        assert list(frames.of(End(is_whole=True))) == [
            LogFrame(
                value=LogLine(type=STDERR, line="\N{REPLACEMENT CHARACTER}"),
                place=LogPlace(execution_id=ID, stderr=2),
            ),
            LogFrame(end=LogEnd(whole=True)),
        ]

    def test_half_a_character_whose_rest_is_elsewhere_is_not_told(self) -> None:
        frames = _Frames(FROM_THE_BEGINNING)
        (frame,) = frames.of(Piece(STDOUT, 0, b"a\xc3"))
        assert frame.place == LogPlace(execution_id=ID, stdout=1)
        assert list(frames.of(End(is_whole=False))) == [LogFrame(end=LogEnd(whole=False))]

    def test_the_last_lines_alone_begin_where_they_begin_in_the_whole(self) -> None:
        frames = _Frames(ReadOutput(execution_id=ID, tail_lines=1))
        assert [frame.place for frame in frames.of(Begin(stdout=70, stderr=9))] == [
            LogPlace(execution_id=ID, stdout=70, stderr=9)
        ]


class TestRecord:
    def test_what_follows_the_last_byte_that_was_read_comes_from_the_record(self) -> None:
        kept = record(RunOutput(stdout="start\nend\n", stderr="oh\n"))
        order = replace(FROM_THE_BEGINNING, stdout_from=6)
        assert list(_kept(kept, order)) == [Piece(STDOUT, 6, b"end\n"), Piece(STDERR, 0, b"oh\n"), End(is_whole=True)]

    def test_of_the_last_lines_the_record_has_those_that_were_asked_for(self) -> None:
        order = ReadOutput(execution_id=ID, tail_lines=1)
        assert list(_kept(record(RunOutput(stdout="start\nend\n")), order)) == [
            Piece(STDOUT, 6, b"end\n"),
            End(is_whole=True),
        ]

    def test_what_is_beyond_the_record_is_not_whole(self) -> None:
        cut = record(RunOutput(stdout="start\n", stdout_truncated=True), result=RESULT)
        assert list(_kept(cut, replace(FROM_THE_BEGINNING, stdout_from=6))) == [End(is_whole=False)]
        assert list(_kept(cut, FROM_THE_BEGINNING)) == [Piece(STDOUT, 0, b"start\n"), End(is_whole=False)]

    @pytest.mark.parametrize("deleted", [0, 1])
    def test_bytes_that_are_no_text_come_from_the_result_while_there_is_one(self, deleted: int) -> None:
        output = RunOutput(stdout="a\N{REPLACEMENT CHARACTER}b\n")
        told = [] if not deleted else [Piece(STDOUT, 0, output.stdout.encode())]
        found = list(_kept(record(output, result=RESULT, deleted=deleted), FROM_THE_BEGINNING))
        assert found == [*told, End(is_whole=bool(deleted))]

    def test_an_execution_that_told_nothing_of_its_output_is_not_whole(self) -> None:
        assert list(_kept(record(None), FROM_THE_BEGINNING)) == [End(is_whole=False)]
