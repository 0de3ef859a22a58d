"""A program that uses the NATS API with a key for its own team, or by an old password, and wants more."""

import json
from collections.abc import AsyncIterator

import nats.errors
import pytest
import pytest_asyncio

from orchestrator.admission.secret_files import integration_password
from shared.protocol import subjects
from shared.settings.secret import Secret
from tests.integration.orchestrator.hostile.attempts import Attempt, Attempts, Loot
from tests.integration.orchestrator.hostile.stage import Program, Stage
from tests.integration.orchestrator.hostile.ways import (
    asks_service,
    connects,
    is_refused_service,
    is_unanswered,
    listens,
    of_program,
    publishes,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

ATTEMPTS = Attempts("a program")
STATE = f"KV_{subjects.STATE_BUCKET}"
OWN = "tarpon.v1.api.@own-all"
TASK = {"Name": "main", "Engine": {"Type": "noop"}}
JOB = {"Type": "batch", "Tasks": [TASK]}
OWN_DONE = {"JobID": "{own_done}"}
PAUSE = {**OWN_DONE, "Action": "pause"}


ATTEMPTS.add(
    *(
        (f"listens to {what}", listens(subject, queue=queue, holder=of_program))
        for what, subject, queue in (
            ("the events of another namespace", "tarpon.v1.events.hush.>", ""),
            ("the events of one job of another namespace", "tarpon.v1.events.hush.{running}.>", ""),
            ("the events of another namespace by wildcards of the same length", "tarpon.v1.events.*.*.*", ""),
            ("the ends of jobs of all namespaces", "tarpon.v1.events.*.*.state", ""),
            ("all events", "tarpon.v1.events.>", ""),
            ("the events of another namespace in a queue", "tarpon.v1.events.hush.>", "q"),
            ("all of Tarpon", "tarpon.>", ""),
            ("everything", ">", ""),
            ("the answers to another user", "_INBOX.@hush-all.>", ""),
            ("all inboxes", "_INBOX.>", ""),
            ("all inboxes by wildcards", "_INBOX.*.*", ""),
            ("the requests of another user", "tarpon.v1.api.@hush-all.>", ""),
            ("the requests of all, as the service does", "tarpon.v1.api.*.jobs.list", "q"),
            ("the requests of all, in the service's queue", "tarpon.v1.api.>", "q"),
            ("the nodes", "tarpon.v1.node.>", ""),
            ("the orders of a node", "tarpon.v1.node.hush-node.in.orders", ""),
            ("the state", f"$KV.{subjects.STATE_BUCKET}.>", ""),
            ("JetStream", "$JS.>", ""),
            ("the system account", "$SYS.>", ""),
            ("questions to services, to answer them", "$SRV.>", "q"),
        )
    ),
    ("announces an event of another namespace", publishes("tarpon.v1.events.hush.{running}.state", holder=of_program)),
    ("announces an event of its own namespace", publishes("tarpon.v1.events.own.j-1.state", holder=of_program)),
    (
        "asks as another user, for an answer to itself",
        publishes("tarpon.v1.api.@hush-all.jobs.list", {}, holder=of_program),
    ),
    (
        "stops a job as another user",
        publishes("tarpon.v1.api.@hush-all.jobs.stop", {"JobID": "{running}"}, holder=of_program),
    ),
    ("asks as a program with an old password", publishes("tarpon.v1.api.billing.jobs.list", {}, holder=of_program)),
    ("asks as its user without the sign of keys", publishes("tarpon.v1.api.hush-all.jobs.list", {}, holder=of_program)),
    ("asks as the operator", publishes("tarpon.v1.api.operator.jobs.list", {"Namespace": "*"}, holder=of_program)),
    ("asks as any user by a wildcard", publishes("tarpon.v1.api.*.jobs.list", {"Namespace": "*"}, holder=of_program)),
    (
        "names another user behind its own",
        publishes(f"{OWN}.@hush-all.jobs.list", {"Namespace": "hush"}, holder=of_program),
    ),
    ("sends an order to a node", publishes("tarpon.v1.node.hush-node.in.orders", holder=of_program)),
    ("reports as a node", publishes("tarpon.v1.node.hush-node.out.reports", holder=of_program)),
    ("asks for a grant as a node", publishes("tarpon.v1.node.hush-node.out.requests", holder=of_program)),
    ("writes the state", publishes(f"$KV.{subjects.STATE_BUCKET}.user.forged", holder=of_program)),
    ("deletes the state", publishes(f"$JS.API.STREAM.DELETE.{STATE}", b"", holder=of_program)),
    ("answers the service's name for others", publishes("_INBOX.@hush-all.forged", holder=of_program)),
    *(
        (
            f"steers the answer to a question onto {what}",
            publishes(f"{OWN}.jobs.list", {"Namespace": "own", "Limit": 1}, reply=reply, holder=of_program),
        )
        for what, reply in {
            "the state": f"$KV.{subjects.STATE_BUCKET}.job.j-forged",
            "the deletion of the state": f"$JS.API.STREAM.DELETE.{STATE}",
            "a node's orders": "tarpon.v1.node.hush-node.in.orders",
            "an event of another namespace": "tarpon.v1.events.hush.j-forged.state",
            "another user's requests": "tarpon.v1.api.@hush-all.jobs.stop",
        }.items()
    ),
    (
        "has its question traced onto the state",
        publishes(
            f"{OWN}.jobs.list",
            {},
            headers={"Nats-Trace-Dest": f"$KV.{subjects.STATE_BUCKET}.job.j-forged"},
            holder=of_program,
        ),
    ),
    (
        "says in headers that it is another user",
        publishes(
            f"{OWN}.jobs.list",
            {"Namespace": "hush"},
            headers={"Authorization": "Bearer x", "X-Tarpon-User": "hush-all", "Nats-Request-Info": "hush-all"},
            holder=of_program,
        ),
    ),
)

ATTEMPTS.add(
    ("asks JetStream for the streams", is_unanswered("$JS.API.STREAM.NAMES", holder=of_program)),
    ("reads the state directly", is_unanswered(f"$JS.API.DIRECT.GET.{STATE}", b'{"seq": 1}', holder=of_program)),
    ("asks servers for connections", is_unanswered(subjects.server_request("PING", "CONNZ"), holder=of_program)),
    ("asks the system account who is in its own", is_unanswered("$SYS.REQ.ACCOUNT.PING.CONNZ", holder=of_program)),
)

ATTEMPTS.add(
    ("lists the jobs of another namespace", asks_service("jobs.list", {"Namespace": "{namespace}"})),
    ("lists the jobs of all namespaces", asks_service("jobs.list", {"Namespace": "*"})),
    ("lists from a token of its own making", asks_service("jobs.list", {"Namespace": "*", "NextToken": "0"})),
    ("gets another's job by its id", asks_service("jobs.get", {"JobID": "{done}"})),
    (
        "gets another's job by its name and namespace",
        asks_service("jobs.get", {"JobID": "{name}", "Namespace": "{namespace}"}),
    ),
    (
        "gets another's job with executions and history",
        asks_service("jobs.get", {"JobID": "{running}", "Include": ["executions", "history"]}),
    ),
    ("gets another's job by an execution's id", asks_service("jobs.get", {"JobID": "{execution}"})),
    ("asks for another's history", asks_service("jobs.history", {"JobID": "{done}", "AfterSeqNum": 1})),
    ("asks for another's results", asks_service("jobs.results", {"JobID": "{done}"})),
    (
        "asks for another's result under its own job",
        asks_service("jobs.results", {"JobID": "{own_done}", "ExecutionID": "{result}"}),
    ),
    ("asks what another's job waits for", asks_service("jobs.waits", {"JobID": "{waiting}", "Limit": 1000})),
    ("stops another's job", asks_service("jobs.stop", {"JobID": "{running}", "Namespace": "{namespace}"})),
    ("has another's job run now", asks_service("jobs.schedule", {"JobID": "{waiting}", "Action": "run-now"})),
    ("deletes another's job with its results", asks_service("jobs.delete", {"JobID": "{done}", "Results": True})),
    ("deletes another's running job by force", asks_service("jobs.delete", {"JobID": "{running}", "Force": True})),
    ("lists nodes of other namespaces", asks_service("nodes.list", {})),
    ("lists nodes after one that it guesses", asks_service("nodes.list", {"NextToken": "hush"})),
    (
        "submits a job into another namespace",
        asks_service("jobs.submit", {"Job": {"Type": "batch", "Namespace": "{namespace}", "Tasks": [TASK]}}),
    ),
    (
        "submits a job that takes a secret of another namespace",
        asks_service("jobs.submit", {"Job": {"Type": "batch", "Tasks": [TASK | {"Env": {"K": "secret:{secret}"}}]}}),
    ),
    ("lists jobs without the capability", is_refused_service("jobs.list", {}, by="own-submits")),
    ("lists nodes without the capability", is_refused_service("nodes.list", {}, by="own-submits")),
    ("gets its own job without the capability", is_refused_service("jobs.get", OWN_DONE, by="own-submits")),
    ("gets its own results without the capability", is_refused_service("jobs.results", OWN_DONE, by="own-submits")),
    ("follows its own job without the capability", is_refused_service("jobs.history", OWN_DONE, by="own-submits")),
    ("submits a job without the capability", is_refused_service("jobs.submit", {"Job": JOB}, by="own-reader")),
    ("stops its own job without the capability", is_refused_service("jobs.stop", OWN_DONE, by="own-reader")),
    ("pauses its own job without the capability", is_refused_service("jobs.schedule", PAUSE, by="own-reader")),
    ("deletes its own job without the capability", is_refused_service("jobs.delete", OWN_DONE, by="own-reader")),
)

ATTEMPTS.add(
    ("connects as another user with its own key", connects(user="hush-all", password="{key_own_all}")),
    ("connects as a user that is not there with its own key", connects(user="nobody", password="{key_own_all}")),
    ("connects with a key that was revoked", connects(user="own-gone", password="{key_own_gone}")),
    ("connects with a key for a token, as a node", connects(name="n-new", token="{key_own_all}")),
    ("connects with an old password that it makes up", connects(user="billing", password="billing")),
    ("connects as another user without a password", connects(user="hush-all", password="")),
    ("connects under a name with a wildcard", connects(user="*", password="{key_own_all}")),
    ("connects with the sign of keys in its name", connects(user="@hush-all", password="{key_own_all}")),
)


@ATTEMPTS.named("is an old integration that asks as a user with a key")
async def _(stage: Stage, loot: Loot) -> None:
    """It may ask about all jobs, as it always could, but as itself."""
    for principal in ("@hush-all", "payroll"):
        subject = f"tarpon.v1.api.{principal}.jobs.list"
        try:
            answer = await stage.programs["billing"].client.request(subject, b"{}", timeout=0.25)
        except (nats.errors.Error, TimeoutError):
            continue
        loot.gain(f"an answer as {principal}", b"Items" in answer.data)


@ATTEMPTS.named("is an old integration that listens to nodes and inboxes")
async def _(stage: Stage, loot: Loot) -> None:
    for subject in ("tarpon.v1.node.>", "_INBOX.>", "_INBOX.@hush-all.>", "$KV.>", "tarpon.v1.api.>", ">"):
        subscription, heard = await stage.hear(stage.programs["billing"].client, subject)
        await stage.stir()
        loot.gain(f"it hears {subject}", heard)
        await subscription.unsubscribe()


@ATTEMPTS.named("steers its answers into the inbox of another user, who awaits some")
async def _(stage: Stage, loot: Loot) -> None:
    """Each answer has a subject that nobody guesses, beside the prefix that is known."""
    own, victim = stage.programs["own-all"], stage.programs["hush-all"]
    for number in range(20):
        reply = f"_INBOX.@hush-all.{victim.client._nuid.next().decode()}.{number}"
        await own.client.publish(f"{OWN}.jobs.list", b"{}", reply=reply)
        told = json.loads(await victim.ask("jobs.get", {"JobID": stage.words["done"]}))
        loot.gain("another's answer is taken for its own", told.get("Job", {}).get("ID") != stage.words["done"])


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def billing(stage: Stage) -> AsyncIterator[None]:
    """A program with a password that follows from the integration secret."""
    secret = stage.running.config.data_dir / "orchestrator" / "secrets" / "integration.secret"
    password = integration_password(Secret(secret.read_text().strip()), "billing").reveal()
    async with stage.connected(user="billing", password=password, inbox_prefix="_INBOX.billing") as client:
        stage.programs["billing"] = Program("billing", client)
        assert "Items" in json.loads(await stage.programs["billing"].ask("jobs.list", {}))
        yield


@ATTEMPTS.each()
async def test_a_program_gains_nothing_when_it(stage: Stage, attempt: Attempt) -> None:
    assert await stage.gains_of(attempt) == []
