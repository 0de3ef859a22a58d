"""What the doctor asks the orchestrator: whether it answers this client, and how it says that it and its nodes are."""

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from shared.errors import RemoteError
from shared.runtime.checkup import Check, Finding, note, of_error, ok, problem, warning
from shared.runtime.version import version_text
from shared.settings.config import Config
from tarpon.cli.console.clients import client_of

if TYPE_CHECKING:
    from shared.protocol.rest_nodes import AgentNodeResponse, NodeState
    from tarpon.client import Client

API, CLOCK, NODES = "API", "clock", "nodes"
API_SECONDS = 25.0
"""A client tries several times by itself."""
MOST_SKEW_SECONDS = 60.0
MOST_TOLD = 20
_UPDATE = "Both work together; bring the older one up to date when it suits."


def client_checks(config: Config) -> list[Check]:
    return [Check(API, partial(_look, config), API_SECONDS)]


async def _look(config: Config) -> list[Finding]:
    async with client_of(config) as client:
        theirs = (await client.version()).git_version
        found = [_version(theirs)]
        try:
            asked, answer, now = datetime.now(UTC), await client.agent_node(), datetime.now(UTC)
        except RemoteError as error:
            return [*found, of_error(API, error)]
        found += _agent(answer)
        if answer.time is not None:
            found.append(_clock((answer.time - asked - (now - asked) / 2).total_seconds()))
        return [*found, *await _nodes(client)]


def _version(theirs: str) -> Finding:
    ours = f"v{version_text()}"
    if theirs != ours:
        told = f"The orchestrator runs version {theirs}, and this program is {ours}."
        return warning(API, "VersionsDiffer", told, _UPDATE)
    return ok(API, f"The orchestrator answers, and is version {theirs} as this program.")


def _agent(answer: "AgentNodeResponse") -> list[Finding]:
    found = []
    if answer.leader:
        found.append(ok(API, f"{answer.leader} leads."))
    else:
        told = "No orchestrator leads, so nothing is placed."
        found.append(problem(API, "NoLeader", told, "Look at /readyz of each, and at NATS: `tarpon agent nats-check`."))
    health = answer.publishers.s3managed
    areas = {
        "bucket": (health.problem, health.deletion_problem) if health is not None else (),
        "audit": (answer.audit.problem,) if answer.audit is not None else (),
    }
    return found + [
        problem(area, each.code, each.message, each.hint)
        for area, problems in areas.items()
        for each in problems
        if each is not None
    ]


def _clock(skew: float) -> Finding:
    if abs(skew) <= MOST_SKEW_SECONDS:
        return ok(CLOCK, "This machine and the orchestrator show the same time, to the minute.")
    side = "ahead of" if skew > 0 else "behind"
    told = f"The orchestrator's clock is {abs(skew):.0f} s {side} this machine's."
    return problem(CLOCK, "ClockOff", told, "Set the wrong one of both, best by NTP.")


async def _nodes(client: "Client") -> list[Finding]:
    """Who may not see nodes hears nothing of them."""
    try:
        nodes = [each for each in (await client.nodes()).nodes if each.is_compute]
    except RemoteError as error:
        return [note(NODES, f"They are not shown: {error.message}", error.hint)]
    connected = [each for each in nodes if each.connection == "CONNECTED"]
    if nodes and not connected:
        told = f"None of {len(nodes)} nodes is connected, so nothing runs."
        return [problem(NODES, "NoNodeConnected", told, "Look at the log of one: it says why it cannot reach NATS.")]
    return [ok(NODES, f"{len(connected)} of {len(nodes)} nodes are connected."), *_warnings(nodes)]


def _warnings(nodes: "list[NodeState]") -> list[Finding]:
    found = [
        warning(NODES, each.code, f"{node.info.node_id}: {each.message}", each.hint)
        for node in nodes
        for each in node.warnings
    ]
    return found[:MOST_TOLD]
