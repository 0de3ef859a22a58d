"""Recovery: what a node does at its start with executions that an earlier process of it left behind."""

import asyncio
import logging
import time
from collections.abc import Mapping

from msgspec.structs import replace

from compute.engines.engine import Engine, OutlivingEngine
from compute.executions.held import Executions
from compute.journal.entry import DamagedEntry, Entry, Happening, Phase
from compute.journal.journal import Journal
from compute.journal.kept_results import may_be_torn
from compute.uplink.reports import ReportSender
from shared.jobs.states import FailureReason
from shared.protocol.messages import ExecutionFailed
from shared.runtime.log_lines import about

_log = logging.getLogger(__name__)

_RESTARTED = "The node was restarted while the execution was on it."
_TORN = "The node's machine went down before the result was published, and may have lost a part of it."


async def recover(
    journal: Journal, engines: Mapping[str, Engine], executions: Executions, reports: ReportSender
) -> None:
    """Fail what was not finished, publish what was finished, tell again what was told.

    A task that was started in an engine that outlives the node goes on.
    """
    for found in await asyncio.to_thread(lambda: list(journal.recover())):
        match found:
            case DamagedEntry(execution_id, why):
                fact = ExecutionFailed(
                    reason=FailureReason.NODE_ERROR.value, detail=f"The node's journal is damaged: {why}"[:500]
                )
                reports.tell(execution_id, Happening(fact=fact, at=time.time()), urgent=True)
            case Entry(phase=Phase.STARTED) if _goes_on(found, engines):
                executions.adopt(found)
            case Entry(phase=Phase.ACCEPTED | Phase.STARTED):
                executions.adopt(await _failed(found, journal, engines, _RESTARTED))
            case Entry() if may_be_torn(found):
                executions.adopt(await _failed(found, journal, engines, _TORN))
            case Entry():
                executions.adopt(found)


async def _failed(entry: Entry, journal: Journal, engines: Mapping[str, Engine], why: str) -> Entry:
    engine = _engine(entry, engines)
    if engine is not None:
        killed = await asyncio.to_thread(engine.end_left_over, entry.process, entry.execution_id)
        if killed:
            told = "Ended %d left-over processes of execution %s."
            _log.warning(told, killed, entry.execution_id, extra=about(execution=entry.execution_id))
    fact = ExecutionFailed(reason=FailureReason.NODE_RESTARTED.value, detail=why)
    failed = replace(
        entry, phase=Phase.FAILED, process=None, happenings=(*entry.happenings, Happening(fact=fact, at=time.time()))
    )
    try:
        await asyncio.to_thread(journal.workspace(entry).discard)
        await journal.write(failed)
    except OSError as error:
        told = "The journal of execution %s cannot be brought up to date: %s"
        _log.warning(told, entry.execution_id, error, extra=about(execution=entry.execution_id))
    return failed


def _goes_on(entry: Entry, engines: Mapping[str, Engine]) -> bool:
    engine = _engine(entry, engines)
    if isinstance(engine, OutlivingEngine):
        engine.keep(entry.execution_id)
        return True
    return False


def _engine(entry: Entry, engines: Mapping[str, Engine]) -> Engine | None:
    return engines.get(entry.assignment.task.engine.type.lower())
