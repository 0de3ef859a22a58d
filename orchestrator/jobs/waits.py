"""Waits of a job: what it waits for, found out when somebody asks, for every node, and told shortly.

The nodes are looked at in chunks with pauses, one question at a time; what was found is told to all jobs of the same
shape for a moment. So many who ask for many jobs cost little more than one, and slow nothing down.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import msgspec

from orchestrator.jobs import views
from orchestrator.jobs.ended_parts import ended_counts, failures_told
from orchestrator.nodes.presence import Nodes
from orchestrator.nodes.upload_progress import together, upload_of
from orchestrator.rules.attempts import is_refused
from orchestrator.rules.fleet import Shape, shape_of
from orchestrator.rules.records import ExecutionRecord
from orchestrator.rules.shortfalls import REFUSED, Attendance, asked_for, at_present, for_good, no_node_serves
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from orchestrator.storage.wall_clock import now_ns
from shared.ids import NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.replicas.verification import replicas_of
from shared.jobs.rules import capacity_of
from shared.jobs.states import ExecutionState, JobState
from shared.protocol.jobs.rest_waits import NodeWait, PartCounts, Standing, StandingCount, WaitsResponse

MOST_NODES = 1000
"""How many nodes one answer names at most."""
MOST_DOINGS = 5
CHUNK = 64
REST_FACTOR = 2.0
"""How much longer than it looks at nodes the orchestrator rests."""
KEPT_SECONDS = 1.0
MOST_KEPT = 64

_ORDER = {standing.value: number for number, standing in enumerate(Standing)}
_PHRASES: Mapping[Standing, str] = {
    Standing.READY: "with room",
    Standing.BUSY: "busy",
    Standing.RESTING: "resting",
    Standing.ON_TRIAL: "on trial",
    Standing.JOINING: "joining",
    Standing.STOPPING: "stopping",
    Standing.ENGINE_AWAY: "with its engine away",
    Standing.DISCONNECTED: "disconnected",
    Standing.DRAINED: "drained",
    Standing.UNFIT_LABELS: "with other labels",
    Standing.TOO_SMALL: "too small",
    Standing.NO_ENGINE: "without its engine",
    Standing.NO_PUBLISHER: "without its publisher",
    Standing.TOO_OLD: "too old",
    Standing.NO_INPUT: "without its kind of input",
    Standing.STORE_UNREACHABLE: "that cannot reach S3",
    Standing.UNAPPROVED: "not approved yet",
    Standing.NO_OWNER: "without an owner",
    Standing.REFUSED: "that refused it",
    Standing.REJECTED: "rejected",
    Standing.OTHER_PROTOCOL: "of another version",
    Standing.OTHER_NAMESPACE: "of another namespace",
}
"""After a number of nodes."""


class Look(msgspec.Struct, frozen=True):
    """What was found of all nodes for one shape: `nodes` are the first of them, by how soon it may run there."""

    at: float
    counts: Mapping[Standing, int]
    nodes: tuple[NodeWait, ...]


class JobWaits:
    """`leads` tells whether this orchestrator does: which nodes rest, and what they hold, only that one knows."""

    def __init__(
        self,
        model: Model,
        nodes: Nodes,
        *,
        unreachable: Callable[[], Mapping[NodeId, Mapping[str, str]]],
        leads: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._nodes = nodes
        self._unreachable = unreachable
        self._leads = leads
        self._clock = clock
        self._kept: dict[Shape, Look] = {}
        self._turn = asyncio.Lock()

    async def of(self, entry: JobEntry, most: int) -> WaitsResponse:
        """What the newest version of the job waits for; at most `most` nodes are named."""
        counts = ended_counts(entry) if entry.progress.state.is_terminal else part_counts(entry, now_ns())
        state = views.job_state(entry, self._model.backlog.reasons.get(entry.id, ""))
        told = WaitsResponse(
            job_id=entry.id,
            job_version=entry.job.version,
            state=state,
            summary=_without_nodes(state.state_type, counts),
            parts=counts,
        )
        if entry.progress.state.is_terminal:
            return msgspec.structs.replace(told, notes=tuple(failures_told(entry)))
        uploads = (upload_of(self._nodes, each) for each in entry.of_version())
        upload = together(each for each in uploads if each is not None)
        told = msgspec.structs.replace(told, notes=tuple(_doings(entry)), upload=upload)
        if entry.job.schedule is not None:
            return msgspec.structs.replace(told, summary=state.message)
        if entry.ready_at is None:
            return msgspec.structs.replace(told, summary=f"it waits for no node: {state.message}")
        if not counts.to_place:
            return told
        shape, resources = shape_of(entry.spec, entry.refusals), capacity_of(entry.spec.task.resources)
        look = await self._look(shape, resources, _own_nodes(entry))
        own = _own_words(entry)
        return msgspec.structs.replace(
            told,
            summary=summary(look.counts) if look.counts or not self._model.nodes else no_node_serves(shape.namespace),
            asks=asked_for(shape, resources),
            notes=(*told.notes, *self._notes(look)),
            standings=tuple(
                StandingCount(standing=each.value, nodes=look.counts[each]) for each in _sorted(look.counts)
            ),
            nodes_total=sum(look.counts.values()),
            nodes=tuple(_with_own(each, own) for each in look.nodes[: min(most, MOST_NODES)]),
        )

    def _notes(self, look: Look) -> Iterator[str]:
        if look.counts.get(Standing.READY):
            yield "A node with room is given jobs of a higher priority and older ones first."
        if not self._leads():
            yield "This orchestrator does not lead: which nodes rest or are on trial, only the one that leads knows."

    async def _look(self, shape: Shape, resources: Capacity, own_nodes: Collection[NodeId]) -> Look:
        """At all nodes, or at those alone that an ops job has."""
        async with self._turn:
            if own_nodes:
                return await self._anew(shape, resources, own_nodes)
            kept = self._kept.get(shape)
            if kept is None or self._clock() - kept.at > KEPT_SECONDS:
                kept = await self._anew(shape, resources)
                self._kept.pop(shape, None)
                self._kept[shape] = kept
                if len(self._kept) > MOST_KEPT:
                    del self._kept[next(iter(self._kept))]
            return kept

    async def _anew(self, shape: Shape, resources: Capacity, of: Collection[NodeId] = ()) -> Look:
        unreachable, found = self._unreachable(), list[NodeWait]()
        known = [node for node in of or self._model.nodes if self._model.serves(node, shape.namespace)]
        for first in range(0, len(known), CHUNK):
            began = time.monotonic()
            found += [
                self._wait(node, shape, resources, unreachable.get(node, {}))
                for node in known[first : first + CHUNK]
                if node in self._model.nodes  # else it was deleted meanwhile
            ]
            if first + CHUNK < len(known):
                await asyncio.sleep(REST_FACTOR * (time.monotonic() - began))
        counts = Counter(Standing(each.standing) for each in found)
        found.sort(key=lambda each: (_ORDER[each.standing], each.node_id))
        return Look(self._clock(), counts, tuple(found[:MOST_NODES]))

    def _wait(self, node: NodeId, shape: Shape, resources: Capacity, unreachable: Mapping[str, str]) -> NodeWait:
        candidate = self._nodes.candidate(node, unreachable)
        lacks = [
            *for_good(shape, resources, candidate),
            *at_present(shape, resources, candidate, self._attendance(node)),
        ]
        return NodeWait(
            node_id=node,
            standing=(lacks[0].standing if lacks else Standing.READY).value,
            lacks=tuple(each.text for each in lacks),
            free=candidate.free,
            total=candidate.info.capacity,
        )

    def _attendance(self, node: NodeId) -> Attendance:
        nodes, rejected = self._nodes, self._model.rejected.get(node)
        present, changed = nodes.presence(node), nodes.changed_at(node)
        suspicion = self._model.nodes[node].suspicion
        return Attendance(
            rejected=rejected is not None,
            connected=nodes.is_connected(node),
            registered=nodes.is_registered(node) or not self._leads(),
            stopping=present is not None and present.leaving,
            changed=int(changed.timestamp() * 1e9) if changed else 0,
            rests_until=nodes.rests_until(node),
            differs=nodes.differs_too_often(node),
            on_trial=nodes.is_on_trial(node),
            suspected_for=suspicion.reason if suspicion else "",
        )

    def __repr__(self) -> str:
        return f"<JobWaits, {len(self._kept)} looks kept>"


def part_counts(entry: JobEntry, now: int) -> PartCounts:
    """Where the parts of the newest version are."""
    progress = entry.progress
    delayed = [at for at in progress.waits.values() if at > now]
    due = max(0, len(progress.missing) - len(delayed))
    states = Counter(each.state for each in entry.with_kept())
    return PartCounts(
        total=entry.part_count() * replicas_of(entry.spec),
        to_place=min(due, progress.room),
        held_back=max(0, due - progress.room),
        delayed=len(delayed),
        delayed_until=min(delayed, default=0),
        placed=states[ExecutionState.NEW] + states[ExecutionState.ACCEPTED],
        running=states[ExecutionState.RUNNING],
        publishing=states[ExecutionState.PUBLISHING],
        completed=states[ExecutionState.COMPLETED],
    )


def summary(counts: Mapping[Standing, int]) -> str:
    """Such as `2 nodes busy, 1 drained`."""
    if not counts:
        return "no compute node is known; start one with `tarpon serve --compute`"
    first, *others = _sorted(counts)
    number = counts[first]
    told = [f"{number:,} {'node' if number == 1 else 'nodes'} {_PHRASES[first]}"]
    return ", ".join([*told, *(f"{counts[each]:,} {_PHRASES[each]}" for each in others)])


def _sorted(counts: Mapping[Standing, int]) -> list[Standing]:
    return sorted((each for each in counts if counts[each]), key=lambda each: _ORDER[each.value])


def _without_nodes(state: str, counts: PartCounts) -> str:
    """What is told of a job none of whose parts is to be placed now."""
    if JobState(state).is_terminal:
        return f"it has ended ({state}), and waits for nothing"
    numbers = {
        "waiting for others to end (MaxParallel)": counts.held_back,
        "waiting for its next attempt": counts.delayed,
        "placed": counts.placed,
        "running": counts.running,
        "publishing": counts.publishing,
        "completed": counts.completed,
    }
    told = [f"{number:,} {what}" for what, number in numbers.items() if number]
    parts = "part" if counts.total == 1 else "parts"
    return f"it waits for no node: of {counts.total:,} {parts} {', '.join(told) or 'none is known'}"


def _doings(entry: JobEntry) -> Iterator[str]:
    """What its parts wait for that are on nodes, or after a failed attempt."""
    told = Counter(said for each in entry.of_version() if (said := views.waits_for(each)))
    for said, count in told.most_common(MOST_DOINGS):
        yield said if count == 1 else f"{said} ({count:,} parts)"
    if len(told) > MOST_DOINGS:
        yield f"and {len(told) - MOST_DOINGS:,} more that parts wait for"


def _own_nodes(entry: JobEntry) -> list[NodeId]:
    """Of an ops job, the nodes of the parts that are on none yet."""
    targets = entry.targets()
    return [targets[part] for part, _ in entry.progress.missing] if targets else []


def _own_words(entry: JobEntry) -> dict[NodeId, str]:
    """What nodes said when they refused the newest version."""
    return {each.node_id: _words(each) for each in entry.of_version() if is_refused(each)}


def _words(record: ExecutionRecord) -> str:
    return record.failure.detail or record.failure.reason if record.failure else ""


def _with_own(wait: NodeWait, own: Mapping[NodeId, str]) -> NodeWait:
    said = own.get(NodeId(wait.node_id), "")
    lacks: Iterable[str] = (f"{each}: {said}" if each == REFUSED and said else each for each in wait.lacks)
    return msgspec.structs.replace(wait, lacks=tuple(lacks)) if said else wait
