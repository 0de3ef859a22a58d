"""Placement: which node gets which execution, or why none does. A pure function over jobs and nodes."""

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice

import msgspec

from orchestrator.rules.fleet import Candidate, Fleet, Lane, Shape, shape_of
from orchestrator.rules.shortfalls import OWNERLESS, REFUSED, for_good, no_node_serves
from shared.ids import JobId, NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.constraints import PREFERENCE_PREFIX, fulfils
from shared.jobs.spec import Constraint, Job

MAX_LOOKED_AT = 64
"""At how many nodes it is looked for what is lacking: each wake-up asks, and a thousand would tell the same."""
_DRAINED = ", which is drained"
MAX_REASONS = 10
"""How many nodes a message about an impossible job lists."""
PATIENCE_SECONDS = 60.0
"""A job that waits longer than this has a node kept free for it, so that smaller ones cannot overtake it for ever."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A job with (partition, attempt) to place. `refused_by` will not run it, and why; `failed_on` did not do well.

    Of `missing`, at most `most` are placed this time, as others are next then. `waiting_seconds` are since this version
    was submitted. With `targets` each part is for the node of its number alone. Of a job with `replicas` those of one
    part run at that many owners; `owners` are, by the part, those that have one already.
    """

    job_id: JobId
    version: int
    job: Job
    resources: Capacity
    missing: tuple[tuple[int, int], ...]
    refused_by: Mapping[NodeId, str] = {}
    failed_on: frozenset[NodeId] = frozenset()
    waiting_seconds: float = 0.0
    most: int = sys.maxsize
    targets: tuple[NodeId, ...] = ()
    replicas: int = 1
    owners: Mapping[int, frozenset[str]] = {}

    @property
    def shape(self) -> Shape:
        return shape_of(self.job, frozenset(self.refused_by))


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    job_id: JobId
    version: int
    partition: int
    attempt: int
    node_id: NodeId
    resources: Capacity
    owner: str = ""
    """Of a replica: whose node that is."""


AtHand = Callable[[Wanted, int], Sequence[NodeId]]
"""On which nodes the inputs of this part of a job are, those that have the most of them first."""


def unshared(_: Wanted, __: int) -> None:
    """Nothing is shared."""


def nowhere(_: Wanted, __: int) -> Sequence[NodeId]:
    """Nothing of it is anywhere."""
    return ()


class Plan(msgspec.Struct, kw_only=True):
    """`waiting` jobs have to wait for capacity, `impossible` ones no present node can ever run; both say why."""

    placements: list[Placement] = []
    waiting: dict[JobId, str] = {}
    impossible: dict[JobId, str] = {}


def plan(
    wanted: Iterable[Wanted],
    fleet: Fleet,
    *,
    limit: int,
    blocked: dict[Shape, str] | None = None,
    charge: Callable[[Wanted, int], None] = unshared,
    at_hand: AtHand = nowhere,
) -> Plan:
    """Place what fits, in the order given, at most `limit` executions. Takes what it places off the fleet.

    `charge` hears how many parts of a job are placed, before the next one is asked for. `at_hand` tells on which nodes
    the inputs of a part are, as they say; it makes a difference between equal ones alone. `blocked` are shapes of which
    one has to wait, and why: what shares its shape need not be given. What comes later
    may overtake what does not fit, but not what has waited for PATIENCE_SECONDS: the node on which least has to become
    free for it is kept for it. So the least that is lacking never grows, and its turn comes.
    """
    result = Plan()
    blocked = {} if blocked is None else blocked
    for each in wanted:
        room = limit - len(result.placements)
        if room <= 0:
            break
        shape = each.shape
        if shape in blocked:
            result.waiting[each.job_id] = blocked[shape]
            continue
        lane = lane_for(each, fleet)
        count = min(room, each.most, len(each.missing))
        if each.targets:
            charge(each, _place_on_targets(each, lane, fleet, result, count))
        elif not lane.suitable and OWNERLESS in lane.reasons.values():
            result.waiting[each.job_id] = too_few_owners(each.replicas, 0)
        elif not lane.suitable:
            result.impossible[each.job_id] = impossible(each, lane.reasons, are_others=bool(fleet.nodes))
        elif each.replicas > 1:
            placed = _place_replicas(each, lane, fleet, result, count, at_hand=at_hand)
            charge(each, placed)
            if not placed and not lane.has_room:
                blocked[shape] = result.waiting[each.job_id]
        else:
            placed = _place(each, lane, fleet, result, count, at_hand=at_hand)
            charge(each, placed)
            if placed < count:
                blocked[shape] = result.waiting[each.job_id] = _waiting(each.resources, lane)
                if each.waiting_seconds > PATIENCE_SECONDS:
                    _keep_one_free(each, lane, fleet)
        if not fleet.has_room:
            break
    return result


