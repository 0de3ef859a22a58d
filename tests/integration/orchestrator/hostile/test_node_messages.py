"""A team's node that says what is not so: requests and reports about another's work, forged, repeated and mixed."""

import base64
import json
from typing import Any

import pytest
from msgspec.structs import replace
from nacl.exceptions import CryptoError

from compute.executions.given_secrets import SecretsNotOpened, SecretsOpener
from shared.ids import ExecutionId
from shared.protocol import messages, subjects
from shared.runtime.loopback import loopback_id
from tests.integration.orchestrator.hostile.attempts import Attempt, Attempts, Loot
from tests.integration.orchestrator.hostile.stage import WITHIN, Stage
from tests.integration.orchestrator.hostile.teams import ROOM
from tests.integration.orchestrator.hostile.ways import asks_node, reports, tells

pytestmark = pytest.mark.asyncio(loop_scope="module")

ATTEMPTS = Attempts("a node, by messages")

GRANT, INDEX, BEGIN = "GrantRequest", "IndexGrantRequest", "BeginUpload"
PARTS, COMPLETE = "PartsRequest", "CompleteUpload"
FIRST: dict[str, Any] = {"first": 1, "count": 2}
STARTED = {"type": "ExecutionStarted"}
ENDED = {"type": "TaskEnded", "output": {"stdout": "forged", "exit_code": 0}, "run_seconds": 1}
FAILED = {"type": "ExecutionFailed", "reason": "Forged", "detail": "forged"}
CANCELLED = {"type": "ExecutionCancelled", "reason": "forged"}
PUBLISHED = {
    "type": "OutputPublished",
    "size_bytes": 1,
    "md5": "0" * 32,
    "sha256": "0" * 64,
    "entries": 1,
    "raw_bytes": 1,
}


def of(kind: str, execution: str = "{execution}", **more: object) -> dict[str, object]:
    return {"type": kind, "execution_id": execution, **more}


ATTEMPTS.add(
    ("asks for a grant of another's execution", asks_node(of(GRANT))),
    ("asks for a grant of another's execution, saying it is that node", asks_node(of(GRANT, node_id="hush-node"))),
    ("asks for a grant of another's execution, in its namespace", asks_node(of(GRANT, namespace="hush"))),
    ("asks for a grant, saying S3 refused the last one", asks_node(of(GRANT, s3_code="AccessDenied"))),
    ("asks for a grant of what another has ended", asks_node(of(GRANT, "{result}"))),
    ("asks for the index of another's execution", asks_node(of(INDEX))),
    ("asks for the index of what another has ended", asks_node(of(INDEX, "{result}"))),
    ("begins an upload for another's execution", asks_node(of(BEGIN))),
    ("begins an upload for what another has ended", asks_node(of(BEGIN, "{result}"))),
    ("says that another's upload is lost", asks_node(of(BEGIN, lost="{upload}"))),
    ("asks for parts of another's upload", asks_node(of(PARTS, upload_id="{upload}", **FIRST))),
    ("completes another's upload", asks_node(of(COMPLETE, upload_id="{upload}", etags=["{etag}"]))),
    ("completes another's upload without its parts", asks_node(of(COMPLETE, upload_id="{upload}", etags=[]))),
    (
        "asks for parts of another's upload under its own execution",
        asks_node(of(PARTS, "{own_execution}", upload_id="{upload}", **FIRST)),
    ),
    (
        "completes another's upload under its own execution",
        asks_node(of(COMPLETE, "{own_execution}", upload_id="{upload}", etags=["{etag}"])),
    ),
    (
        "asks for parts of its own upload under another's execution",
        asks_node(of(PARTS, upload_id="{own_upload}", **FIRST)),
    ),
    (
        "completes its own upload under another's execution",
        asks_node(of(COMPLETE, upload_id="{own_upload}", etags=["{own_etag}"])),
    ),
    ("asks for a grant of its own finished result", asks_node(of(GRANT, "{own_result}"), is_own=True)),
    ("asks for the index of its own finished result", asks_node(of(INDEX, "{own_result}"), is_own=True)),
    ("begins an upload for its own finished result", asks_node(of(BEGIN, "{own_result}"), is_own=True)),
    ("asks for part 0 of its own upload", asks_node(of(PARTS, "{own_execution}", upload_id="", **FIRST), is_own=True)),
    ("gives a job's id for an execution's", asks_node(of(GRANT, "{running}"))),
    ("gives the beginning of another's execution", asks_node(of(GRANT, "{beginning}"))),
    ("gives an id with a wildcard", asks_node(of(GRANT, "*"), is_own=True)),
    ("gives an id with a path", asks_node(of(GRANT, "../hush/{execution}"), is_own=True)),
    ("gives the key of another's result for an id", asks_node(of(GRANT, "namespaces/hush/{done}/{result}"))),
    ("gives no id", asks_node(of(GRANT, ""), is_own=True)),
    ("asks with an order's type", asks_node(of("CancelExecution"))),
    ("asks with a report's type", asks_node({"type": "Report", "execution_id": "{execution}", "facts": [ENDED]})),
    ("asks with a list of executions", asks_node({"type": GRANT, "execution_id": ["{execution}", "{own_execution}"]})),
)

