"""A person with a key for one namespace, or with few capabilities, who asks the API for what is another's."""

import json
import time
from typing import Any

import aiohttp
import pytest

from shared.protocol.pasted import ApiKey, read
from shared.protocol.request_signature import PROOF, Signer
from tests.integration.orchestrator.hostile.attempts import Act, Attempt, Attempts, Loot, filled
from tests.integration.orchestrator.hostile.stage import API, JOBS, ORCHESTRATOR, Stage
from tests.integration.orchestrator.hostile.teams import SECRETS, TOKENS, USERS
from tests.integration.orchestrator.hostile.ways import REFUSED, asks, basic, is_refused
from tests.servers import HOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

ATTEMPTS = Attempts("a person of another namespace")
NODES = f"{ORCHESTRATOR}/nodes"
NAMESPACES = f"{ORCHESTRATOR}/namespaces"
IN_HUSH = "namespace={namespace}"
USER: dict[str, Any] = {"Name": "forged", "Capabilities": ["*"]}

# ---- of a key for one namespace, with all capabilities --------------------------------------------------------------

ATTEMPTS.add(
    ("lists the jobs of another namespace", asks(f"{JOBS}?{IN_HUSH}")),
    ("lists the jobs of all namespaces", asks(f"{JOBS}?namespace=*")),
    ("lists the jobs of two namespaces in one word", asks(f"{JOBS}?namespace=own,{{namespace}}")),
    ("names its own namespace and then another", asks(f"{JOBS}?namespace=own&{IN_HUSH}")),
    ("names another namespace in other letters", asks(f"{JOBS}?namespace=HUSH")),
    ("names another namespace behind a blank", asks(f"{JOBS}?namespace=%20{{namespace}}")),
    ("names another namespace with a path", asks(f"{JOBS}?namespace=own/../{{namespace}}")),
    ("finds jobs of others by labels", asks(f"{JOBS}?namespace=*&labels=kind%3D{{label}}")),
    ("finds jobs of others by names", asks(f"{JOBS}?namespace=*&name={{name}}")),
    ("finds jobs of others by a pattern of names", asks(f"{JOBS}?namespace=*&name=h*")),
    ("finds jobs of others by state and age", asks(f"{JOBS}?namespace=*&state=Running&since=1h")),
    ("pages behind a job of another namespace", asks(f"{JOBS}?namespace=*&limit=1&order_by=id&reverse=true")),
    ("gets another's job by its id", asks(f"{JOBS}/{{done}}")),
    ("gets another's job by the beginning of its id", asks(f"{JOBS}/{{done_beginning}}")),
    ("gets another's job by its name", asks(f"{JOBS}/{{name}}?{IN_HUSH}")),
    ("gets another's job by its id in all namespaces", asks(f"{JOBS}/{{done}}?namespace=*")),
    ("gets another's job with its executions", asks(f"{JOBS}/{{running}}?include=executions,history")),
    ("gets a version of another's job", asks(f"{JOBS}/{{done}}?job_version=1")),
    ("gets another's job by a path with dots", asks(f"{JOBS}/{{own_done}}/../{{done}}")),
    ("gets another's job by a path with encoded dots", asks(f"{JOBS}/{{own_done}}%2F..%2F{{done}}")),
    ("gets another's job by a name close to its own", asks(f"{JOBS}/hush-don?{IN_HUSH}")),
    ("asks for another's history", asks(f"{JOBS}/{{done}}/history")),
    (
        "asks for the history of another's execution under its own job",
        asks(f"{JOBS}/{{own_done}}/history?execution_id={{result}}"),
    ),
    ("asks for another's executions", asks(f"{JOBS}/{{running}}/executions?all_job_versions=true")),
    ("gets another's execution by its id", asks(f"{ORCHESTRATOR}/executions/{{execution}}")),
    ("asks for another's versions", asks(f"{JOBS}/{{done}}/versions?{IN_HUSH}")),
    ("asks what another's job waits for", asks(f"{JOBS}/{{waiting}}/waits?limit=1000")),
    ("asks for the URLs of another's results", asks(f"{JOBS}/{{done}}/results")),
    ("asks for the URLs of another's results by name", asks(f"{JOBS}/{{name}}/results?{IN_HUSH}")),
    ("asks for another's result under its own job", asks(f"{JOBS}/{{own_done}}/results?execution_id={{result}}")),
    ("asks for another's results, saying S3 refused the last", asks(f"{JOBS}/{{done}}/results?refused=true")),
    ("follows the events of another's job", asks(f"{JOBS}/{{running}}/events")),
    ("resumes the events of another's job", asks(f"{JOBS}/{{done}}/events", headers={"Last-Event-ID": "0"})),
    ("follows the events of another's job by name", asks(f"{JOBS}/{{name}}/events?{IN_HUSH}")),
    (
        "reads the logs of another's task without a websocket",
        asks(f"{JOBS}/{{running}}/logs?execution_id={{execution}}"),
    ),
    ("stops another's job", asks(f"{JOBS}/{{running}}", "DELETE", {"reason": "forged"})),
    ("stops another's waiting job by name", asks(f"{JOBS}/hush-waiting?{IN_HUSH}&reason=forged", "DELETE")),
    ("deletes another's job with its results", asks(f"{JOBS}/{{done}}/record?results=true&force=true", "DELETE")),
    ("runs another's job again", asks(f"{JOBS}/{{done}}/rerun", "PUT", {"Reason": "forged"})),
    ("runs another's job again by name", asks(f"{JOBS}/{{name}}/rerun?{IN_HUSH}", "PUT", {"JobVersion": 1})),
    ("has another's job run by a schedule", asks(f"{JOBS}/{{waiting}}/schedule", "PUT", {"Action": "run-now"})),
    ("names another namespace in a header", asks(f"{JOBS}/{{name}}", headers={"X-Bacalhau-Namespace": "hush"})),
    (
        "overrides the method in a header",
        asks(f"{JOBS}/{{done}}", "POST", headers={"X-HTTP-Method-Override": "DELETE"}),
    ),
    ("lists the secrets of another namespace", asks(f"{SECRETS}?{IN_HUSH}")),
    ("lists the secrets of all namespaces", asks(f"{SECRETS}?namespace=*")),
    ("replaces a secret of another namespace", asks(f"{SECRETS}/{{secret}}?{IN_HUSH}", "PUT", {"Value": "forged"})),
    ("puts a new secret into another namespace", asks(f"{SECRETS}/forged?{IN_HUSH}", "PUT", {"Value": "forged"})),
    ("deletes a secret of another namespace", asks(f"{SECRETS}/{{secret}}?{IN_HUSH}", "DELETE")),
    ("deletes a secret of another namespace as of its own", asks(f"{SECRETS}/{{secret}}", "DELETE")),
    ("reads the value of a secret of its own", is_refused(f"{SECRETS}/own-secret", by="own-reader")),
    ("lists namespaces", asks(NAMESPACES)),
    ("gives its own namespace more weight", is_refused(f"{NAMESPACES}/own", "PUT", {"Weight": 9}, by="own-all")),
    ("takes weight from another namespace", is_refused(f"{NAMESPACES}/hush", "PUT", {"Weight": 1}, by="own-all")),
    ("lists nodes of other teams", asks(NODES)),
    ("lists nodes of other teams by labels", asks(f"{NODES}?labels=kind%3D{{label}}")),
    ("describes another team's node", asks(f"{NODES}/{{node}}")),
    ("describes another team's node by the beginning of its name", asks(f"{NODES}/hush-")),
)

