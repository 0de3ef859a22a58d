"""Targets of ops jobs: the nodes that are chosen for one when its turn comes, and what becomes of those that go.

They are stored with the job before anything of it is placed, and never change, so that whoever leads next goes on with
the same. What a node that is gone was to run has failed; nothing waits for ever.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from orchestrator.nodes.presence import Nodes
from orchestrator.rules.fleet import Fleet, Lane
from orchestrator.rules.job_progress import job_transition
from orchestrator.rules.life_events import NotOffered, TargetsChosen
from orchestrator.rules.lifecycle import placed, transition
from orchestrator.rules.placement import Placement, Wanted, impossible, lane_for, placement_of
from orchestrator.rules.records import ExecutionRecord, about_execution
from orchestrator.rules.shortfalls import NodeAbsence, absence, matching, unready
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.ids import JobId, NodeId, execution_key, new_execution_id
from shared.jobs.states import FailureReason
from shared.runtime.aio import pipelined
from shared.runtime.log_lines import about

_log = logging.getLogger(__name__)

MOST_TARGETS = 2000
"""Of one job: its record has all their names."""
WRITES_AT_ONCE = 64

_Part = tuple[JobId, int, int]
"""A part of a version of a job."""


def never_placed(placement: Placement, why: str, *, incarnation: str = "", now: int) -> ExecutionRecord:
    """How a part ends that its node alone could have run, and will not. It was offered to nobody, who might be told."""
    key = execution_key(placement.job_id, placement.version, placement.partition, placement.attempt, incarnation)
    begun = placed(new_execution_id(key), placement, None, incarnation=incarnation, now=now).record
    return transition(replace(begun, events=()), NotOffered(FailureReason.NODE_GONE, why), now=now).record


class Targets:
    """`clock` gives monotonic seconds. Each look costs by the pending ops jobs and their parts."""

    def __init__(
        self, model: Model, store: Store, nodes: Nodes, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._model = model
        self._store = store
        self._nodes = nodes
        self._clock = clock
        self._unready: dict[_Part, float] = {}
        """Since when the nodes of parts cannot be given them, though they are there."""

    async def choose(self, jobs: Iterable[Wanted], fleet: Fleet) -> Mapping[JobId, str]:
        """Store the nodes of those jobs that have none yet; for which there are none is answered, and why."""
        chosen: list[tuple[Wanted, tuple[NodeId, ...]]] = []
        hopeless: dict[JobId, str] = {}
        for each in jobs:
            if each.targets:
                continue
            lane = lane_for(each, fleet)
            joining = next((node for node in lane.suitable if self._nodes.is_joining(node)), None)
            found = matching(lane, self._nodes.is_registered)
            if joining is not None:
                self._model.backlog.explain(each.job_id, f"Waiting for node {joining} to register: it may match too.")
            elif len(found) > MOST_TARGETS:
                hopeless[each.job_id] = f"{len(found):,} nodes match, and an ops job has {MOST_TARGETS:,} at most."
            elif found:
                chosen.append((each, found))
            else:
                hopeless[each.job_id] = self._why_none(each, lane, fleet)
        for job, why in hopeless.items():
            self._model.backlog.explain(job, why)
        await pipelined(chosen, self._store_targets, at_once=WRITES_AT_ONCE)
        return hopeless

    def _why_none(self, wanted: Wanted, lane: Lane, fleet: Fleet) -> str:
        absent = {node: unready(each) or "is not connected" for node, each in lane.suitable.items()}
        return impossible(wanted, absent | lane.reasons, are_others=bool(fleet.nodes))

    async def _store_targets(self, found: tuple[Wanted, tuple[NodeId, ...]]) -> None:
        wanted, nodes = found
        entry = self._model.jobs.get(wanted.job_id)
        if entry is None or entry.job.version != wanted.version:
            return
        step = job_transition(entry.job, entry.progress.state, TargetsChosen(nodes), now=now_ns())
        self._model.backlog.unexplain(entry.id)
        if step.record is not entry.job and await changes.update(self._store, step.record):
            _log.info("Job %s runs on %d nodes.", entry.id, len(nodes), extra=about(job=entry.id))

    async def end_gone(self, jobs: Iterable[Wanted], fleet: Fleet) -> None:
        """End the parts whose nodes will not run them any more, or could not for as long as one is waited for."""
        gone: list[tuple[Placement, str]] = []
        seen: dict[_Part, float] = {}
        now = self._clock()
        for each in jobs:
            lane = lane_for(each, fleet)
            for partition, attempt in each.missing if each.targets else ():
                node, part = each.targets[partition], (each.job_id, each.version, partition)
                absence = self._absence(node, lane, fleet)
                if absence is None:
                    continue
                since = self._unready.get(part, now)
                if absence.is_final or now - since >= self._nodes.return_seconds:
                    gone.append((placement_of(each, partition, attempt, node), absence.why))
                else:
                    seen[part] = since
        self._unready = seen
        await pipelined(gone, lambda each: self._end(*each), at_once=WRITES_AT_ONCE)

    def _absence(self, node: NodeId, lane: Lane, fleet: Fleet) -> NodeAbsence | None:
        is_known = node in self._model.nodes
        return absence(node, lane, fleet, is_known=is_known, is_rejected=self._nodes.is_rejected(node))

    async def _end(self, placement: Placement, why: str) -> None:
        record = never_placed(placement, why, incarnation=self._model.incarnation, now=now_ns())
        if await changes.create(self._store, record):
            _log.info("Execution %s will not be: %s", record.id, why, extra=about_execution(record))

    def __repr__(self) -> str:
        return f"<Targets, {len(self._unready)} of which are not ready>"
