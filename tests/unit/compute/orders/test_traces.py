"""A trace follows from records and journals, costs nothing where nobody wants it, and holds no text of a task."""

import subprocess
import sys
from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from compute.journal.entry import Entry, Happening, Phase, new_entry
from compute.orders.traces import ExecutionTraces
from shared.ids import NodeId
from shared.jobs.capacity import Capacity
from shared.protocol.messages import (
    AnyFact,
    ExecutionFailed,
    ExecutionStarted,
    OutputPublished,
    RunOutput,
    TaskEnded,
)
from shared.runtime.tracing import OFF, Place, Span, Tracing, place_of, root
from tests.builders import new_assignment

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Kept(Tracing):
    is_on = True

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def tell(self, spans: Iterable[Span]) -> None:
        self.spans += spans


def entry(*facts: tuple[float, AnyFact], traceparent: str = TRACEPARENT) -> Entry:
    assignment = new_assignment(resources=Capacity(), traceparent=traceparent)
    happenings = tuple(Happening(fact=fact, at=at) for at, fact in facts)
    return replace(new_entry(assignment), phase=Phase.PUBLISHED, happenings=happenings, accepted_at=10.0)


def told(held: Entry) -> dict[str, Span]:
    kept = Kept()
    ExecutionTraces(kept, NodeId("n-1")).on_over(held)
    return {span.name: span for span in kept.spans}


def seconds(span: Span) -> tuple[float, float]:
    return span.begin / 1e9, span.end / 1e9


def test_a_traceparent_is_a_place_and_back() -> None:
    place = place_of(TRACEPARENT)
    assert place == Place("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    assert place.traceparent == TRACEPARENT


def test_a_traceparent_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    place = place_of(TRACEPARENT.replace("00-4", "01-4").replace("-01", "-00"))
    assert place is not None
    assert not place.is_sampled


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        TRACEPARENT.upper(),
        TRACEPARENT + "\n",
        TRACEPARENT.replace("00-4", "ff-4"),
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
    ],
)
def test_what_is_no_traceparent_is_no_place(text: str) -> None:
    assert place_of(text) is None


def test_ids_follow_from_names_so_that_processes_agree() -> None:
    assert root("j-1.1") == root("j-1.1")
    assert len({root("j-1.1"), root("j-1.2"), root("j-1.1").below("e-1"), root("j-1.1").below("e-2")}) == 4
    assert place_of(root("j-1.1").traceparent) == root("j-1.1")


def test_a_node_tells_what_each_phase_took() -> None:
    output = RunOutput(stdout="not-to-be-told")
    published = OutputPublished(size_bytes=5, md5="", sha256="", entries=3, raw_bytes=9, archive_seconds=0.5)
    spans = told(entry((11, ExecutionStarted()), (13, TaskEnded(output=output, run_seconds=2)), (17, published)))
    assert seconds(spans["queue"]) == (10, 11)
    assert seconds(spans["run"]) == (11, 13)
    assert seconds(spans["archive"]) == (13, 13.5)
    assert seconds(spans["upload"]) == (13, 17)
    assert spans["report"].begin == 17_000_000_000
    assert spans["upload"].attributes["tarpon.result.size_bytes"] == 5
    assert spans["node"].parent == place_of(TRACEPARENT)
    assert "not-to-be-told" not in str(spans)


def test_a_failure_is_told_by_its_code_alone() -> None:
    spans = told(entry((11, ExecutionFailed(reason="DiskFull", detail="not-to-be-told"))))
    assert set(spans) == {"node", "queue", "report"}
    assert spans["node"].failure == "DiskFull"
    assert "not-to-be-told" not in str(spans)


def test_an_execution_that_nobody_traces_is_not_told() -> None:
    assert told(entry(traceparent="")) == {}
    ExecutionTraces(OFF, NodeId("n-1")).on_over(entry())


def test_where_tracing_is_off_nothing_of_it_is_imported() -> None:
    program = (
        "import asyncio, sys\n"
        "import compute.service, orchestrator.service, tarpon.__main__\n"
        "from shared.runtime.trace_export import open_tracing\n"
        "from shared.runtime.tracing import OFF\n"
        "async def main():\n"
        "    async with open_tracing('', service='s', name='n') as tracing:\n"
        "        assert tracing is OFF\n"
        "asyncio.run(main())\n"
        "print('heavy:', sorted({'opentelemetry', 'requests', 'google.protobuf'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout
