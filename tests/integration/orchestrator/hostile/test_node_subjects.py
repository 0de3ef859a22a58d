"""A team's node that listens and sends where it may not: subjects, wildcards, replies, headers, JetStream, services."""

import json

import pytest

from shared.messaging.client import taken_in
from shared.protocol import subjects
from tests.integration.orchestrator.hostile.attempts import Attempt, Attempts, Loot
from tests.integration.orchestrator.hostile.stage import Stage
from tests.integration.orchestrator.hostile.ways import is_unanswered, listens, publishes

pytestmark = pytest.mark.asyncio(loop_scope="module")

ATTEMPTS = Attempts("a node, by subjects")
STATE = f"KV_{subjects.STATE_BUCKET}"
ORDERS, OUT = "tarpon.v1.node.hush-node.in.orders", "tarpon.v1.node.hush-node.out"
OWN = "tarpon.v1.node.own-node.out"
CANCEL = {"type": "CancelExecution", "execution_id": "{execution}", "reason": "forged"}
ASSIGNMENT = {
    "type": "Assignment",
    "execution_id": "e-forged",
    "job_id": "j-forged",
    "job_name": "forged",
    "job_type": "batch",
    "namespace": "hush",
    "job_version": 1,
    "task": {"Name": "main"},
    "resources": {},
}
RECEIPT = {"type": "Receipt", "execution_ids": ["{execution}", "e-forged"]}
GRANT = {"type": "GrantRequest", "execution_id": "{execution}"}
ENDED = {
    "type": "Report",
    "execution_id": "{execution}",
    "facts": [{"type": "TaskEnded", "output": {"stdout": "forged"}, "run_seconds": 1}],
}
BINDING = {"public_key": "U", "schema": 1, "token": "forged"}

ATTEMPTS.add(
    ("listens to the orders of another team's node", listens(ORDERS)),
    ("listens to all that another team's node is told", listens("tarpon.v1.node.hush-node.in.>")),
    ("listens to the orders of all nodes by a wildcard", listens("tarpon.v1.node.*.in.orders")),
    ("listens to all below the nodes", listens("tarpon.v1.node.>")),
    ("listens to all of Tarpon", listens("tarpon.>")),
    ("listens to everything", listens(">")),
    ("listens to everything that begins with any word", listens("*.>")),
    ("listens to six words, whatever they are", listens("*.*.*.*.*.*")),
    ("listens to seven words, whatever they are", listens("*.*.*.*.*.*.*")),
    ("shares a queue for the orders of another team's node", listens(ORDERS, queue="q")),
    ("shares a queue for everything", listens(">", queue="tarpon-auth")),
    ("listens to the answers to another team's node", listens("_INBOX.hush-node.>")),
    ("listens to all inboxes", listens("_INBOX.>")),
    ("listens to all inboxes by two wildcards", listens("_INBOX.*.*")),
    ("listens to the inboxes of the orchestrators", listens("_INBOX.orchestrator.>")),
    ("listens to the inbox of a user", listens("_INBOX.@hush-all.>")),
    ("listens to the subjects that the server makes for replies", listens("_R_.>")),
    ("listens to the reports of another team's node", listens(f"{OUT}.reports")),
    ("listens to the requests of another team's node", listens(f"{OUT}.requests")),
    ("listens to the heartbeats of another team's node", listens(f"{OUT}.heartbeat")),
    ("listens to the reports of all nodes", listens(subjects.ALL_NODE_REPORTS)),
    ("takes a share of the requests of all nodes", listens(subjects.ALL_NODE_REQUESTS, queue="q")),
    ("listens to the reports on their way to the leader", listens(subjects.REPORTS_DELIVERY)),
    ("listens to the events of another team", listens("tarpon.v1.events.hush.>")),
    ("listens to all events", listens(subjects.ALL_EVENTS)),
    ("listens to the requests of programs", listens(subjects.ALL_API_REQUESTS)),
    ("listens to writes of the state", listens(f"$KV.{subjects.STATE_BUCKET}.>")),
    ("listens to one record of the state", listens(f"$KV.{subjects.STATE_BUCKET}.binding.hush-node")),
    ("listens to the lease", listens(f"$KV.{subjects.LEASE_BUCKET}.>")),
    ("listens to requests to JetStream", listens("$JS.API.>")),
    ("listens to acknowledgements of JetStream", listens("$JS.ACK.>")),
    ("listens to what JetStream tells of itself", listens("$JS.EVENT.>")),
    ("listens to the system account", listens("$SYS.>")),
    ("listens to who asks to be let in", listens(subjects.AUTH_REQUESTS, queue="tarpon-auth")),
    ("listens to the questions to services", listens("$SRV.>")),
    ("listens to the names of accounts", listens(subjects.ALL_ACCOUNT_NAMES)),
    ("listens to why others were refused", listens("tarpon.v1.refused.>")),
    ("listens to what other nodes ask who they are", listens("$SYS.REQ.USER.INFO")),
)