# ---- what is everybody's, with a key that is limited to one namespace -----------------------------------------------

ATTEMPTS.add(
    *(
        (f"{what} with a key for one namespace", is_refused(path, method, body, by="own-all"))
        for what, method, path, body in (
            ("reads the settings", "GET", f"{API}/agent/config", None),
            ("reads the numbers of all", "GET", f"{API}/agent/debug", None),
            ("reads the unfinished uploads of all", "GET", f"{API}/agent/uploads", None),
            ("reads the metrics of all", "GET", "/metrics", None),
            ("lists users", "GET", USERS, None),
            ("makes a user for all namespaces", "PUT", USERS, USER),
            ("makes a user for its own namespace", "PUT", USERS, USER | {"Namespaces": ["own"]}),
            ("makes a user for another namespace", "PUT", USERS, USER | {"Namespaces": ["hush"]}),
            ("replaces another user", "PUT", USERS, USER | {"Name": "hush-all"}),
            ("revokes another user", "DELETE", f"{USERS}/hush-all", None),
            ("revokes itself under another name", "DELETE", f"{USERS}/own-all", None),
            ("lists join tokens", "GET", TOKENS, None),
            ("makes a join token for all namespaces", "PUT", TOKENS, {}),
            ("makes a join token for another namespace", "PUT", TOKENS, {"Namespaces": ["hush"]}),
            ("revokes another team's join token", "DELETE", f"{TOKENS}/{{token}}", None),
            ("approves a node", "PUT", f"{NODES}/own-node", {"Action": "approve"}),
            ("rejects another team's node", "PUT", f"{NODES}/hush-node", {"Action": "reject", "RevokeToken": True}),
            ("drains another team's node", "PUT", f"{NODES}/hush-node", {"Action": "drain"}),
            ("deletes another team's node", "PUT", f"{NODES}/hush-node", {"Action": "delete", "Force": True}),
            ("gives another team's node a new key", "PUT", f"{NODES}/hush-node/key", {}),
        )
    ),
)

