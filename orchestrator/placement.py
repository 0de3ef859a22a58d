"""Which node gets which execution, or why none does: a pure function over jobs, executions and nodes."""

from collections.abc import Iterable, Mapping

import msgspec

from shared.capacity import Capacity
from shared.constraints import PREFERENCE_PREFIX, describe, fulfils
from shared.ids import JobId, NodeId
from shared.job_rules import NO_PUBLISHERS
from shared.jobspec import Constraint, Job
from shared.messages import PROTOCOL, NodeInfo

MAX_REASONS = 10
"""How many nodes a message about an impossible job lists."""
PATIENCE_SECONDS = 60.0
"""A job that waits longer than this has a node kept free for it, so that smaller ones cannot overtake it for ever."""


class Candidate(msgspec.Struct, kw_only=True):
    """A node while a plan is made. What is placed on it is taken off `free` and `queue_left`.

    `expected` is a node that is not connected but may be back soon, or one that is `draining`: nothing is placed on it,
    and what only it could run waits. `unreachable` are publishers that the node knows and whose store it cannot reach,
    with the reason.
    """

    info: NodeInfo
    free: Capacity
    queue_left: int = 0
    expected: bool = False
    draining: bool = False
    unreachable: Mapping[str, str] = {}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A job with (partition, attempt) to place. `refused_by` will not run it, and why; `failed_on` did not do well.

    `waiting_seconds` are since this version was submitted.
    """

    job_id: JobId
    version: int
    job: Job
    resources: Capacity
    missing: tuple[tuple[int, int], ...]
    refused_by: Mapping[NodeId, str] = {}
    failed_on: frozenset[NodeId] = frozenset()
    waiting_seconds: float = 0.0


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    job_id: JobId
    version: int
    partition: int
    attempt: int
    node_id: NodeId
    resources: Capacity


class Plan(msgspec.Struct, kw_only=True):
    """`waiting` jobs have to wait for capacity, `impossible` ones no present node can ever run; both say why."""

    placements: list[Placement] = []
    waiting: dict[JobId, str] = {}
    impossible: dict[JobId, str] = {}


def plan(wanted: Iterable[Wanted], candidates: list[Candidate], *, limit: int) -> Plan:
    """Place what fits, in the order given, at most `limit` executions. Takes what it places off the candidates.

    What comes later may overtake what does not fit, but not what has waited for PATIENCE_SECONDS: the node on which
    least has to become free for it is kept for it. So the least that is lacking never grows, and its turn comes.
    """
    result = Plan()
    sorted_out: dict[object, tuple[list[Candidate], list[str]]] = {}
    blocked: dict[object, str] = {}
    for each in wanted:
        room = limit - len(result.placements)
        if room <= 0:
            break
        shape = _shape(each)
        if shape not in sorted_out:
            sorted_out[shape] = _sort_out(each, candidates)
        suitable, reasons = sorted_out[shape]
        if not suitable:
            result.impossible[each.job_id] = _impossible(each, reasons)
        elif shape in blocked:
            result.waiting[each.job_id] = blocked[shape]
        elif not _place(each, suitable, result, limit=room):
            blocked[shape] = result.waiting[each.job_id] = _waiting(each, suitable)
            if each.waiting_seconds > PATIENCE_SECONDS:
                _keep_one_free(each, suitable)
        if not any(_has_room(candidate) for candidate in candidates):
            break
    return result


def _shape(wanted: Wanted) -> object:
    """Jobs of one shape suit the same nodes, and where one has to wait the others need not be tried."""
    task = wanted.job.task
    return (
        task.engine.type.lower(),
        task.publisher.type.lower(),
        wanted.resources,
        wanted.job.constraints,
        tuple(source.source.type.lower() for source in task.input_sources),
        frozenset(wanted.refused_by),
    )


def _has_room(candidate: Candidate) -> bool:
    return not candidate.expected and (candidate.queue_left > 0 or candidate.free.cpu > 0)


def _place(wanted: Wanted, suitable: list[Candidate], result: Plan, *, limit: int) -> bool:
    """Place the job's partitions, at most `limit` of them; False when one has to wait."""
    taken: dict[NodeId, int] = {}
    for partition, attempt in wanted.missing[:limit]:
        chosen = _choose(wanted, suitable, taken)
        if chosen is None:
            return False
        node = chosen.info.node_id
        taken[node] = taken.get(node, 0) + 1
        if wanted.resources.fits_in(chosen.free):
            chosen.free = chosen.free.minus(wanted.resources)
        else:
            # Nothing overtakes what is queued, so that whatever comes to this node from now on is queued too.
            chosen.free, chosen.queue_left = Capacity(), chosen.queue_left - 1
        result.placements.append(
            Placement(
                job_id=wanted.job_id,
                version=wanted.version,
                partition=partition,
                attempt=attempt,
                node_id=node,
                resources=wanted.resources,
            )
        )
    return True


