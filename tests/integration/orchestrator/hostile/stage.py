"""The stage of hostile attempts: a running orchestrator with two teams, and what is looked at for gains (no tests).

One team is attacked (`hush`), and the attacker has what is of the other one (`own`). After each attempt all that it
sent has been dealt with before anything is looked at.
"""

import asyncio
import base64
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from orchestrator.admission import budgets
from shared.messaging.client import taken_in
from shared.protocol import messages, subjects
from shared.protocol.messages import GrantRequest, Heartbeat
from shared.protocol.objects import is_record_key
from shared.protocol.pasted import ApiKey, read
from tests.integration.orchestrator.hostile.attempts import FORGED, Attempt, Loot
from tests.integration.orchestrator.hostile.teams import (
    SECRETS,
    TOKENS,
    USERS,
    Member,
    Team,
    ended,
    join_token,
    key_of,
    member,
    noop,
    settled,
)
from tests.integration.running import Answer, Running, ask, running_orchestrator
from tests.servers import HOST, S3Server
from tests.waiting import answered

HUSH, OWN = "hush", "own"
API = "/api/v1"
ORCHESTRATOR = f"{API}/orchestrator"
JOBS = f"{ORCHESTRATOR}/jobs"
OPERATORS_KEY = secrets.token_urlsafe(24)
SETS = (
    "API.Auth.Anonymous=false",
    f'API.Auth.Users=[{{"APIKey": "{OPERATORS_KEY}", "Capabilities": [{{"Actions": ["*"]}}]}}]',
    "Orchestrator.NodeManager.DisconnectTimeout=1h",
    "Orchestrator.NodeManager.AnswerTimeout=1h",
    "Orchestrator.NodeManager.StartTimeout=2h",
    "Orchestrator.NodeManager.MessagesPerSecond=1000000",
)
WITHIN = 30.0
SILENT = 0.25
"""How long an answer is waited for that is not to come."""


class Program:
    """A program that uses the NATS API as one user, and what it hears."""

    def __init__(self, principal: str, client: Client) -> None:
        self.principal = principal
        self.client = client

    async def ask(self, what: str, body: Any, *, principal: str = "") -> bytes:
        subject = subjects.api_request(principal or self.principal, what)
        return bytes((await self.client.request(subject, json.dumps(body).encode(), timeout=WITHIN)).data)


