"""Judgements about replicas: the verdicts that follow from what they have answered are written down, and told.

Who is outvoted is noted against the node before the execution is failed for it, so that a leader that dies in between
leaves a note that the next one finds, and none is ever written twice.
"""

import asyncio
import logging
from collections.abc import Callable

from msgspec.structs import replace

from orchestrator.dispatch.answers import ReplicaAnswers
from orchestrator.dispatch.steps import Steps
from orchestrator.rules.life_events import ExecutionEvent
from orchestrator.rules.records import MOST_DIFFERENCES, ExecutionRecord, NodeDifference, about_execution
from orchestrator.rules.replicas.agreement import ReplicaVerdict, Ruling, event_of, is_false
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from orchestrator.telemetry.measures import Measures
from shared.errors import MessagingUnavailable, StorageUnavailable
from shared.ids import ExecutionId
from shared.runtime.aio import pipelined

_log = logging.getLogger(__name__)

AT_ONCE = 64
COMPARED_AT_ONCE = 4
COMPARE_SECONDS = 5.0
"""How long the manifests of two results may take to be compared; after that it is not told where they differ."""
RETRY_SECONDS = 0.5
SHOWN_DIGITS = 16
MAX_DETAIL = 500


class Judgements:
    """The leader's. `on_verified` is called once the result of an execution counts, and that is stored."""

    def __init__(
        self,
        model: Model,
        store: Store,
        steps: Steps,
        answers: ReplicaAnswers,
        *,
        measures: Measures,
        on_verified: Callable[[ExecutionId], None],
    ) -> None:
        self._model = model
        self._store = store
        self._steps = steps
        self._answers = answers
        self._measures = measures
        self._on_verified = on_verified
        self._wanted = asyncio.Event()

    def look(self) -> None:
        """Something has changed: there may be verdicts to be carried out."""
        if self._model.backlog.judged:
            self._wanted.set()

    async def run(self) -> None:
        """Carry out verdicts until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._judge()
            except MessagingUnavailable as error:
                _log.info("No replicas are judged at present: %s", error.message)
                await asyncio.sleep(RETRY_SECONDS)
                self._wanted.set()

    async def _judge(self) -> None:
        """To tell where results differ may take its time, in which what is agreed about meanwhile does not wait."""
        others = await self._accept_all()
        for begin in range(0, len(others), COMPARED_AT_ONCE):
            some = others[begin : begin + COMPARED_AT_ONCE]
            await pipelined(some, self._turn_down, at_once=COMPARED_AT_ONCE)
            await self._accept_all()

    async def _accept_all(self) -> list[ReplicaVerdict]:
        """What is agreed about; the other verdicts that there are."""
        verdicts = [each for job in self._model.backlog.judged for each in self._model.jobs[job].progress.verdicts]
        agreed = [each for each in verdicts if each.ruling is Ruling.AGREED]
        await pipelined(agreed, self._accept, at_once=AT_ONCE)
        return [each for each in verdicts if each.ruling is not Ruling.AGREED]

    async def _accept(self, verdict: ReplicaVerdict) -> None:
        entry = self._model.jobs.get(verdict.record.job_id)
        said = entry.specs[verdict.record.job_version].verification if entry is not None else None
        if said:
            await self._carry_out(verdict, f"{said.quorum} of {said.replicas} replicas agree")

    async def _turn_down(self, verdict: ReplicaVerdict) -> None:
        entry = self._model.jobs.get(verdict.record.job_id)
        if entry is None:
            return
        why = await self._why(entry, verdict)
        if verdict.ruling is Ruling.OUTVOTED and not await self._note(verdict.record, why):
            self._wanted.set()  # somebody else has just changed what is known of the node
            return
        if await self._carry_out(verdict, why) and verdict.ruling is Ruling.OUTVOTED:
            self._measures.outvoted += 1
            told = "Node %s gave another result of execution %s than others agree about: %s"
            about = about_execution(verdict.record)
            _log.warning(told, verdict.record.node_id, verdict.record.id, why, extra=about)

    async def _carry_out(self, verdict: ReplicaVerdict, why: str) -> bool:
        """Whether it was, as what follows from the records is still the same."""

        def still(record: ExecutionRecord) -> ExecutionEvent | None:
            entry = self._model.jobs.get(record.job_id)
            now = entry.progress.verdicts if entry is not None else ()
            is_same = any(each.record.id == record.id and each.ruling is verdict.ruling for each in now)
            return event_of(verdict, why) if is_same else None

        taken = await self._steps.happen(verdict.record.id, still)
        if taken is None or not taken.has_moved:
            return False
        if taken.step.record.has_counting_result:
            self._on_verified(verdict.record.id)
        return True

    async def _why(self, entry: JobEntry, verdict: ReplicaVerdict) -> str:
        """In a sentence: both digests, and where the results differ first, as far as that can be told."""
        record, rival = verdict.record, verdict.rival
        if rival is None:
            return "The replicas of this part have not agreed."
        said = entry.specs[record.job_version].verification
        quorum = f"{said.quorum} of {said.replicas} replicas" if said else "replicas"
        differ = f"{_told(record)}, and {_told(rival)}"
        where = await self._where(entry, record, rival)
        if verdict.ruling is Ruling.OUTVOTED:
            return f"{quorum} agree about another result: {differ}{where}."[:MAX_DETAIL]
        return f"{quorum} have to agree, and cannot any more: {differ}{where}."[:MAX_DETAIL]

    async def _where(self, entry: JobEntry, record: ExecutionRecord, rival: ExecutionRecord) -> str:
        said = entry.specs[record.job_version].verification
        try:
            paths = await self._answers.differing(record, rival, said.of if said else "", within=COMPARE_SECONDS)
        except (TimeoutError, StorageUnavailable):
            return ""
        return f". They differ first at {', '.join(paths)}" if paths else ""

    async def _note(self, record: ExecutionRecord, why: str) -> bool:
        """Whether it is noted against the node, by this leader or by one that died before it went on."""
        known = self._model.nodes.get(record.node_id)
        if known is None or any(each.execution == record.id for each in known.differences):
            return True
        difference = NodeDifference(execution=record.id, job=record.job_id, time=now_ns(), detail=why)
        differences = (*known.differences, difference)[-MOST_DIFFERENCES:]
        after = replace(known, differences=differences, differed=known.differed + 1)
        return await changes.update(self._store, after)

    def __repr__(self) -> str:
        return f"<Judgements about {len(self._model.backlog.judged)} jobs>"


def _told(record: ExecutionRecord) -> str:
    code = record.output.exit_code if record.output is not None else 0
    what = "another digest than its manifest has" if is_false(record.answer) else record.answer[:SHOWN_DIGITS]
    return f"node {record.node_id} gave {what}{f' and exit code {code}' if code else ''}"