# ---- what a capability is for ---------------------------------------------------------------------------------------

ATTEMPTS.add(
    *(
        (f"{what} with a key to {may}", is_refused(path, method, body, by=by))
        for what, may, by, method, path, body in (
            ("lists jobs", "submit alone", "own-submits", "GET", JOBS, None),
            ("gets a job", "submit alone", "own-submits", "GET", f"{JOBS}/{{own_done}}", None),
            ("gets results", "submit alone", "own-submits", "GET", f"{JOBS}/{{own_done}}/results", None),
            ("follows events", "submit alone", "own-submits", "GET", f"{JOBS}/{{own_done}}/events", None),
            ("lists secrets", "submit alone", "own-submits", "GET", SECRETS, None),
            ("lists namespaces", "submit alone", "own-submits", "GET", NAMESPACES, None),
            ("submits a job", "read jobs", "own-jobs", "PUT", JOBS, {"Job": {}}),
            ("submits a job by POST", "read jobs", "own-jobs", "POST", JOBS, {"Job": {}}),
            ("compares a job", "read jobs", "own-jobs", "PUT", f"{JOBS}/diff", {"Job": {}}),
            ("stops a job", "read jobs", "own-jobs", "DELETE", f"{JOBS}/{{own_running}}", None),
            ("deletes a job", "read jobs", "own-jobs", "DELETE", f"{JOBS}/{{own_done}}/record", None),
            ("runs a job again", "read jobs", "own-jobs", "PUT", f"{JOBS}/{{own_done}}/rerun", {}),
            ("pauses a schedule", "read jobs", "own-jobs", "PUT", f"{JOBS}/{{own_done}}/schedule", {"Action": "pause"}),
            ("puts a secret", "read jobs", "own-jobs", "PUT", f"{SECRETS}/own-secret", {"Value": "forged"}),
            ("deletes a secret", "read jobs", "own-jobs", "DELETE", f"{SECRETS}/own-secret", None),
            ("lists nodes", "read jobs", "own-jobs", "GET", NODES, None),
            ("asks how the agent is", "read jobs", "own-jobs", "GET", f"{API}/agent/node", None),
            ("lists jobs", "look after nodes", "own-nodes", "GET", JOBS, None),
            ("lists join tokens", "look after nodes of one namespace", "own-nodes", "GET", TOKENS, None),
            (
                "rejects a node",
                "look after nodes of one namespace",
                "own-nodes",
                "PUT",
                f"{NODES}/own-node",
                {"Action": "reject"},
            ),
            ("lists users", "look after nodes", "own-nodes", "GET", USERS, None),
            ("makes a join token", "read nodes", "all-nodes", "PUT", TOKENS, {}),
            ("revokes a join token", "read nodes", "all-nodes", "DELETE", f"{TOKENS}/{{token}}", None),
            ("approves a node", "read nodes", "all-nodes", "PUT", f"{NODES}/hush-node", {"Action": "approve"}),
            ("gives a node a new key", "read nodes", "all-nodes", "PUT", f"{NODES}/hush-node/key", {}),
            ("sets a weight", "read nodes", "all-nodes", "PUT", f"{NAMESPACES}/own", {"Weight": 9}),
            ("reads the settings", "read nodes", "all-nodes", "GET", f"{API}/agent/config", None),
            ("lists jobs", "read the agent", "own-agent", "GET", JOBS, None),
            ("reads the metrics", "read the agent of one namespace", "own-agent", "GET", "/metrics", None),
            ("makes a user with more than it has", "write everything", "all-writer", "PUT", USERS, USER),
            (
                "makes a user with what it has",
                "write everything",
                "all-writer",
                "PUT",
                USERS,
                USER | {"Capabilities": ["write:job"]},
            ),
            ("revokes a user", "write everything", "all-writer", "DELETE", f"{USERS}/hush-all", None),
            ("reads a job", "write everything", "all-writer", "GET", f"{JOBS}/{{done}}", None),
            ("lists users", "read everything", "all-reader", "GET", USERS, None),
            ("makes a user", "read everything", "all-reader", "PUT", USERS, USER),
            ("stops a job", "read everything", "all-reader", "DELETE", f"{JOBS}/{{running}}", None),
            ("makes a join token", "read everything", "all-reader", "PUT", TOKENS, {}),
            (
                "puts a secret",
                "read everything",
                "all-reader",
                "PUT",
                f"{SECRETS}/hush-secret?namespace=hush",
                {"Value": "x"},
            ),
        )
    ),
)

