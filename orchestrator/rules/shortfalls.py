"""Shortfalls: what a node lacks for a job, for good or for the time being, and which nodes match. Pure functions."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from orchestrator.rules.fleet import Candidate, Fleet, Lane, Shape
from shared.ids import NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.constraints import PREFERENCE_PREFIX, describe, fulfils
from shared.jobs.quantities import format_bytes, format_cpu
from shared.jobs.rules import NO_PUBLISHERS
from shared.jobs.spec import Constraint
from shared.protocol.jobs.rest_waits import Standing
from shared.protocol.messages import (
    COPIES_HARD_LINKS,
    PROTOCOL,
    PUBLISHES_PLAIN,
    RUNS_REPRODUCIBLY,
    SENDS_MANIFESTS,
    TAKES_SECRETS,
    WRITES_LOCAL_PATHS,
    NodeInfo,
)

MAX_LABEL = 100
"""So much of a label is told."""
REFUSED = "refused this job"
OWNERLESS = "has no owner, and each replica runs at another one: `tarpon node set-owner` names one"
_FOR_ABILITY = {
    COPIES_HARD_LINKS: "copy hard links",
    PUBLISHES_PLAIN: "publish plain objects",
    RUNS_REPRODUCIBLY: "run tasks reproducibly",
    WRITES_LOCAL_PATHS: "have tasks write to its own folders",
    SENDS_MANIFESTS: "send manifests of results",
    TAKES_SECRETS: "give tasks secrets",
}


class Shortfall(NamedTuple):
    """What is lacking, to go on with after the node's name."""

    standing: Standing
    text: str


class Attendance(msgspec.Struct, frozen=True, kw_only=True):
    """How a node is there, beside what a candidate tells. Instants are nanoseconds since 1970, 0 if not known.

    One that `differs` gave other results than others agree about, so often that it is given nothing. A node that is
    `on_trial` has the one task that a node is given which has failed task after task.
    """

    rejected: bool = False
    connected: bool = False
    registered: bool = False
    stopping: bool = False
    changed: int = 0
    rests_until: int = 0
    differs: bool = False
    on_trial: bool = False
    suspected_for: str = ""


def for_good(shape: Shape, resources: Capacity, candidate: Candidate) -> Iterator[Shortfall]:
    """Why this node can never run any job of this shape; nothing if it can.

    It is told to all of them, so REFUSED stands for what the node said to one.
    """
    info, publisher = candidate.info, shape.publisher.lower()
    yield from _not_allowed(shape.namespace, candidate)
    if not info.protocol_min <= PROTOCOL <= info.protocol_max:
        spoken = f"speaks protocol {info.protocol_min} to {info.protocol_max}, this orchestrator {PROTOCOL}"
        yield Shortfall(Standing.OTHER_PROTOCOL, spoken)
    if info.node_id in shape.refused_by:
        yield Shortfall(Standing.REFUSED, REFUSED)
    if shape.engine.lower() not in info.engines and not candidate.away.get(shape.engine.lower()):
        yield Shortfall(Standing.NO_ENGINE, _why_no_engine(shape.engine, candidate))
    if publisher not in NO_PUBLISHERS and publisher not in info.publishers:
        yield Shortfall(Standing.NO_PUBLISHER, f"does not support publisher {shape.publisher}")
    elif any(each not in info.abilities for each in shape.abilities):
        yield Shortfall(Standing.TOO_OLD, _why_not_able(shape.abilities, info))
    if publisher in candidate.unreachable:
        yield Shortfall(Standing.STORE_UNREACHABLE, candidate.unreachable[publisher])
    for kind in shape.input_sources:
        if kind.lower() not in info.input_sources:
            yield Shortfall(Standing.NO_INPUT, f"does not support input source {kind}")
    for constraint in shape.constraints:
        if not _is_met(info.labels, constraint):
            told = f"its labels do not fulfil {describe(constraint)}: {_label(info.labels, constraint.key)}"
            yield Shortfall(Standing.UNFIT_LABELS, told)
    lacking = resources.lacks(info.capacity)
    if lacking:
        there = ", ".join(
            f"{_amount(name, info.capacity)} {name} in all, {_amount(name, resources)} asked for" for name in lacking
        )
        yield Shortfall(Standing.TOO_SMALL, f"has too little {' and '.join(lacking)} for this job at all: {there}")
    if shape.replicas > 1 and not candidate.owner:
        yield Shortfall(Standing.NO_OWNER, OWNERLESS)


def _not_allowed(namespace: str, candidate: Candidate) -> Iterator[Shortfall]:
    """What operators have not allowed the node."""
    if not candidate.serves(namespace):
        yield Shortfall(Standing.OTHER_NAMESPACE, f"does not serve namespace {namespace}")
    if candidate.unapproved:
        told = f"has not been approved by an operator: `tarpon node approve {candidate.info.node_id}`"
        yield Shortfall(Standing.UNAPPROVED, told)


