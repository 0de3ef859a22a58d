"""Warnings about nodes: what an operator should see to, decided from what is known of a node at a moment."""

import enum

from orchestrator.nodes.presence import Nodes
from orchestrator.rules.records import NodeRecord
from shared.ids import NodeId
from shared.protocol.rest_nodes import Problem

MOST_SKEW_SECONDS = 60.0
"""How far a clock may be off: heartbeats take their time, and nothing is harmed by less."""
LEAST_FREE = 0.05
"""The part of a node's disk that should be free."""
MAX_TOLD = 200
_NO_WALLS = "none"
_CLOCK_HINT = "Set the clock of its machine, or the orchestrator's, best by NTP: S3 refuses what is signed 15 min off."
_ENGINE_HINT = "Start the engine there, or see why it does not answer; the node looks again every 10 s."
_WALLS_HINT = "Install bubblewrap there and set Engines.Types.Process.Sandbox=require, unless every job is trusted."


class NodeWarning(enum.StrEnum):
    """The codes of warnings."""

    VERSION_DIFFERS = "NodeVersionDiffers"
    CLOCK_OFF = "NodeClockOff"
    DISK_FULL = "NodeDiskFull"
    ENGINE_AWAY = "NodeEngineAway"
    NOT_ISOLATED = "NodeNotIsolated"
    SUSPECT = "NodeSuspect"
    DIFFERS = "NodeDiffers"
    PROBLEM = "NodeProblem"


def warnings_about(record: NodeRecord, nodes: Nodes, *, version: str) -> tuple[Problem, ...]:
    """About a node that is connected; of one that is not, nothing else counts. `version` is the orchestrator's."""
    node = record.info.node_id
    if not nodes.is_connected(node):
        return ()
    found = [_version(record, version), _clock(nodes, node), _disk(nodes, node), *_engines(record)]
    if record.suspicion is not None:
        found.append(
            _warning(
                NodeWarning.SUSPECT,
                "It fails task after task, and is tried with one at a time.",
                "`tarpon node describe` has the reason of the last one; the next that succeeds ends this.",
            )
        )
    found.append(_differences(record, nodes))
    found += [
        _warning(NodeWarning.PROBLEM, f"It says: {problem[:MAX_TOLD]}", "See to it there.")
        for problem in record.info.problems[:1]
    ]
    return tuple(each for each in found if each is not None)


def _version(record: NodeRecord, version: str) -> Problem | None:
    told = record.info.version[:MAX_TOLD]
    if told == version:
        return None
    return _warning(
        NodeWarning.VERSION_DIFFERS,
        f"It runs version {told}, and the orchestrator {version}.",
        "Both work together; bring the older one up to date when it suits.",
    )


def _clock(nodes: Nodes, node: NodeId) -> Problem | None:
    present = nodes.presence(node)
    skew = present.clock_skew_seconds if present is not None else 0.0
    if abs(skew) <= MOST_SKEW_SECONDS:
        return None
    side = "ahead of" if skew > 0 else "behind"
    return _warning(NodeWarning.CLOCK_OFF, f"Its clock is {abs(skew):.0f} s {side} the orchestrator's.", _CLOCK_HINT)


def _disk(nodes: Nodes, node: NodeId) -> Problem | None:
    present = nodes.presence(node)
    beat = present.heartbeat if present is not None else None
    if beat is None or not beat.disk_size or beat.disk_free >= LEAST_FREE * beat.disk_size:
        return None
    return _warning(
        NodeWarning.DISK_FULL,
        f"Its disk is nearly full: {beat.disk_free >> 20:,} MiB of {beat.disk_size >> 20:,} MiB are free.",
        "Free some space where its DataDir is, or give it a larger disk; Compute.Inputs.CacheSize bounds its cache.",
    )


def _engines(record: NodeRecord) -> list[Problem]:
    away = [
        _warning(NodeWarning.ENGINE_AWAY, f"Its engine {engine[:MAX_TOLD]} is away.", _ENGINE_HINT)
        for engine in sorted(record.engines_away)[:1]
    ]
    bare = [engine for engine, walls in sorted(record.info.isolation.items()) if walls == _NO_WALLS]
    return away + [
        _warning(
            NodeWarning.NOT_ISOLATED,
            f"Nothing keeps tasks of its engine {engine[:MAX_TOLD]} in their place: they have all rights of the node.",
            _WALLS_HINT,
        )
        for engine in bare[:1]
    ]


def _differences(record: NodeRecord, nodes: Nodes) -> Problem | None:
    node, count = record.info.node_id, record.differed
    if not count:
        return None
    rests = " It is given nothing more." if nodes.differs_too_often(node) else ""
    how_often = "once" if count == 1 else f"{count:,} times"
    return _warning(
        NodeWarning.DIFFERS,
        f"It gave another result than other nodes agree about, {how_often}.{rests}",
        "`tarpon node describe` tells which; `tarpon node reject` shuts it out, `tarpon node approve` forgets that.",
    )


def _warning(code: NodeWarning, message: str, hint: str) -> Problem:
    return Problem(code=code.value, message=message, hint=hint)