# ---- keys that are none, or none any more ---------------------------------------------------------------------------


def shows(header: str, path: str = JOBS) -> Act:
    return is_refused(path, headers={"Authorization": header})


ATTEMPTS.add(
    ("shows a key that was revoked", is_refused(JOBS, by="own-gone")),
    ("makes a user with a key that was revoked", is_refused(USERS, "PUT", USER, by="own-gone")),
    ("shows a key that lacks its end", shows("Bearer {cut_key}")),
    ("shows a key of which one letter is another", shows("Bearer {mistyped_key}")),
    ("shows the secret of its key under another's id", shows("Bearer {crossed_key}")),
    ("shows another's id with the digest for a secret", shows("Bearer {digest_key}")),
    ("shows a join token for a key", shows("Bearer {join_token}")),
    ("shows two keys at once", shows("Bearer {key_own_gone}, Bearer {key_own_all}")),
    ("shows its key as a Token", shows("Token {key_hush_all}")),
    ("shows what opens an API that asks nobody", shows("Bearer everybody")),
    ("shows nothing behind Bearer", shows("Bearer ")),
)


def shows_basic(name: str, password: str) -> Act:
    async def act(stage: Stage, loot: Loot) -> None:
        shown = basic(name, filled(password, stage.words | stage.shown_keys()))
        await is_refused(JOBS, headers=shown)(stage, loot)

    return act


ATTEMPTS.add(
    ("shows its key as another's password", shows_basic("hush-all", "{key_own_all}")),
    ("shows a revoked key as its password", shows_basic("own-gone", "{key_own_gone}")),
    ("shows its key as the operator's password", shows_basic("operator", "{key_own_all}")),
    ("shows its key as the password of nobody", shows_basic("", "{key_own_all}")),
    ("shows a name with a colon", shows_basic("hush-all:", "{key_own_all}")),
)


# ---- signed requests ------------------------------------------------------------------------------------------------


def signed(
    signs: dict[str, Any], sends: dict[str, Any], *, by: str = "own-all", key: str = "", age: float = 0.0
) -> Act:
    """Signs one request and sends another, with `key` for the secret or at another time."""

    async def act(stage: Stage, loot: Loot) -> None:
        holder, secret = read(stage.keys[by], ApiKey), read(stage.keys[key or by], ApiKey).secret
        what = {"method": "GET", "path": JOBS, "body": ""} | filled(signs, stage.words)
        code = Signer(secret).sign(
            holder.id, method=what["method"], target=what["path"], body=what["body"].encode(), now=time.time() - age
        )
        sent = what | filled(sends, stage.words)
        more: dict[str, Any] = {"data": sent["body"].encode()} if sent["body"] else {}
        headers = {"Authorization": code.header, "Content-Type": "application/json"}
        answer = await stage.http(sent["path"], sent["method"], headers=headers, **more)
        loot.say(sent)
        loot.get(answer.body, dict(answer.headers))
        loot.gain(f"it is answered with {answer.status}", answer.status not in REFUSED)
        is_right = not sends and not key  # then it is proven that the answer is of who knows the key, a refusal too
        loot.gain("a proof for what is not signed so", PROOF in answer.headers and not is_right)

    return act