class Stage:
    def __init__(self, running: Running, s3: S3Server, bucket: str, hush: Team, own: Team) -> None:
        self.running = running
        self.s3 = s3
        self.bucket = bucket
        self.hush = hush
        self.own = own
        self.keys: dict[str, str] = {
            f"{team.namespace}-{name}": key for team in (hush, own) for name, key in team.keys.items()
        }
        self.words = hush.words() | {f"own_{name}": word for name, word in own.words().items()}
        self.absent = self.words | ABSENT
        for words in (self.words, self.absent):
            words["beginning"] = words["execution"][:20]
            words["done_beginning"] = words["done"][:20]
        self.seeds: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        self.programs: dict[str, Program] = {}
        self.inspector: Client
        self._stirred: deque[str] = deque()
        self._views: tuple[int, dict[str, Any]] = (0, {})
        self._http = running.http

    @property
    def secrets(self) -> Mapping[str, str]:
        """What nobody of the other team may see, by what it is."""
        team = self.hush
        ids = {name: self.words[name] for name in ("done", "running", "waiting", "result", "execution", "upload")}
        return {f"the id of {name}": word for name, word in ids.items()} | {
            "the key of a user": team.keys["all"],
            "the secret of a join token": team.token.credential.partition(".")[2],
        }

    # ---- what the other team does -----------------------------------------------------------------------------------

    async def stir(self) -> None:
        """The team that is attacked does all that it ever does, so that who listens has something to hear."""
        job = await self.submit_for_hush()
        victim = self.hush.member
        while (given := await victim.next()).job_id != job:
            victim.forged.append(f"job {given.job_name}")
        await victim.node.ask(GrantRequest(execution_id=self.hush.execution.execution_id))
        beat = messages.encode(Heartbeat(session=victim.node.session))
        await victim.node.connection.publish(subjects.node_heartbeat(victim.node.id), beat)
        await ended(victim, given)
        await self.programs["hush-all"].ask("jobs.list", {})
        await self.running.wait_state(job, "Completed")

    async def submit_for_hush(self, **more: Any) -> str:
        """A job of the team that is attacked, of which nothing is a gain."""
        name = f"hush-{len(self._stirred)}"
        job = await self.running.submit(Tasks=[noop(HUSH)], Namespace=HUSH, Name=name, **more)
        self._stirred.append(job)
        return job

    async def hear(self, client: Client, subject: str, queue: str = "") -> tuple[Subscription, list[Msg]]:
        heard: list[Msg] = []

        async def take(message: Msg) -> None:
            heard.append(message)

        return await client.subscribe(subject, queue, cb=take), heard

    async def watch_for_forgeries(self) -> None:
        """Events that reach the team that is attacked, and are none of the orchestrator's."""
        program = self.programs["hush-all"]

        async def take(message: Msg) -> None:
            if FORGED.encode() in message.data:
                self.hush.member.forged.append(message.subject)

        await program.client.subscribe("tarpon.v1.events.hush.>", cb=take)
        await taken_in(program.client)

    def shown_keys(self) -> dict[str, str]:
        """The keys of users, and what is nearly one, as words of attempts."""
        key = self.keys["own-all"]
        own, hush = read(key, ApiKey), read(self.keys["hush-all"], ApiKey)
        digest = base64.urlsafe_b64encode(bytes.fromhex(hush.digest)).decode().rstrip("=")
        return {f"key_{name.replace('-', '_')}": text for name, text in self.keys.items()} | {
            "cut_key": key[:-2],
            "mistyped_key": f"{key[:30]}{'A' if key[30] != 'A' else 'B'}{key[31:]}",
            "crossed_key": ApiKey(id=hush.id, secret=own.secret).text(),
            "digest_key": f"{hush.id}.{digest}",
            "join_token": self.own.token.text(),
        }

    # ---- what an attempt uses ---------------------------------------------------------------------------------------

    async def http(self, path: str, method: str = "GET", body: Any = None, *, by: str = "", **more: Any) -> Answer:
        """As the user whose key is called so; without one nobody in particular asks."""
        shown = {"Authorization": f"Bearer {self.keys[by]}"} if by else {}
        headers = shown | more.pop("headers", {})
        url = f"http://{HOST}:{self.running.config.api.port}{path}"
        async with asyncio.timeout(WITHIN):
            return await ask(self._http, url, method, body, headers=headers, **more)

    @asynccontextmanager
    async def connected(self, **options: Any) -> AsyncIterator[Client]:
        """To NATS, or what nats-py raises."""
        client = Client()
        settings: dict[str, Any] = {"allow_reconnect": False, "connect_timeout": WITHIN, "error_cb": _ignored}
        try:
            await client.connect(self.running.server, **settings | options)
            await taken_in(client)
            yield client
        finally:
            await client.close()

    # ---- the judge --------------------------------------------------------------------------------------------------

    async def gains_of(self, attempt: Attempt) -> list[str]:
        loot, before = Loot(self.secrets), await self._watched()
        await attempt.act(self, loot)
        await self.settled_messages()
        after = await self._watched()
        changed = [f"{what} of others is changed" for what in before if before[what] != after.get(what, before[what])]
        forged = [f"what the other team takes for genuine: {what}" for what in self.hush.member.forged]
        self.hush.member.forged.clear()
        return [*loot.gains(), *changed, *forged]

    async def settled_messages(self) -> None:
        """All that was sent has been dealt with, and has arrived."""
        clients = [self.own.member.client, self.hush.member.client, *(each.client for each in self.programs.values())]
        for client in (*clients, self.inspector, *clients):
            await taken_in(client)
        reports = self.inspector.jetstream()

        async def left() -> int:
            return int((await reports.stream_info(subjects.REPORTS_STREAM)).state.messages)

        await answered(left, lambda count: not count, within=60, what="all reports have been dealt with")

    async def _watched(self) -> dict[str, Any]:
        objects = await asyncio.to_thread(self._objects)
        state = await self.inspector.jetstream().stream_info(f"KV_{subjects.STATE_BUCKET}")
        streams = await self.inspector.jetstream().streams_info()
        if self._views[0] != state.state.last_seq:
            self._views = state.state.last_seq, await self._read()
        node = (await self.running.api("/nodes/hush-node"))["Node"]
        seen = {"the connection": node["Connection"]}
        return self._views[1] | objects | seen | {"the streams": sorted(str(each.config.name) for each in streams)}

    def _objects(self) -> dict[str, Any]:
        """But for those that the attacker's own execution may write, and records, which come when there is time."""
        client, own = self.s3.client(), str(self.own.execution.execution_id)
        listed = client.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        listed = [each for each in listed if not is_record_key(each["Key"], "results/")]
        uploads = client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return {
            "an object": {each["Key"]: each["ETag"] for each in listed if own not in each["Key"]},
            "an upload": sorted(each["UploadId"] for each in uploads if own not in each["Key"]),
        }

    async def _read(self) -> dict[str, Any]:
        """As an operator sees what is the other team's, and everybody's."""
        jobs = (await self.running.api("/jobs?namespace=hush&limit=1000"))["Items"]
        told = {job: await self.running.api(f"/jobs/{job}?include=executions,history") for job in self._crown()}
        users = (await self.running.ask(USERS)).json["Users"]
        tokens = (await self.running.ask(TOKENS)).json["Tokens"]
        nodes = (await self.running.api("/nodes"))["Nodes"]
        kept = (await self.running.ask(f"{SECRETS}?namespace=hush")).json["Secrets"]
        weights = (await self.running.api("/namespaces"))["Namespaces"]
        return {
            "a job": sorted(each["ID"] for each in jobs if each["ID"] not in self._stirred),
            "the course of a job": told,
            "a user": users,
            "a join token": tokens,
            "a node": {each["Info"]["NodeID"]: _kept_of(each) for each in nodes},
            "a secret": kept,
            "a weight": {each["Name"]: each["Weight"] for each in weights},
        }

    def _crown(self) -> tuple[str, ...]:
        """Jobs that nothing may happen to; of the attacker's own the one whose result is final."""
        return self.hush.done, self.hush.running, self.hush.waiting, self.own.done


