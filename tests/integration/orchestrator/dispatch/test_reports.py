"""How a node's facts travel, over a real stream."""

import time

from compute.journal.entry import Happening
from compute.uplink.reports import ReportSender
from shared.ids import ExecutionId, NodeId
from shared.protocol import messages, subjects
from shared.protocol.messages import (
    AnyFact,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionProgressed,
    ExecutionStarted,
    Report,
)
from shared.runtime.aio import background
from tests.nats_bus import Bus

EXECUTION = ExecutionId("e-1")
NODE = NodeId("node-a")
EXECUTIONS = 20


def happening(fact: AnyFact) -> Happening:
    return Happening(fact=fact, at=time.time())


async def test_progress_travels_apart_from_what_an_older_orchestrator_understands(bus: Bus) -> None:
    """Such a one sets aside the whole report that holds a fact which it does not know."""
    reports = ReportSender(bus.connection, subjects.node_reports(NODE))
    pulling, pulled = ExecutionProgressed(detail="Pulling"), ExecutionProgressed(detail="Pulled")
    for fact in (pulling, pulled, ExecutionStarted(), ExecutionCancelled()):
        reports.tell(EXECUTION, happening(fact), urgent=True)
    async with (
        bus.connection.subscribe(subjects.node_reports(NODE)) as received,
        background(reports=reports.run()),
    ):
        heard = [report for _ in range(2) for report in each_report((await anext(received)).payload)]
        await reports.all_sent()
    assert [[type(fact) for fact in report.facts] for report in heard] == [
        [ExecutionProgressed, ExecutionProgressed],
        [ExecutionStarted, ExecutionCancelled],
    ]


def each_report(payload: bytes) -> tuple[Report, ...]:
    message = messages.decode(messages.reports, payload)
    if isinstance(message, Report):
        return (message,)
    return tuple(messages.decode(messages.report, each) for each in message.reports)


async def told(bus: Bus, reports: ReportSender) -> list[tuple[Report, ...]]:
    """The reports in each message until all are sent."""
    async with bus.connection.subscribe(subjects.node_reports(NODE)) as received, background(reports=reports.run()):
        heard = [each_report((await anext(received)).payload)]
        await reports.all_sent()
        while sum(map(len, heard)) < EXECUTIONS:
            heard.append(each_report((await anext(received)).payload))
        return heard


def reports_of_many(bus: Bus, detail: str = "") -> ReportSender:
    reports = ReportSender(bus.connection, subjects.node_reports(NODE))
    for number in range(EXECUTIONS):
        reports.tell(ExecutionId(f"e-{number}"), happening(ExecutionFailed(reason="?", detail=detail)), urgent=True)
    return reports


async def test_executions_that_end_together_are_told_together_where_that_is_understood(bus: Bus) -> None:
    reports = reports_of_many(bus)
    reports.together = True
    heard = await told(bus, reports)
    assert len(heard) <= 2
    ids = [report.execution_id for message in heard for report in message]
    assert sorted(ids) == sorted(f"e-{number}" for number in range(EXECUTIONS))


async def test_an_orchestrator_that_may_be_older_hears_of_each_execution_by_itself(bus: Bus) -> None:
    heard = await told(bus, reports_of_many(bus))
    assert [len(message) for message in heard] == [1] * EXECUTIONS


async def test_reports_that_do_not_fit_into_one_message_travel_in_several(bus: Bus) -> None:
    reports = reports_of_many(bus, detail="x" * 50_000)
    reports.together = True
    heard = await told(bus, reports)
    assert 1 < max(map(len, heard)) < 6
    assert sum(map(len, heard)) == EXECUTIONS


async def test_what_is_urgent_waits_for_nothing_and_takes_along_what_was_held(bus: Bus) -> None:
    reports = ReportSender(bus.connection, subjects.node_reports(NODE))
    reports.tell(EXECUTION, happening(ExecutionStarted()), urgent=False)
    reports.tell(EXECUTION, happening(ExecutionCancelled()), urgent=True)
    async with bus.connection.subscribe(subjects.node_reports(NODE)) as received, background(reports=reports.run()):
        (report,) = each_report((await anext(received)).payload)
    assert [type(fact) for fact in report.facts] == [ExecutionStarted, ExecutionCancelled]


async def test_what_nothing_follows_is_told_after_a_moment(bus: Bus) -> None:
    reports = ReportSender(bus.connection, subjects.node_reports(NODE))
    for number in range(EXECUTIONS):
        reports.tell(ExecutionId(f"e-{number}"), happening(ExecutionStarted()), urgent=False)
    assert len(await told(bus, reports)) == EXECUTIONS
