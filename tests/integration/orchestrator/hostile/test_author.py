"""The author of a job who has it run, named, repeated or supplied where or with what is another's."""

import json
from typing import Any

import pytest

from shared.protocol.messages import Assignment
from tests.integration.orchestrator.hostile.attempts import Act, Attempt, Attempts, Loot, filled
from tests.integration.orchestrator.hostile.stage import JOBS, OWN, Stage
from tests.integration.orchestrator.hostile.teams import SECRETS, ended, noop
from tests.integration.orchestrator.hostile.ways import asks

pytestmark = pytest.mark.asyncio(loop_scope="module")

ATTEMPTS = Attempts("the author of a job")
TASK: dict[str, Any] = {"Name": "main", "Engine": {"Type": "noop"}}
JOB: dict[str, Any] = {"Type": "batch", "Tasks": [TASK]}


def submits(job: dict[str, Any], **beside: Any) -> Act:
    """A refusal, which has to be as where there is nothing of another's."""
    return asks(JOBS, "PUT", {"Job": JOB | job, **beside})


def with_task(**more: Any) -> dict[str, Any]:
    return {"Tasks": [TASK | more]}


ATTEMPTS.add(
    ("submits into another namespace", submits({"Namespace": "{namespace}"})),
    ("submits into another namespace by POST", asks(JOBS, "POST", {"Job": JOB | {"Namespace": "{namespace}"}})),
    ("submits into another namespace behind blanks", submits({"Namespace": "  {namespace}  "})),
    ("submits into all namespaces", submits({"Namespace": "*"})),
    ("submits into a namespace with a path", submits({"Namespace": "own/../{namespace}"})),
    ("submits into a namespace with a subject", submits({"Namespace": "{namespace}.>"})),
    (
        "names the namespace twice, the second time another",
        asks(JOBS, "PUT", {"Job": JOB | {"namespace": "own", "Namespace": "{namespace}"}}),
    ),
    (
        "names another namespace in the query",
        asks(f"{JOBS}?namespace={{namespace}}", "PUT", {"Job": JOB | {"Type": "no"}}),
    ),
    ("names another namespace beside the job", submits({"Type": "no"}, Namespace="{namespace}")),
    ("replaces another's job by its name", submits({"Namespace": "{namespace}", "Name": "{name}"}, Force=True)),
    ("calls its job as another's is called, by id", submits({"Name": "{done}"})),
    ("calls its job as another's is called, by the beginning of its id", submits({"Name": "{done_beginning}"})),
    (
        "repeats another's submission by its idempotency token",
        submits({"Namespace": "{namespace}"}, IdempotencyToken="hush-idempotency"),
    ),
    (
        "compares with another's job",
        asks(f"{JOBS}/diff", "PUT", {"Job": JOB | {"Namespace": "{namespace}", "Name": "{name}"}}),
    ),
    ("has another's secret as a variable", submits(with_task(Env={"K": "secret:{secret}"}))),
    ("has another's secret as a file", submits(with_task(Secrets=[{"Name": "{secret}", "Path": "/run/key"}]))),
    ("has another's secret by its namespace", submits(with_task(Env={"K": "secret:{namespace}/{secret}"}))),
    ("has another's secret by a path", submits(with_task(Env={"K": "secret:../{namespace}/{secret}"}))),
    ("has another's secret by a dot", submits(with_task(Env={"K": "secret:{namespace}.{secret}"}))),
    ("has all secrets", submits(with_task(Env={"K": "secret:*"}))),
    ("has another's secret by a name that is nearly right", submits(with_task(Env={"K": "secret:hush-secre"}))),
    (
        "has another's secret in a name with a link",
        submits(with_task(Secrets=[{"Name": "../{namespace}/{secret}", "Path": "/k"}])),
    ),
    (
        "has another's secret in another namespace",
        submits({"Namespace": "{namespace}", "Tasks": [TASK | {"Env": {"K": "secret:{secret}"}}]}),
    ),
    (
        "compares a job that has another's secret",
        asks(f"{JOBS}/diff", "PUT", {"Job": JOB | with_task(Env={"K": "secret:{secret}"})}),
    ),
    (
        "runs another's version again under its own job",
        asks(f"{JOBS}/{{own_done}}/rerun", "PUT", {"JobVersion": 99, "IdempotencyToken": "hush-idempotency"}),
    ),
)


def runs(job: dict[str, Any], **beside: Any) -> Act:
    """A job that is taken, in the author's own namespace, and what comes of it when the other team works on."""

    async def act(stage: Stage, loot: Loot) -> None:
        body = {"Job": filled(JOB | job, stage.words), **filled(beside, stage.words)}
        answer = await stage.http(JOBS, "PUT", body, by="own-all")
        loot.say(body)
        loot.get(answer.body)
        if answer.status != 200:
            return
        made = answer.json["JobID"]
        await stage.stir()
        loot.gain("it is run by the other team", not stage.hush.member.accepted.empty())
        while not stage.own.member.accepted.empty():
            given = stage.own.member.accepted.get_nowait()
            _look(loot, given)
            await ended(stage.own.member, given)
        told = await stage.http(f"{JOBS}/{made}?include=executions,history", by="own-all")
        loot.get(told.body)
        executions = told.json["Executions"]["Items"]
        loot.gain("it is placed on another team's node", any(each["NodeID"] == "hush-node" for each in executions))
        loot.gain("it is in another namespace", told.json["Job"]["Namespace"] != OWN)
        await stage.http(f"{JOBS}/{made}", "DELETE", by="own-all")

    return act