RUN = json.dumps({"Job": {"Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "noop"}}]}})
ATTEMPTS.add(
    ("signs one path and asks another", signed({"path": f"{JOBS}/{{own_done}}"}, {"path": JOBS})),
    ("signs without a query and asks with one", signed({}, {"path": f"{JOBS}?namespace=*"})),
    (
        "signs a query and asks with its parts in another order",
        signed({"path": f"{JOBS}?limit=1&namespace=own"}, {"path": f"{JOBS}?namespace=own&limit=1"}),
    ),
    ("signs GET and sends DELETE", signed({"path": f"{JOBS}/{{own_running}}"}, {"method": "DELETE"})),
    ("signs GET and sends HEAD", signed({}, {"method": "HEAD"})),
    ("signs one body and sends another", signed({"method": "PUT", "body": RUN}, {"body": RUN.replace("main", "more")})),
    ("signs no body and sends one", signed({"method": "PUT"}, {"body": RUN})),
    ("signs an hour ago", signed({}, {}, age=3600)),
    ("signs for an hour to come", signed({}, {}, age=-3600)),
    ("signs with its secret under another's id", signed({}, {}, by="hush-all", key="own-all")),
    ("signs with another revoked secret", signed({}, {}, by="own-all", key="own-gone")),
    ("signs with a key that was revoked", signed({}, {}, by="own-gone")),
    ("signs what it may not do", signed({"path": USERS}, {}, by="own-all")),
    ("signs what another may", signed({"path": f"{JOBS}/{{done}}"}, {}, by="own-all")),
)


@ATTEMPTS.named("repeats a signed request that was answered")
async def _(stage: Stage, loot: Loot) -> None:
    key = read(stage.keys["own-all"], ApiKey)
    code = Signer(key.secret).sign(key.id, method="GET", target=JOBS, body=b"", now=time.time())
    first = await stage.http(JOBS, headers={"Authorization": code.header})
    assert first.status == 200
    for path in (JOBS, f"{JOBS}/", f"{JOBS}?"):
        again = await stage.http(path, headers={"Authorization": code.header})
        loot.gain(f"{path} is answered with {again.status}", again.status < 400)


@ATTEMPTS.named("signs with what is stored of another's key")
async def _(stage: Stage, loot: Loot) -> None:
    key = read(stage.keys["hush-all"], ApiKey)
    for secret in (bytes.fromhex(key.digest), key.digest.encode()):
        code = Signer(secret).sign(key.id, method="GET", target=JOBS, body=b"", now=time.time())
        answer = await stage.http(JOBS, headers={"Authorization": code.header})
        loot.gain(f"it is answered with {answer.status}", answer.status < 400)


# ---- streams --------------------------------------------------------------------------------------------------------


def logs(path: str, *, by: str = "own-all", headers: dict[str, str] | None = None) -> Act:
    """Over a websocket, as programs read them."""

    async def act(stage: Stage, loot: Loot) -> None:
        asked = filled(path, stage.words)
        url = f"ws://{HOST}:{stage.running.config.api.port}{asked}"
        shown = {"Authorization": f"Bearer {stage.keys[by]}"} if by else {}
        loot.say(asked)
        try:
            async with stage.running.http.ws_connect(url, headers=shown | (headers or {})) as socket:
                async for message in socket:
                    told = json.loads(message.data)
                    loot.get(told)
                    loot.gain("a line of a log", bool(told.get("value")))
        except aiohttp.WSServerHandshakeError:
            return

    return act


REFERENCE = {"X-Bacalhau-Git-Version": "v1.9.3"}
ATTEMPTS.add(
    ("reads the logs of another's task", logs(f"{JOBS}/{{running}}/logs")),
    ("reads the logs of another's task by name", logs(f"{JOBS}/hush-running/logs?{IN_HUSH}")),
    (
        "reads the logs of another's task as a client of the reference",
        logs(f"{JOBS}/{{running}}/logs", headers=REFERENCE),
    ),
    (
        "reads the logs of another's execution under its own job",
        logs(f"{JOBS}/{{own_done}}/logs?execution_id={{execution}}"),
    ),
    ("reads the logs of what another has ended", logs(f"{JOBS}/{{done}}/logs?execution_id={{result}}&tail=-1")),
    ("reads logs without the capability", logs(f"{JOBS}/{{own_running}}/logs", by="own-submits")),
    ("reads logs with a key that was revoked", logs(f"{JOBS}/{{running}}/logs", by="own-gone")),
    ("reads logs without a key", logs(f"{JOBS}/{{running}}/logs", by="")),
)


@ATTEMPTS.each()
async def test_a_person_gains_nothing_who(stage: Stage, attempt: Attempt) -> None:
    assert await stage.gains_of(attempt) == []