def _keep_one_free(wanted: Wanted, suitable: list[Candidate]) -> None:
    """Nothing that comes later in this plan is placed on the node that will have room for it first."""
    open_to = [each for each in suitable if not each.expected]
    if open_to:
        kept = min(open_to, key=lambda each: (wanted.resources.share_lacking(each.free), each.info.node_id))
        kept.free, kept.queue_left = Capacity(), 0


def _sort_out(wanted: Wanted, candidates: list[Candidate]) -> tuple[list[Candidate], list[str]]:
    suitable, reasons = [], []
    for candidate in candidates:
        reason = unsuitable(wanted, candidate)
        if reason:
            reasons.append(f"Node {candidate.info.node_id}: {reason}")
        else:
            suitable.append(candidate)
    return suitable, reasons


def unsuitable(wanted: Wanted, candidate: Candidate) -> str:
    """Why this node can never run the job; empty if it can."""
    info, task = candidate.info, wanted.job.task
    publisher = task.publisher.type.lower()
    lacking = wanted.resources.lacks(info.capacity)
    unmet = next((each for each in wanted.job.constraints if not _is_met(info.labels, each)), None)
    unknown_input = next(
        (s.source.type for s in task.input_sources if s.source.type.lower() not in info.input_sources), ""
    )
    if not info.protocol_min <= PROTOCOL <= info.protocol_max:
        return f"speaks protocol {info.protocol_min} to {info.protocol_max}, this orchestrator {PROTOCOL}"
    if info.node_id in wanted.refused_by:
        return f"refused this job: {wanted.refused_by[info.node_id]}"
    if task.engine.type.lower() not in info.engines:
        return f"does not support {task.engine.type}"
    if publisher not in NO_PUBLISHERS and publisher not in info.publishers:
        return f"does not support publisher {task.publisher.type}"
    if publisher in candidate.unreachable:
        return candidate.unreachable[publisher]
    if unknown_input:
        return f"does not support input source {unknown_input}"
    if unmet is not None:
        return f"its labels do not fulfil {describe(unmet)}"
    if lacking:
        return f"has too little {' and '.join(lacking)} for this job at all"
    return ""


def _is_met(labels: Mapping[str, str], constraint: Constraint) -> bool:
    return constraint.key.startswith(PREFERENCE_PREFIX) or fulfils(labels, constraint)


def _choose(wanted: Wanted, suitable: list[Candidate], taken: Mapping[NodeId, int]) -> Candidate | None:
    """The best connected node with free capacity, else one that queues: spread, favoured, with most left."""
    open_to = [each for each in suitable if not each.expected]
    free = [each for each in open_to if wanted.resources.fits_in(each.free)]
    usable = free or [each for each in open_to if each.queue_left > 0]
    if not usable:
        return None

    def rank(candidate: Candidate) -> tuple[int, int, int, float, int]:
        info = candidate.info
        share = candidate.free.cpu / info.capacity.cpu if info.capacity.cpu else 0.0
        return (
            info.node_id in wanted.failed_on,
            taken.get(info.node_id, 0),
            -_favour(wanted, info.labels),
            -share,
            -candidate.queue_left,
        )

    return min(usable, key=rank)


def _favour(wanted: Wanted, labels: Mapping[str, str]) -> int:
    preferences = (each for each in wanted.job.constraints if each.key.startswith(PREFERENCE_PREFIX))
    return sum(
        fulfils(labels, msgspec.structs.replace(each, key=each.key.removeprefix(PREFERENCE_PREFIX)))
        for each in preferences
    )


def _impossible(wanted: Wanted, reasons: list[str]) -> str:
    head = f"not enough nodes to run job. requested: {len(wanted.missing)}, available: {len(reasons)}, suitable: 0."
    if not reasons:
        return f"{head} No compute node is connected; start one with `tarpon serve --compute`."
    more = [f"... and {len(reasons) - MAX_REASONS} more"] if len(reasons) > MAX_REASONS else []
    return "\n- ".join([head, *reasons[:MAX_REASONS], *more])


def _waiting(wanted: Wanted, suitable: list[Candidate]) -> str:
    if all(each.expected for each in suitable):
        draining = [each.info.node_id for each in suitable if each.draining]
        names = ", ".join((draining or [each.info.node_id for each in suitable])[:3])
        return f"Waiting for node {names}, which is drained." if draining else f"Waiting for node {names} to connect."
    lacking = sorted({name for each in suitable for name in wanted.resources.lacks(each.free)})
    return f"Waiting for free {' and '.join(lacking) or 'capacity'} on {len(suitable)} suitable node(s)."