ATTEMPTS.add(
    ("reports that another's task has started", reports(STARTED, execution="{waiting}")),
    ("reports that another's task has ended", reports(STARTED, ENDED)),
    ("reports that another's task has failed", reports(FAILED)),
    ("reports that another's task was cancelled", reports(CANCELLED)),
    ("reports that another's task was handed back", reports(FAILED | {"reason": "HandedBack", "not_begun": True})),
    ("reports that another's result is published", reports(ENDED, PUBLISHED)),
    ("reports what another's task waits for", reports({"type": "ExecutionProgressed", "detail": "forged"})),
    ("reports another digest of another's result", reports(PUBLISHED, execution="{result}")),
    ("reports that what another has completed has failed", reports(FAILED, execution="{result}")),
    ("reports as another node in the message", reports(ENDED, node_id="hush-node", sender="hush-node")),
    (
        "mixes another's execution among reports of its own",
        tells(
            {
                "type": "Reports",
                "reports": [
                    {"type": "Report", "execution_id": "{own_execution}", "facts": [STARTED]},
                    {"type": "Report", "execution_id": "{execution}", "facts": [FAILED]},
                    {"type": "Report", "execution_id": "{result}", "facts": [FAILED]},
                ],
            }
        ),
    ),
    (
        "puts reports into reports",
        tells(
            {
                "type": "Reports",
                "reports": [
                    {
                        "type": "Reports",
                        "reports": [{"type": "Report", "execution_id": "{execution}", "facts": [FAILED]}],
                    }
                ],
            }
        ),
    ),
    (
        "completes its own finished result with another digest",
        reports(ENDED, PUBLISHED, execution="{own_result}"),
    ),
    (
        "completes its own finished result with one that was there",
        reports(PUBLISHED | {"was_there": True, "sha256": "1" * 64}, execution="{own_result}"),
    ),
    ("fails its own finished result", reports(FAILED, execution="{own_result}")),
    ("cancels its own finished result", reports(CANCELLED, execution="{own_result}")),
    ("starts its own finished execution again", reports(STARTED, ENDED, execution="{own_result}")),
    ("sends an order in place of a report", tells({"type": "CancelExecution", "execution_id": "{execution}"})),
    ("sends a request in place of a report", tells({"type": BEGIN, "execution_id": "{execution}"})),
)


def registration(**more: object) -> dict[str, object]:
    info: dict[str, object] = {
        "node_id": "own-node",
        "version": "0",
        "engines": ["noop"],
        "publishers": ["s3managed"],
        "capacity": ROOM,
        "abilities": [messages.TAKES_SECRETS],
        "loopback_id": loopback_id(),
    }
    return {
        "type": "Registration",
        "info": info | dict(more.pop("info", {})),  # type: ignore[call-overload]
        "session": "session-of-own-node",
        "inventory": 100,
        "held": ["{own_execution}"],
        **more,
    }


ATTEMPTS.add(
    ("registers under another's id in the message", asks_node(registration(info={"node_id": "hush-node"}))),
    ("registers with the namespaces of another team", asks_node(registration(namespaces=["hush"]))),
    (
        "registers with the labels of another team's token",
        asks_node(registration(info={"labels": {"team": "hush-team", "name": "hush-node", "namespace": "hush"}})),
    ),
    ("registers with another's session", asks_node(registration(session="session-of-hush-node"))),
    ("claims to hold another's execution", asks_node(registration(held=["{own_execution}", "{execution}"]))),
    ("claims to hold what another has ended", asks_node(registration(held=["{own_execution}", "{result}"]))),
)


@ATTEMPTS.named("gets a job of another team by labels that match its constraints")
async def _(stage: Stage, loot: Loot) -> None:
    """The waiting job of the other team wants a zone that no node has, until this one says that it has it."""
    member = stage.own.member
    told = registration(info={"labels": {"zone": "hush-zone", "kind": "hush-label"}})
    told["held"] = [stage.own.execution.execution_id]
    subject = subjects.node_requests(member.node.id)
    loot.get((await member.client.request(subject, json.dumps(told).encode(), timeout=WITHIN)).data)
    await stage.stir()
    loot.gain("an assignment", not member.accepted.empty())
    told["info"] = registration()["info"]
    await member.client.request(subject, json.dumps(told).encode(), timeout=WITHIN)