def _look(loot: Loot, given: Assignment) -> None:
    """Where the result of what was given may go."""
    if given.archive is not None:
        loot.gain("a URL of another key", f"/namespaces/{OWN}/{given.job_id}/" not in given.archive.address)
    loot.get(given.job_name, given.namespace)


def to(key: str, *values: str, operator: str = "=") -> dict[str, Any]:
    return {"Constraints": [{"Key": key, "Operator": operator, "Values": list(values)}]}


MANAGED: dict[str, Any] = {"Publisher": {"Type": "s3managed"}}


def publishing(**params: Any) -> dict[str, Any]:
    return with_task(Publisher={"Type": "s3managed", "Params": params})


ATTEMPTS.add(
    ("wants another team's node by its name", runs(to("name", "{node}"))),
    ("wants another team's node by its labels", runs(to("kind", "hush-label"))),
    ("wants another team's node by the labels of its token", runs(to("team", "hush-team"))),
    ("wants any node but its own", runs(to("name", "own-node", operator="!="))),
    ("wants another team's node with the highest priority", runs(to("name", "{node}") | {"Priority": 100})),
    ("wants to be on more nodes than it may use", runs({"Count": 50, "Tasks": [TASK]})),
    ("wants to be on all nodes as a daemon", runs({"Type": "daemon"})),
    ("wants to be on all nodes for ops", runs({"Type": "ops"})),
    ("publishes under another's key", runs(publishing(Key="results/namespaces/hush/{done}/{result}.tar.gz"))),
    ("publishes into another bucket", runs(publishing(Bucket="another", Endpoint="http://127.0.0.1:1"))),
    ("publishes for another namespace", runs(publishing(Namespace="hush", Prefix="namespaces/hush"))),
    (
        "publishes to a bucket of its own choice",
        runs(with_task(Publisher={"Type": "s3", "Params": {"Bucket": "b", "Key": "k"}})),
    ),
    (
        "publishes results of another folder's name",
        runs({"Tasks": [TASK | MANAGED | {"ResultPaths": [{"Name": "../hush", "Path": "/out"}]}]}),
    ),
    (
        "reads another's result as an input",
        runs(
            with_task(
                InputSources=[
                    {
                        "Source": {"Type": "s3", "Params": {"Bucket": "b", "Key": "results/namespaces/hush/*"}},
                        "Target": "/in",
                    }
                ]
            )
        ),
    ),
    ("says in its job that it is another's", runs({"ID": "{done}", "JobID": "{done}", "Version": 7, "CreateTime": 1})),
    (
        "says in meta that it is another's",
        runs({"Meta": {"namespace": "hush", "user": "hush-all"}, "Labels": {"namespace": "hush"}}),
    ),
    ("says in labels that it is called as another's", runs({"Labels": {"name": "{name}", "job": "{done}"}})),
    ("calls its job as another's, in its own namespace", runs({"Name": "{name}"})),
    ("uses another's idempotency token in its own namespace", runs({}, IdempotencyToken="hush-idempotency")),
    ("uses another's job id for an idempotency token", runs({}, IdempotencyToken="{done}")),
    ("goes on with another's trace", runs({"Meta": {"traceparent": "00-{done}-1-01"}})),
)


@ATTEMPTS.named("puts a secret of the name of another's and has its own")
async def _(stage: Stage, loot: Loot) -> None:
    put = await stage.http(f"{SECRETS}/hush-secret", "PUT", {"Value": "own-copy"}, by="own-all")
    assert put.status == 200
    loot.say("hush-secret")
    await runs(with_task(Env={"K": "secret:hush-secret"}))(stage, loot)
    assert (await stage.http(f"{SECRETS}/hush-secret", "DELETE", by="own-all")).status == 200


@ATTEMPTS.named("looks for the values of its own secrets in what is told of a job")
async def _(stage: Stage, loot: Loot) -> None:
    """An author who may read jobs is not told what a secret is, as all readers of the namespace would be."""
    made = await stage.running.submit(Tasks=[noop(OWN)], Namespace=OWN)
    await ended(stage.own.member, await stage.own.member.next())
    await stage.running.wait_state(made, "Completed")
    for path in ("", "/history", "/executions", "/versions", "/waits"):
        answer = await stage.http(f"{JOBS}/{made}{path}?include=executions,history", by="own-all")
        loot.gain(f"the value of a secret in {path}", b"own-value" in answer.body)
    listed = await stage.http(SECRETS, by="own-all")
    loot.gain("the value of a secret in the list", "own-value" in json.dumps(listed.json))


@ATTEMPTS.named("fills the queue, and the other team waits for ever")
async def _(stage: Stage, loot: Loot) -> None:
    waits = TASK | {"Timeouts": {"QueueTimeout": 3600}}
    nowhere = {"Constraints": [{"Key": "zone", "Operator": "=", "Values": ["nowhere"]}]}
    body = {"Job": JOB | nowhere | {"Count": 500, "Priority": 100, "Tasks": [waits]}}
    made = (await stage.http(JOBS, "PUT", body, by="own-all")).json["JobID"]
    await stage.stir()  # which waits for the end of what the other team does
    await stage.http(f"{JOBS}/{made}", "DELETE", by="own-all")


@ATTEMPTS.each()
async def test_an_author_gains_nothing_who(stage: Stage, attempt: Attempt) -> None:
    assert await stage.gains_of(attempt) == []