ATTEMPTS.add(
    ("sends an order to cancel to another team's node", publishes(ORDERS, CANCEL)),
    ("sends an assignment to another team's node", publishes(ORDERS, ASSIGNMENT)),
    ("sends a receipt to another team's node, so that it forgets", publishes(ORDERS, RECEIPT)),
    ("has another team's node register anew", publishes(ORDERS, {"type": "Register", "by": "forged"})),
    ("has another team's node show a task's output", publishes(ORDERS, CANCEL | {"type": "ReadOutput"})),
    ("has another team's node hand back its work", publishes(ORDERS, RECEIPT | {"type": "HandBack"})),
    ("sends an order to itself as if of the orchestrator", publishes("tarpon.v1.node.own-node.in.orders", ASSIGNMENT)),
    ("asks for a grant as another team's node", publishes(f"{OUT}.requests", GRANT)),
    ("reports as another team's node", publishes(f"{OUT}.reports", ENDED)),
    (
        "registers as another team's node",
        publishes(
            f"{OUT}.requests",
            {"type": "Registration", "info": {"node_id": "hush-node", "version": "0"}, "session": "s", "inventory": 9},
        ),
    ),
    ("reports past the stream, to the leader", publishes(subjects.REPORTS_DELIVERY, ENDED)),
    ("asks the API as a user", publishes("tarpon.v1.api.@hush-all.jobs.list", {})),
    ("asks the API as a program", publishes("tarpon.v1.api.billing.jobs.list", {})),
    ("stops a job by the API", publishes("tarpon.v1.api.@hush-all.jobs.stop", {"JobID": "{running}"})),
    ("tells of an event of another team", publishes("tarpon.v1.events.hush.{running}.state", {"ID": "forged"})),
    ("writes another team's binding", publishes(f"$KV.{subjects.STATE_BUCKET}.binding.hush-node", BINDING)),
    ("writes a user into the state", publishes(f"$KV.{subjects.STATE_BUCKET}.user.forged", {"name": "forged"})),
    ("takes the lease", publishes(f"$KV.{subjects.LEASE_BUCKET}.{subjects.LEASE_KEY}", b"forged")),
    ("deletes the state", publishes(f"$JS.API.STREAM.DELETE.{STATE}", b"")),
    ("purges the reports", publishes(f"$JS.API.STREAM.PURGE.{subjects.REPORTS_STREAM}", b"")),
    ("deletes a record by its number", publishes(f"$JS.API.STREAM.MSG.DELETE.{STATE}", {"seq": 1})),
    ("makes a stream of all subjects", publishes("$JS.API.STREAM.CREATE.X", {"name": "X", "subjects": ["tarpon.>"]})),
    ("makes a consumer of the state", publishes(f"$JS.API.CONSUMER.CREATE.{STATE}", {"stream_name": STATE})),
    ("acknowledges another's report", publishes(f"$JS.ACK.{subjects.REPORTS_STREAM}.orchestrator.1.1.1.1.1", b"+ACK")),
    ("lists connections in the system account", publishes(subjects.server_request("PING", "CONNZ"), b"")),
    ("kicks a connection in the system account", publishes(subjects.server_request("PING", "KICK"), {"cid": 1})),
    ("asks to judge a connection itself", publishes(subjects.AUTH_REQUESTS, b"forged")),
    ("asks what accounts are called", publishes(subjects.accounts_question("forged"), b"")),
    ("sends to the inbox of another team's node", publishes("_INBOX.hush-node.forged", ASSIGNMENT)),
    ("sends to the inbox of an orchestrator", publishes("_INBOX.orchestrator.forged", b"{}")),
)

ATTEMPTS.add(
    ("asks JetStream for the names of streams", is_unanswered("$JS.API.STREAM.NAMES", b"")),
    ("asks JetStream about the state", is_unanswered(f"$JS.API.STREAM.INFO.{STATE}", b"")),
    ("reads a record of the state directly", is_unanswered(f"$JS.API.DIRECT.GET.{STATE}", b'{"seq": 1}')),
    (
        "reads a user's record directly",
        is_unanswered(f"$JS.API.DIRECT.GET.{STATE}.$KV.{subjects.STATE_BUCKET}.user.hush-all", b""),
    ),
    ("reads another's secret directly", is_unanswered(f"$JS.API.STREAM.MSG.GET.{STATE}", b'{"last_by_subj": "$KV.>"}')),
    ("asks JetStream about its account", is_unanswered("$JS.API.INFO", b"")),
    ("looks for the service of programs", is_unanswered("$SRV.PING", b"")),
    ("looks for the service of programs by its name", is_unanswered("$SRV.INFO.tarpon", b"")),
    ("asks the service how it is used", is_unanswered("$SRV.STATS.tarpon", b"")),
    ("asks a server for its variables", is_unanswered(subjects.server_request("PING", "VARZ"), b"")),
    ("asks the account for its connections", is_unanswered("$SYS.REQ.ACCOUNT.PING.CONNZ", b"")),
    ("asks what it may import of other accounts", is_unanswered("$SYS.REQ.ACCOUNT.TARPON.SUBSZ", b"")),
)

