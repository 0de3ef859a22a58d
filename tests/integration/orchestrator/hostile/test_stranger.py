"""Somebody on the network who is nobody: without a key, a token or a password, at all doors that there are."""

import asyncio
import json

import nats.errors
import pytest

from shared.messaging.client import taken_in
from tests.integration.orchestrator.hostile.attempts import Act, Attempt, Attempts, Loot, filled
from tests.integration.orchestrator.hostile.stage import API, JOBS, ORCHESTRATOR, WITHIN, Stage
from tests.integration.orchestrator.hostile.teams import SECRETS, TOKENS, USERS
from tests.integration.orchestrator.hostile.ways import asks, connects, is_refused
from tests.servers import HOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

ATTEMPTS = Attempts("a stranger")
JOB = {"Job": {"Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "noop"}}]}}

ATTEMPTS.add(
    *(
        (f"{what} without a key", is_refused(path, method, body))
        for what, method, path, body in (
            ("lists jobs", "GET", f"{JOBS}?namespace=*", None),
            ("gets a job", "GET", f"{JOBS}/{{done}}", None),
            ("gets results", "GET", f"{JOBS}/{{done}}/results", None),
            ("follows events", "GET", f"{JOBS}/{{running}}/events", None),
            ("submits a job", "PUT", JOBS, JOB),
            ("submits a job into a namespace", "POST", JOBS, {"Job": JOB["Job"] | {"Namespace": "hush"}}),
            ("stops a job", "DELETE", f"{JOBS}/{{running}}", None),
            ("deletes a job", "DELETE", f"{JOBS}/{{done}}/record?results=true", None),
            ("runs a job again", "PUT", f"{JOBS}/{{done}}/rerun", {}),
            ("lists secrets", "GET", f"{SECRETS}?namespace=hush", None),
            ("puts a secret", "PUT", f"{SECRETS}/hush-secret?namespace=hush", {"Value": "forged"}),
            ("makes the first user", "PUT", USERS, {"Name": "forged", "Capabilities": ["*"]}),
            ("revokes a user", "DELETE", f"{USERS}/hush-all", None),
            ("makes a join token", "PUT", TOKENS, {}),
            ("lists nodes", "GET", f"{ORCHESTRATOR}/nodes", None),
            ("approves a node", "PUT", f"{ORCHESTRATOR}/nodes/hush-node", {"Action": "approve"}),
            ("reads the settings", "GET", f"{API}/agent/config", None),
            ("reads the metrics", "GET", "/metrics", None),
            ("reads how the agent is", "GET", f"{API}/agent/node", None),
            ("asks for HEAD of a job", "HEAD", f"{JOBS}/{{done}}", None),
            ("asks with two slashes", "GET", f"/{JOBS}/{{done}}", None),
            ("asks with an encoded path", "GET", f"{ORCHESTRATOR}/%6aobs/{{done}}", None),
            ("authenticates as clients of the reference do", "POST", f"{API}/auth/ClientKey", {"MethodData": {}}),
        )
    ),
    ("asks as if forwarded from the machine itself", is_refused(JOBS, headers={"X-Forwarded-For": "127.0.0.1"})),
    ("asks as if from the machine itself by name", is_refused(JOBS, headers={"Host": "localhost"})),
    ("asks as a page of the API's own origin", is_refused(JOBS, headers={"Origin": "http://127.0.0.1"})),
    (
        "asks as a user by headers of proxies",
        is_refused(JOBS, headers={"X-Remote-User": "operator", "X-Forwarded-User": "operator"}),
    ),
    ("asks as the client of the reference", is_refused(JOBS, headers={"X-Bacalhau-Git-Version": "v1.9.3"})),
    ("asks with a cookie", is_refused(JOBS, headers={"Cookie": "session=operator; Authorization=Bearer everybody"})),
    ("asks with the empty password of the operator", is_refused(JOBS, headers={"Authorization": "Basic b3BlcmF0b3I6"})),
    ("asks for what is open to all, to learn of others", asks(f"{API}/agent/version", by="")),
    ("asks for the description of the API, to learn of others", asks(f"{API}/openapi.json", by="")),
    ("asks whether it is ready, to learn of others", asks("/readyz", by="")),
    ("asks which ways to log in there are", asks(f"{API}/auth", by="")),
)

ATTEMPTS.add(
    ("connects to NATS without anything", connects()),
    ("connects to NATS as an orchestrator by name", connects(name="orchestrator")),
    ("connects to NATS as another team's node by name", connects(name="hush-node")),
    ("connects to NATS with an empty token", connects(name="hush-node", token="")),
    ("connects to NATS with a guessed token", connects(name="n-new", token="tarpon")),
    ("connects to NATS with an empty user", connects(user="", password="")),
    ("connects to NATS as a user of a namespace", connects(user="hush-all", password="hush-all")),
    ("connects to NATS as the system account", connects(user="$SYS", password="")),
    ("connects to NATS as an integration", connects(user="billing", password="")),
)


def before_connecting(*lines: str) -> Act:
    """Speaks to the server before it has said who it is."""

    async def act(stage: Stage, loot: Loot) -> None:
        reader, writer = await asyncio.open_connection(HOST, stage.running.config.orchestrator.port)
        try:
            await reader.readline()
            for line in lines:
                writer.write(filled(line, stage.words).encode() + b"\r\n")
            await stage.stir()
            writer.write(b"PING\r\n")
            async with asyncio.timeout(WITHIN):
                said = await reader.read()
            loot.gain("a message", b"MSG " in said)
            loot.get(said)
        except ConnectionError:
            return
        finally:
            writer.close()

    return act


ATTEMPTS.add(
    ("subscribes to everything before it connects", before_connecting("SUB > 1")),
    ("subscribes to orders before it connects", before_connecting("SUB tarpon.v1.node.hush-node.in.orders 1")),
    ("publishes before it connects", before_connecting("PUB tarpon.v1.node.hush-node.in.orders 6", "forged")),
    ("connects as a leaf node", before_connecting('CONNECT {"name":"leaf","cluster":"x","verbose":false}', "SUB > 1")),
)


def of_bucket(path: str, method: str = "GET", data: bytes | None = None) -> Act:
    """Asks S3 without a signature."""

    async def act(stage: Stage, loot: Loot) -> None:
        words = stage.words | {"bucket": stage.bucket}
        url = f"{stage.s3.endpoint}/{filled(path, words)}"
        loot.say(url)
        async with stage.running.http.request(method, url, data=data) as answer:
            loot.get(await answer.read())
            loot.gain(f"it is answered with {answer.status}", answer.status < 400)

    return act


RESULT = "{bucket}/results/namespaces/hush/{done}/{result}.tar.gz"
ATTEMPTS.add(
    ("lists the bucket", of_bucket("{bucket}?list-type=2")),
    ("lists the uploads of the bucket", of_bucket("{bucket}?uploads")),
    ("reads a result without a signature", of_bucket(RESULT)),
    ("writes a result without a signature", of_bucket(RESULT, "PUT", b"forged")),
    ("deletes a result without a signature", of_bucket(RESULT, "DELETE")),
    ("begins an upload without a signature", of_bucket(f"{RESULT}?uploads", "POST")),
    ("completes another's upload without a signature", of_bucket(f"{RESULT}?uploadId={{upload}}", "POST")),
    ("aborts another's upload without a signature", of_bucket(f"{RESULT}?uploadId={{upload}}", "DELETE")),
    ("makes the bucket public", of_bucket("{bucket}?policy", "PUT", b"{}")),
)


@ATTEMPTS.named("learns from the server's greeting what others are called")
async def _(stage: Stage, loot: Loot) -> None:
    reader, writer = await asyncio.open_connection(HOST, stage.running.config.orchestrator.port)
    loot.get(json.loads((await reader.readline()).removeprefix(b"INFO ")))
    writer.close()


@ATTEMPTS.named("connects while others do, and is taken for one of them")
async def _(stage: Stage, loot: Loot) -> None:
    for _ in range(5):
        try:
            async with stage.connected(name="own-node", token="") as client:
                await taken_in(client)
                loot.gain("a connection")
        except (nats.errors.Error, OSError, TimeoutError):
            continue
    loot.gain("the node has gone", not stage.own.member.client.is_connected)


@ATTEMPTS.each()
async def test_a_stranger_gains_nothing_who(stage: Stage, attempt: Attempt) -> None:
    assert await stage.gains_of(attempt) == []