def lane_for(wanted: Wanted, fleet: Fleet) -> Lane:
    """The nodes for this job, as they are now."""
    shape = wanted.shape
    return fleet.lane(shape, partial(_lane, wanted, shape, fleet))


def _lane(wanted: Wanted, shape: Shape, fleet: Fleet) -> Lane:
    favour = partial(_favour, shape.constraints)
    return Lane(
        fleet,
        wanted.resources,
        partial(unsuitable, shape, wanted.resources),
        favour,
        engine=shape.engine.lower(),
        namespace=shape.namespace,
    )


def _place(wanted: Wanted, lane: Lane, fleet: Fleet, result: Plan, count: int, *, at_hand: AtHand) -> int:
    """Place the first `count` of the job's partitions; how many of them found a node."""
    taken: dict[NodeId, int] = {}
    for number, (partition, attempt) in enumerate(wanted.missing[:count]):
        chosen = lane.choose(wanted.failed_on, taken, at_hand(wanted, partition))
        if chosen is None:
            return number
        node = chosen.info.node_id
        taken[node] = taken.get(node, 0) + 1
        fleet.take(chosen, wanted.resources)
        lane.catch_up()
        result.placements.append(placement_of(wanted, partition, attempt, node))
    return count


def _place_replicas(wanted: Wanted, lane: Lane, fleet: Fleet, result: Plan, count: int, *, at_hand: AtHand) -> int:
    """Place the first `count`, each at an owner that has none of its part; one that has to wait holds up no other.

    Nothing is begun while there are not enough owners for all replicas of a part.
    """
    there = {each.owner for each in lane.suitable.values()}
    if len(there) < wanted.replicas and not wanted.owners:
        result.waiting[wanted.job_id] = too_few_owners(wanted.replicas, len(there))
        return 0
    taken: dict[NodeId, int] = {}
    owners = {part: set(of_part) for part, of_part in wanted.owners.items()}
    waiting: list[int] = []
    for partition, attempt in wanted.missing[:count]:
        used = owners.setdefault(partition, set())
        chosen = lane.choose(wanted.failed_on, taken, at_hand(wanted, partition), used)
        if chosen is None:
            waiting.append(partition)
            continue
        node, owner = chosen.info.node_id, chosen.owner
        taken[node] = taken.get(node, 0) + 1
        used.add(owner)
        fleet.take(chosen, wanted.resources)
        lane.catch_up()
        placement = placement_of(wanted, partition, attempt, node)
        result.placements.append(msgspec.structs.replace(placement, owner=owner))
    if waiting:
        result.waiting[wanted.job_id] = _waiting_for_owners(wanted, lane, owners[waiting[0]])
    return count - len(waiting)


def _waiting_for_owners(wanted: Wanted, lane: Lane, used: Collection[str]) -> str:
    """Why a replica is not placed, where these owners have one of its part. Whose a node is, is for operators alone."""
    if not lane.has_room:
        return _waiting(wanted.resources, lane)
    others = sum(each.owner not in used for each in lane.suitable.values())
    if not others:
        return f"Waiting for a node of another owner than the {len(used)} that have a replica of this part."
    return f"Waiting for room on {others} node(s) of other owners: each replica of a part runs at another one."


def too_few_owners(replicas: int, owners: int) -> str:
    """Of a job with replicas where suitable nodes have so many owners."""
    there = "1 owner" if owners == 1 else f"{owners} owners"
    return (
        f"Waiting for nodes of {replicas} owners: each replica of a part runs at another one, and the nodes that suit"
        f" this job belong to {there}. `tarpon node set-owner NODE OWNER` says whose a node is."
    )


def placement_of(wanted: Wanted, partition: int, attempt: int, node: NodeId) -> Placement:
    return Placement(
        job_id=wanted.job_id,
        version=wanted.version,
        partition=partition,
        attempt=attempt,
        node_id=node,
        resources=wanted.resources,
    )


def _place_on_targets(wanted: Wanted, lane: Lane, fleet: Fleet, result: Plan, count: int) -> int:
    """Place parts each on its own node, up to `count`; how many. One that has to wait does not hold up the others."""
    placed, waiting = 0, list[NodeId]()
    for partition, attempt in wanted.missing:
        node = wanted.targets[partition]
        chosen = lane.with_room(node) if placed < count else None
        if chosen is None:
            waiting.append(node)
            continue
        fleet.take(chosen, wanted.resources)
        lane.catch_up()
        result.placements.append(placement_of(wanted, partition, attempt, node))
        placed += 1
    if placed < count:
        result.waiting[wanted.job_id] = _waiting_for_targets(wanted, lane, waiting)
        kept = next((lane.open[node] for node in waiting if node in lane.open), None)
        if kept is not None and wanted.waiting_seconds > PATIENCE_SECONDS:
            fleet.keep_free(kept)
    return placed