@ATTEMPTS.named("beats with the session of another")
async def _(stage: Stage, loot: Loot) -> None:
    beat = {"type": "Heartbeat", "session": "session-of-hush-node", "running": 7, "leaving": True}
    client = stage.own.member.client
    await client.publish(subjects.node_heartbeat(stage.own.member.node.id), json.dumps(beat).encode())
    own = {"type": "Heartbeat", "session": stage.own.member.node.session}
    await client.publish(subjects.node_heartbeat(stage.own.member.node.id), json.dumps(own).encode())


@ATTEMPTS.named("tells the progress of another's upload")
async def _(stage: Stage, loot: Loot) -> None:
    upload = {"execution_id": stage.words["execution"], "done_bytes": 7, "total_bytes": 8}
    beat = {"type": "Heartbeat", "session": stage.own.member.node.session, "publishing": 1, "uploads": [upload]}
    await stage.own.member.client.publish(subjects.node_heartbeat(stage.own.member.node.id), json.dumps(beat).encode())
    await stage.own.member.node.ask_for_grant(ExecutionId("e-behind-it"))
    told = await stage.running.api(f"/jobs/{stage.words['running']}/executions")
    loot.gain("it is believed", '"DoneBytes": 7' in json.dumps(told))


@ATTEMPTS.named("guesses the ids next to another's execution")
async def _(stage: Stage, loot: Loot) -> None:
    known = stage.words["execution"]
    for digit in "0123456789abcdef":
        guess = ExecutionId(known[:-1] + digit)
        loot.say(guess)
        answer = await stage.own.member.node.ask_for_grant(guess)
        loot.get(messages.encode(answer))
        loot.gain("a grant", not isinstance(answer, messages.RequestRefused))


@ATTEMPTS.named("steers its answers into the inbox of another, which awaits some")
async def _(stage: Stage, loot: Loot) -> None:
    victim = stage.hush.member
    subject = subjects.node_requests(stage.own.member.node.id)
    asked = messages.encode(messages.GrantRequest(execution_id=stage.own.execution.execution_id))
    for number in range(20):
        reply = f"_INBOX.hush-node.{victim.client._nuid.next().decode()}.{number}"
        await stage.own.member.client.publish(subject, asked, reply=reply)
        answer = await victim.node.ask_for_grant(stage.hush.execution.execution_id)
        is_its_own = isinstance(answer, messages.GrantGiven) and stage.words["execution"] in answer.archive.address
        loot.gain("another's answer is taken for its own", not is_its_own)


@ATTEMPTS.named("repeats what another has reported, byte by byte")
async def _(stage: Stage, loot: Loot) -> None:
    fact = messages.ExecutionFailed(reason="Forged")
    recorded = messages.encode(messages.Report(execution_id=stage.hush.execution.execution_id, facts=(fact,)))
    for _ in range(3):
        await stage.own.member.node.tell(recorded)


@ATTEMPTS.named("opens the secrets that were sealed to another")
async def _(stage: Stage, loot: Loot) -> None:
    assert stage.hush.execution.secrets
    try:
        given = SecretsOpener(stage.own.member.node.seed).opened(stage.hush.execution)
    except (SecretsNotOpened, CryptoError):
        return
    loot.gain(f"secrets: {given!r}")


@ATTEMPTS.named("reads the secrets of another without opening them")
async def _(stage: Stage, loot: Loot) -> None:
    """As somebody on the way may, who sees all that goes to the other node."""
    for given in (stage.hush.result, stage.hush.execution):
        for value in (b"hush-value", base64.b64encode(b"hush-value").rstrip(b"=")):
            loot.gain("a secret in the clear", value in given.secrets or value in messages.encode(given))


@ATTEMPTS.named("puts secrets of another execution into its own assignment")
async def _(stage: Stage, loot: Loot) -> None:
    """A node that is led to take another's is not to run with them."""
    mixed = replace(stage.own.execution, secrets=stage.own.result.secrets)
    try:
        SecretsOpener(stage.own.member.node.seed).opened(mixed)
    except SecretsNotOpened:
        return
    loot.gain("secrets of another execution")


@ATTEMPTS.each()
async def test_a_node_gains_nothing_when_it(stage: Stage, attempt: Attempt) -> None:
    assert await stage.gains_of(attempt) == []