def _kept_of(node: dict[str, Any]) -> dict[str, Any]:
    told = {name: node.get(name) for name in ("Membership", "Namespaces", "JoinToken", "Draining")}
    return told | {"Labels": {key: node["Info"]["Labels"].get(key) for key in ("team", "name")}}


async def _ignored(_: Exception) -> None:
    """What is refused is seen by what it does."""


ABSENT = {
    "namespace": "none",
    "node": "none-node",
    "name": "none-done",
    "secret": "none-secret",
    "done": "j-00000000-0000-4000-8000-000000000001",
    "running": "j-00000000-0000-4000-8000-000000000002",
    "waiting": "j-00000000-0000-4000-8000-000000000003",
    "result": "e-00000000-0000-4000-8000-000000000004",
    "execution": "e-00000000-0000-4000-8000-000000000005",
    "upload": "00000000000000000000000000000006",
    "token": "0000000000000007",
    "label": "none-label",
}
"""In place of each thing of the other team one that is not there: both are to be answered alike."""


@asynccontextmanager
async def hostile_stage(folder: Path, s3: S3Server) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for budget in ("HEARTBEATS", "REQUESTS", "REGISTRATIONS"):  # so that it is never a budget that refuses
            patch.setattr(budgets, f"{budget}_PER_SECOND", 1e6)
        shown = {"Authorization": f"Bearer {OPERATORS_KEY}"}
        running = await stack.enter_async_context(running_orchestrator(folder, s3, patch, sets=SETS, shown=shown))
        teams = [await _team(running, name, stack) for name in (HUSH, OWN)]
        stage = Stage(running, s3, running.config.publishers.types.s3managed.bucket, *teams)
        await _others(stage, stack)
        yield stage


async def _team(running: Running, name: str, stack: AsyncExitStack) -> Team:
    labels = {"team": f"{name}-team"}
    token = await join_token(running, Namespaces=[name], Labels=labels)
    made: Member = await stack.enter_async_context(member(running, name, token))
    spare = await join_token(running, Namespaces=[name], Labels=labels)
    return await settled(running, name, made, spare)


async def _others(stage: Stage, stack: AsyncExitStack) -> None:
    """Users with few rights, programs, and a look behind the scenes."""
    running = stage.running
    own, everywhere = (OWN,), ()
    for name, capabilities, namespaces in (
        ("own-jobs", ("read:job",), own),
        ("own-submits", ("write:job",), own),
        ("own-nodes", ("read:node", "write:node"), own),
        ("own-agent", ("read:agent", "write:agent"), own),
        ("all-nodes", ("read:node",), everywhere),
        ("all-writer", ("write:*",), everywhere),
        ("all-reader", ("read:*",), everywhere),
        ("own-gone", ("*",), everywhere),
    ):
        stage.keys[name] = await key_of(running, name, *capabilities, namespaces=namespaces)
    assert (await running.ask(f"{USERS}/own-gone", "DELETE")).status == 200
    for name in ("hush-all", "own-all", "own-submits", "own-reader"):
        client = await stack.enter_async_context(
            stage.connected(user=name, password=stage.keys[name], inbox_prefix=f"_INBOX.@{name}")
        )
        stage.programs[name] = Program(subjects.keyed_principal(name), client)
    seed = (running.config.data_dir / "orchestrator" / "secrets" / "orchestrator.nkey").read_text().strip()
    stage.inspector = await stack.enter_async_context(stage.connected(nkeys_seed_str=seed, name="inspector"))
    await stage.watch_for_forgeries()
