"""How a node's facts travel, over a real stream."""

import time

from compute.journal_entry import Happening
from compute.reports import Reports
from shared import messages, subjects
from shared.aio import background
from shared.ids import ExecutionId, NodeId
from shared.messages import AnyFact, ExecutionCancelled, ExecutionProgressed, ExecutionStarted
from tests.nats_bus import Bus

EXECUTION = ExecutionId("e-1")
NODE = NodeId("node-a")


def happening(fact: AnyFact) -> Happening:
    return Happening(fact=fact, at=time.time())


async def test_progress_travels_apart_from_what_an_older_orchestrator_understands(bus: Bus) -> None:
    """Such a one sets aside the whole report that holds a fact which it does not know."""
    reports = Reports(bus.connection, subjects.node_reports(NODE))
    pulling, pulled = ExecutionProgressed(detail="Pulling"), ExecutionProgressed(detail="Pulled")
    for fact in (pulling, pulled, ExecutionStarted(), ExecutionCancelled()):
        reports.tell(EXECUTION, happening(fact), urgent=True)
    async with (
        bus.connection.subscribe(subjects.node_reports(NODE)) as received,
        background(reports=reports.run()),
    ):
        heard = [messages.decode(messages.report, (await anext(received)).payload) for _ in range(2)]
        await reports.all_sent()
    assert [[type(fact) for fact in report.facts] for report in heard] == [
        [ExecutionProgressed, ExecutionProgressed],
        [ExecutionStarted, ExecutionCancelled],
    ]
