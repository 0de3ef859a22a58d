"""Which logs of a job are shown, and how what a task wrote is found in an archive and reaches a person."""

import gzip
import io
import tarfile
from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from shared.errors import ArchiveDamaged, InvalidInput, NotFound
from shared.extraction.announced import AnnouncedSize
from shared.protocol.rest import ExecutionView, NumberedState, RunOutputView
from tarpon.cli.display.task_output import TaskOutput, last_lines
from tarpon.cli.job.run_report import task_exit_code
from tarpon.cli.results.wanted_logs import WantedLogs, latest, named, others
from tarpon.results.logs import STDERR, STDOUT, OutputSink


def execution(name: str, *, part: int = 0, version: int = 1, created: int = 0, wrote: bool = True) -> ExecutionView:
    output = RunOutputView(stdout=name) if wrote else None
    return ExecutionView(
        id=name, job_id="j", partition_index=part, job_version=version, create_time=created, run_output=output
    )


def test_of_each_part_the_last_attempt_that_wrote_anything_counts() -> None:
    found = latest(
        [
            execution("e-c", part=1, created=3),
            execution("e-a", created=1),
            execution("e-b", created=2),
            execution("e-d", created=4, wrote=False),
            execution("e-e", part=2, version=2),
        ]
    )
    assert [each.id for each in found] == ["e-b", "e-c", "e-e"]


def test_the_exit_code_of_a_run_is_also_that_of_parts_whose_results_it_keeps() -> None:
    kept, again = execution("e-a", version=1), execution("e-b", part=1, version=2)
    failed = replace(kept, run_output=RunOutputView(exit_code=3))
    assert task_exit_code([failed, again]) == 3


def test_an_execution_is_named_by_its_id_or_the_beginning_of_it() -> None:
    executions = [execution("e-1"), execution("e-12"), execution("e-2")]
    assert named(executions, "e-1", "j").id == "e-1"
    assert named(executions, "e-2", "j").id == "e-2"
    with pytest.raises(InvalidInput, match="beginning of 3"):
        named(executions, "e", "j")
    with pytest.raises(NotFound, match="no execution 'x'"):
        named(executions, "x", "j")


def test_the_logs_of_one_part_are_those_of_its_executions() -> None:
    executions = [execution("e-a"), execution("e-b", part=1), execution("e-c", part=1, created=1)]
    wanted = WantedLogs(partition=1)
    assert [each.id for each in wanted.of_part(executions)] == ["e-b", "e-c"]
    assert others(executions, wanted) == {"e-a"}
    assert WantedLogs().of_part(executions) == executions


def test_a_part_is_at_its_end_when_an_attempt_at_it_has_completed() -> None:
    failed, completed = (
        replace(execution("e-a", part=1), compute_state=NumberedState(state_type=state)) for state in (10, 9)
    )
    assert not WantedLogs(partition=1).is_at_its_end([failed], "j"), "another attempt may follow"
    assert WantedLogs(partition=1).is_at_its_end([failed, completed], "j")
    assert not WantedLogs().is_at_its_end([completed], "j")


@pytest.mark.parametrize(
    ("data", "count", "last"),
    [
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\n\n", 1, b"\n"),
        (b"a\n", 5, b"a\n"),
        (b"a\n", 0, b""),
        (b"", 1, b""),
    ],
)
def test_the_last_lines_are_whole_lines(data: bytes, count: int, last: bytes) -> None:
    assert last_lines(data, count) == last


# ---- archives -----------------------------------------------------------------------------------------------------


def archive(files: Mapping[str, bytes], *, link: str = "") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        if link:
            member = tarfile.TarInfo(link)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(member)
    return gzip.compress(packed.getvalue())


def streams(data: bytes, portion: int) -> dict[str, bytes]:
    found = {STDOUT: b"", STDERR: b""}

    def write(stream: str, piece: bytes) -> None:
        found[stream] += piece

    sink = OutputSink(write, AnnouncedSize())
    for at in range(0, len(data), portion):
        sink.feed(data[at : at + portion])
    sink.close()
    return found


@pytest.mark.parametrize("portion", [1, 7, 1 << 20])
def test_only_what_the_task_wrote_comes_out_of_an_archive(portion: int) -> None:
    files = {"exitCode": b"0", "outputs/stdout": b"not this", "./stderr": b"err", "stdout": b"out\n" * 500}
    assert streams(archive(files), portion) == {STDOUT: b"out\n" * 500, STDERR: b"err"}


def test_a_link_in_place_of_the_output_is_not_followed() -> None:
    assert streams(archive({}, link="stdout"), 512) == {STDOUT: b"", STDERR: b""}


def test_an_archive_that_is_cut_is_noticed() -> None:
    with pytest.raises(ArchiveDamaged):
        streams(archive({"stdout": b"x" * 5000})[:-20], 512)


# ---- terminals ----------------------------------------------------------------------------------------------------


class Terminal(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


def test_a_terminal_gets_no_character_that_could_steer_it(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Terminal(), Terminal()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    output = TaskOutput(tail=None)
    for piece in (b"\x1b[2J\xc3", b"\xa9\xff\n"):  # a character in two pieces, and a byte that is none
        output.write(STDOUT, piece)
    output.write(STDERR, b"\x07")
    output.end()
    assert out.shown == "\\x1b[2J\u00e9\ufffd\n"
    assert err.shown == "\\x07"


def test_a_pipe_gets_the_bytes_as_they_are(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output = TaskOutput(tail=1)
    output.write(STDOUT, b"one\n\x1b")
    output.write(STDOUT, b"\xff\n")
    output.end()
    assert capfdbinary.readouterr().out == b"\x1b\xff\n"