def at_present(shape: Shape, resources: Capacity, candidate: Candidate, attendance: Attendance) -> Iterator[Shortfall]:
    """Why this node cannot be given such a job now, though it may be one day; nothing if it is ready for one."""
    if attendance.rejected:
        yield Shortfall(Standing.REJECTED, "was rejected by an operator")
    if candidate.draining:
        yield Shortfall(Standing.DRAINED, "is drained: nothing new is placed on it")
    if attendance.stopping:
        yield Shortfall(Standing.STOPPING, "is stopping")
    elif not attendance.connected:
        yield Shortfall(Standing.DISCONNECTED, f"is not connected{_since(attendance.changed)}")
    elif not attendance.registered:
        yield Shortfall(Standing.JOINING, "is connected, and has not told yet what it holds")
    if candidate.away.get(shape.engine.lower()):
        yield Shortfall(Standing.ENGINE_AWAY, f"its engine {shape.engine} is away, and waited for")
    if attendance.differs:
        yield Shortfall(Standing.RESTING, f"rests{candidate.resting}")
    elif attendance.rests_until:
        yield Shortfall(Standing.RESTING, f"rests until {_clock(attendance.rests_until)}{candidate.resting}")
    elif attendance.on_trial:
        told = f" ({attendance.suspected_for})" if attendance.suspected_for else ""
        yield Shortfall(Standing.ON_TRIAL, f"has failed task after task{told}, and has the one that it is tried with")
    lacking = resources.lacks(candidate.free)
    if lacking and candidate.queue_left <= 0:
        yield Shortfall(Standing.BUSY, _busy(lacking, resources, candidate))


def _busy(lacking: tuple[str, ...], resources: Capacity, candidate: Candidate) -> str:
    total = candidate.info.capacity
    return "; ".join(
        f"{_amount(name, candidate.free)} of {_amount(name, total)} {name} free, {_amount(name, resources)} asked for"
        for name in lacking
    )


def asked_for(shape: Shape, resources: Capacity) -> str:
    """In one line, what a node has to have for a part of the job."""
    amounts = [f"{_amount(name, resources)} {name}" for name in resources.lacks(Capacity())]
    publisher = shape.publisher.lower()
    needs = [describe(each) for each in shape.constraints if not each.key.startswith(PREFERENCE_PREFIX)]
    kinds = [f"engine {shape.engine}", *([] if publisher in NO_PUBLISHERS else [f"publisher {shape.publisher}"])]
    return ", ".join([*amounts, *kinds, *(f"input source {each}" for each in shape.input_sources), *needs])


def no_node_serves(namespace: str) -> str:
    """Of a job, where every node that there is serves other namespaces."""
    return (
        f"No node may serve namespace {namespace}; one that joins with a token of"
        f" `tarpon node token create --namespace {namespace}` may."
    )


def _why_no_engine(engine: str, candidate: Candidate) -> str:
    if engine.lower() in candidate.away:
        return f"its engine {engine} is away, and was so for longer than Orchestrator.NodeManager.ReturnTimeout"
    return f"does not support {engine}"


def _why_not_able(abilities: Iterable[str], info: NodeInfo) -> str:
    lacking = next(each for each in abilities if each not in info.abilities)
    return f"cannot {_FOR_ABILITY[lacking]}, because it runs version {info.version} of Tarpon; upgrade it"


def _is_met(labels: Mapping[str, str], constraint: Constraint) -> bool:
    return constraint.key.startswith(PREFERENCE_PREFIX) or fulfils(labels, constraint)


def _label(labels: Mapping[str, str], key: str) -> str:
    value = labels.get(key)
    return f"it has no {key}" if value is None else f"its {key} is {value[:MAX_LABEL]!r}"


def _amount(name: str, of: Capacity) -> str:
    match name:
        case "CPU":
            return format_cpu(of.cpu)
        case "GPU":
            return str(of.gpu)
        case "memory":
            return format_bytes(of.memory)
        case _:
            return format_bytes(of.disk)


def _since(instant: int) -> str:
    return f" since {_clock(instant)}" if instant else ""


def _clock(instant: int) -> str:
    return f"{datetime.fromtimestamp(instant / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC"


# ---- the nodes of ops jobs ----------------------------------------------------------------------------------------


class NodeAbsence(NamedTuple):
    """Why a node is not to be given its part; one that is not `is_final` may be over soon."""

    why: str
    is_final: bool


def matching(lane: Lane, is_registered: Callable[[NodeId], bool]) -> tuple[NodeId, ...]:
    """The nodes on which a job of this lane runs, in the order of their names: connected, suitable and not drained.

    One that rests, is busy, or whose engine is away for a moment is among them: it gets its part later.
    """
    return tuple(sorted(node for node, each in lane.suitable.items() if not each.draining and is_registered(node)))


def unready(candidate: Candidate) -> str:
    """Why a node that suits the job and is there gets nothing, by somebody's will; empty where it does."""
    return "is drained" if candidate.draining else ""


def absence(node: NodeId, lane: Lane, fleet: Fleet, *, is_known: bool, is_rejected: bool) -> NodeAbsence | None:
    """Whether this node, which was chosen, cannot be given its part. One that is busy or rests can, by and by.

    A node that has disappeared, or whose engine has, is in the fleet for as long as one is waited for.
    """
    if is_rejected:
        return NodeAbsence(f"Node {node} was rejected by an operator", is_final=True)
    if not is_known:
        return NodeAbsence(f"Node {node} was deleted", is_final=True)
    if node not in fleet.nodes:
        return NodeAbsence(f"Node {node} has disappeared, and did not come back in time", is_final=True)
    if (known := lane.suitable.get(node)) is not None:
        why = unready(known)
        return NodeAbsence(f"Node {node} {why}", is_final=False) if why else None
    why = lane.reasons.get(node) or "it does not serve the namespace"
    return NodeAbsence(f"Node {node} does not fit any more: {why}", is_final=False)