def _waiting_for_targets(wanted: Wanted, lane: Lane, waiting: Sequence[NodeId]) -> str:
    """Why the first of these nodes is not given its part."""
    node, rest = waiting[0], len(waiting) - 1
    more = f" ({rest:,} more wait for theirs.)" if rest else ""
    known = lane.suitable.get(node)
    if node in lane.reasons:
        return f"Waiting for node {node} to fit again: {lane.reasons[node]}.{more}"
    if known is None:
        return f"Waiting for node {node} to come back.{more}"
    if node in lane.open:
        lacking = " and ".join(wanted.resources.lacks(known.free)) or "capacity"
        return f"Waiting for free {lacking} on node {node}.{more}"
    return f"{_waiting_for_one(known)}{more}"


def _keep_one_free(wanted: Wanted, lane: Lane, fleet: Fleet) -> None:
    """Nothing that comes later in this plan is placed on the node that will have room for it first."""
    if lane.open:
        kept = min(lane.open.values(), key=lambda each: (wanted.resources.share_lacking(each.free), each.info.node_id))
        fleet.keep_free(kept)


def unsuitable(shape: Shape, resources: Capacity, candidate: Candidate) -> str:
    """Why this node can never run any job of this shape; empty if it can."""
    return next((each.text for each in for_good(shape, resources, candidate)), "")


def _favour(constraints: tuple[Constraint, ...], labels: Mapping[str, str]) -> int:
    preferences = (each for each in constraints if each.key.startswith(PREFERENCE_PREFIX))
    return sum(
        fulfils(labels, msgspec.structs.replace(each, key=each.key.removeprefix(PREFERENCE_PREFIX)))
        for each in preferences
    )


def impossible(wanted: Wanted, why: Mapping[NodeId, str], *, are_others: bool) -> str:
    """`are_others` is whether there are nodes at all, of which none serves the job's namespace where `why` is empty."""
    head = f"not enough nodes to run job. requested: {len(wanted.missing)}, available: {len(why)}, suitable: 0."
    if not why and are_others:
        return f"{head} {no_node_serves(wanted.job.namespace)}"
    if not why:
        return f"{head} No compute node is connected; start one with `tarpon serve --compute`."
    reasons = [f"Node {node}: {_own(wanted, node, reason)}" for node, reason in islice(why.items(), MAX_REASONS)]
    more = [f"... and {len(why) - MAX_REASONS} more"] if len(why) > MAX_REASONS else []
    return "\n- ".join([head, *reasons, *more])


def _own(wanted: Wanted, node: NodeId, reason: str) -> str:
    """The reason with what the node said to this job, where it said something."""
    return f"{reason}: {wanted.refused_by[node]}" if reason == REFUSED else reason


def _waiting(resources: Capacity, lane: Lane) -> str:
    """Why all jobs that ask for this in this lane have to wait."""
    if not lane.open:
        return _waiting_for_nodes(lane)
    looked_at = islice(lane.open.values(), MAX_LOOKED_AT)
    lacking = sorted({name for each in looked_at for name in resources.lacks(each.free)})
    return f"Waiting for free {' and '.join(lacking) or 'capacity'} on {len(lane.open)} suitable node(s)."


def _waiting_for_nodes(lane: Lane) -> str:
    """Those are told on which it may run soonest."""
    nodes = [each for each in lane.suitable.values() if not each.draining]
    if not nodes:
        return _waiting_for(lane.some_suitable(3), _DRAINED)
    resting = [each for each in nodes if each.resting]
    if resting:
        return _waiting_for(resting, resting[0].resting)
    away = [each for each in nodes if not each.expected]
    if away:
        return _waiting_for(away, ", whose engine is away")
    return _waiting_for(nodes, " to connect")


def _waiting_for_one(node: Candidate) -> str:
    """Which may be given nothing now."""
    away = "" if node.expected else ", whose engine is away"
    return _waiting_for([node], _DRAINED if node.draining else node.resting or away or " to connect")


def _waiting_for(nodes: Iterable[Candidate], what: str) -> str:
    return f"Waiting for node {', '.join(each.info.node_id for each in islice(nodes, 3))}{what}."