STEERED = {
    "a record of the state": f"$KV.{subjects.STATE_BUCKET}.job.j-forged",
    "another team's binding": f"$KV.{subjects.STATE_BUCKET}.binding.hush-node",
    "the deletion of the state": f"$JS.API.STREAM.DELETE.{STATE}",
    "the purge of the reports": f"$JS.API.STREAM.PURGE.{subjects.REPORTS_STREAM}",
    "the deletion of a message": f"$JS.API.STREAM.MSG.DELETE.{STATE}",
    "the kick of a connection": subjects.server_request("PING", "KICK"),
    "another team's orders": ORDERS,
    "another team's requests": f"{OUT}.requests",
    "the subject of a reply": "_R_.forged.forged",
    "the acknowledgement of a report": f"$JS.ACK.{subjects.REPORTS_STREAM}.orchestrator.1.1.1.1.1",
    "an event of another team": "tarpon.v1.events.hush.j-forged.state",
    "the requests of a user": "tarpon.v1.api.@hush-all.jobs.list",
}
ATTEMPTS.add(
    *(
        (f"steers the answer to its request onto {what}", publishes(f"{OWN}.requests", GRANT, reply=reply))
        for what, reply in STEERED.items()
    ),
    *(
        (f"steers the acknowledgement of its report onto {what}", publishes(f"{OWN}.reports", b"{}", reply=reply))
        for what, reply in STEERED.items()
        if what in {"a record of the state", "another team's binding", "the deletion of the state"}
    ),
    *(
        (f"has a report {what}", publishes(f"{OWN}.reports", b"{}", headers=headers))
        for what, headers in {
            "roll up those of others": {"Nats-Rollup": "all"},
            "traced onto another team's orders": {"Nats-Trace-Dest": ORDERS},
            "traced onto the state": {"Nats-Trace-Dest": f"$KV.{subjects.STATE_BUCKET}.job.j-forged"},
            "scheduled onto another's subject": {
                "Nats-Schedule": "@every 1s",
                "Nats-Schedule-Target": f"{OUT}.reports",
            },
            "expected in the stream of the state": {"Nats-Expected-Stream": STATE},
            "taken for one that another sent before": {"Nats-Msg-Id": "forged"},
        }.items()
    ),
    ("sends below its own subject for reports", publishes(f"{OWN}.reports.hush-node", ENDED)),
    ("names another node behind its own", publishes(f"{OWN}.requests.node.hush-node.out.requests", GRANT)),
)


@ATTEMPTS.named("answers an order of its own twice, the second time for another")
async def _(stage: Stage, loot: Loot) -> None:
    """The permission to answer is for one answer, and for its own."""
    client = stage.own.member.client
    subscription, heard = await stage.hear(client, "tarpon.v1.node.own-node.in.orders")
    await taken_in(client)
    answers = await stage.inspector.subscribe("_INBOX.forged")
    await stage.inspector.publish("tarpon.v1.node.own-node.in.orders", b'{"type":"Probe"}', reply="_INBOX.forged")
    await taken_in(stage.inspector)
    await taken_in(client)
    loot.gain("an order that cannot be answered", not heard)
    for number in range(2):
        await client.publish(heard[0].reply, json.dumps({"number": number}).encode())
    await taken_in(client)
    await taken_in(stage.inspector)
    loot.gain("a second answer", answers.pending_msgs > 1)
    await answers.unsubscribe()
    await subscription.unsubscribe()


@ATTEMPTS.named("beats as another team's node, and says what that does")
async def _(stage: Stage, loot: Loot) -> None:
    beat = {"type": "Heartbeat", "session": stage.hush.member.node.session, "running": 77}
    await publishes(f"{OUT}.heartbeat", beat)(stage, loot)
    await stage.own.member.register()
    found = await stage.running.api("/nodes/hush-node")
    loot.gain("it is believed", found["Node"]["Info"]["ComputeNodeInfo"]["RunningExecutions"] == 77)


@ATTEMPTS.each()
async def test_a_node_gains_nothing_when_it(stage: Stage, attempt: Attempt) -> None:
    assert await stage.gains_of(attempt) == []
