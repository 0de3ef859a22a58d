"""Machines that want in, or back in: with what they may not use, as whom they are not, or after they were cut off."""

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import nats.errors
import nkeys
import pytest
import pytest_asyncio
from nats.aio.client import Client

from shared.messaging.client import taken_in
from shared.protocol import subjects
from shared.protocol.messages import TAKES_SECRETS
from shared.protocol.pasted import JoinToken, read
from tests.integration.orchestrator.hostile.attempts import Act, Attempt, Attempts, Loot
from tests.integration.orchestrator.hostile.stage import HUSH, ORCHESTRATOR, SILENT, WITHIN, Stage
from tests.integration.orchestrator.hostile.teams import ROOM, TOKENS, join_token
from tests.integration.orchestrator.hostile.ways import connects
from tests.nats_bus import new_user_seed, public_key
from tests.servers import HOST
from tests.waiting import answered

pytestmark = pytest.mark.asyncio(loop_scope="module")

ATTEMPTS = Attempts("a machine that wants in")


def joins(name: str, token: str, *, seed: str = "") -> Act:
    """With a fresh key, or with that of `seed`."""

    async def act(stage: Stage, loot: Loot) -> None:
        more = {"nkeys_seed_str": seed or new_user_seed(), "inbox_prefix": f"_INBOX.{name}"}
        await connects(name=name, token=token, **more)(stage, loot)

    return act


ATTEMPTS.add(
    ("takes the id of another team's node with a token of its own", joins("hush-node", "{spare}")),
    ("takes the id of another team's node with the token by which that came", joins("hush-node", "{used}")),
    ("takes the id of another team's node with its own node's key", joins("hush-node", "", seed="{own_seed}")),
    ("takes the id of another team's node by the join secret", joins("hush-node", "{join_secret}")),
    ("takes a free id with a token that is used up", joins("n-1", "{used}")),
    ("takes a free id with a token that was revoked", joins("n-2", "{revoked}")),
    ("takes a free id with a token that has expired", joins("n-3", "{expired}")),
    ("takes a free id with a token of another cluster", joins("n-4", "{elsewhere}")),
    ("takes a free id with the id of a real token and another secret", joins("n-5", "{forged}")),
    ("takes a free id with the secret of its token and the id of another's", joins("n-6", "{crossed}")),
    ("takes a free id with the id of a token alone", joins("n-7", "{token}")),
    ("takes a free id with a token's digest for its secret", joins("n-8", "{digest}")),
    ("takes a free id with an API key for a token", joins("n-9", "{key_own_all}")),
    ("takes a free id without any token", joins("n-10", "")),
    ("takes a free id with a key of its own team's node and no token", joins("n-11", "", seed="{own_seed}")),
    ("joins by a token for the new key of another node", joins("n-12", "{rekeying}")),
    ("joins under a name with a wildcard", joins("hush-*", "{spare}")),
    ("joins under a name with a dot", joins("hush-node.in", "{spare}")),
    ("joins under the name of everything", joins(">", "{spare}")),
    ("joins under an empty name", joins("", "{spare}")),
    ("joins as an orchestrator by name", connects(name="orchestrator", token="{used}")),
    ("joins as an orchestrator by a key of its own", connects(name="orchestrator", nkeys_seed_str="{own_seed}")),
    ("joins as nobody", connects()),
    ("joins as a system user", connects(user="sys", password="sys")),
    ("asks why it was refused, with a token of another cluster", joins("why.n-new", "{elsewhere}")),
    ("asks why it was refused, without a token", joins("why.n-new", "")),
    ("is a user with the key of its node for a password", connects(user="hush-all", password="{own_seed}")),
)


def signs(name: str, *, shows: str, by: str) -> Act:
    """Shows one public key, and signs with another or with nothing."""

    async def act(stage: Stage, loot: Loot) -> None:
        words = stage.words | stage.seeds | stage.tokens
        shown, seed = words.get(shows, shows), words.get(by, by)
        reader, writer = await asyncio.open_connection(HOST, stage.running.config.orchestrator.port)
        try:
            nonce = json.loads((await reader.readline()).removeprefix(b"INFO "))["nonce"]
            signed = nkeys.from_seed(bytearray(seed, "ascii")).sign(nonce.encode()) if seed else bytes(64)
            code = base64.urlsafe_b64encode(signed).decode().rstrip("=")
            options = {"name": name, "nkey": shown, "sig": code, "auth_token": stage.tokens["used"], "protocol": 1}
            writer.write(b"CONNECT " + json.dumps(options | {"verbose": False}).encode() + b"\r\nPING\r\n")
            async with asyncio.timeout(WITHIN):
                loot.gain("a connection", b"PONG" in await reader.readline())
        finally:
            writer.close()

    return act


ATTEMPTS.add(
    (
        "shows the public key of another team's node and signs with its own",
        signs("hush-node", shows="hush_public", by="own_seed"),
    ),
    ("shows the public key of another team's node and signs nothing", signs("hush-node", shows="hush_public", by="")),
    (
        "shows the public key of the orchestrators and signs with its own",
        signs("orchestrator", shows="orchestrator_public", by="own_seed"),
    ),
    ("shows the public key of the issuer", signs("orchestrator", shows="issuer_public", by="own_seed")),
)


class Limited:
    """What somebody can do who was let in for one thing alone."""

    def __init__(self, client: Client, node: str) -> None:
        self.client = client
        self.node = node

    async def asks(self, stage: Stage, loot: Loot, request: dict[str, Any]) -> None:
        try:
            answer = await self.client.request(
                f"tarpon.v1.node.{self.node}.out.requests", json.dumps(request).encode(), timeout=SILENT
            )
        except (nats.errors.Error, TimeoutError):
            return
        told = json.loads(answer.data or b"{}")
        loot.say(request)
        loot.get(told)
        loot.gain(f"the answer {told.get('type')}", told.get("type") != "RequestRefused")

    async def listens(self, stage: Stage, loot: Loot, subject: str) -> None:
        subscription, heard = await stage.hear(self.client, subject)
        await taken_in(self.client)
        await stage.stir()
        await taken_in(self.client)
        loot.gain(f"it hears {subject}", heard)
        await subscription.unsubscribe()

    async def tells(self, stage: Stage, loot: Loot, message: dict[str, Any]) -> None:
        await self.client.publish(f"tarpon.v1.node.{self.node}.out.reports", json.dumps(message).encode())
        await taken_in(self.client)


EXECUTION = {"execution_id": "e-none"}
FAILED = {"type": "ExecutionFailed", "reason": "Forged"}
WAYS: dict[str, Any] = {
    "asks for a grant": lambda it, stage, loot: it.asks(
        stage, loot, {"type": "GrantRequest", "execution_id": stage.words["execution"]}
    ),
    "begins an upload": lambda it, stage, loot: it.asks(
        stage, loot, {"type": "BeginUpload", "execution_id": stage.words["execution"]}
    ),
    "reports a failure": lambda it, stage, loot: it.tells(
        stage, loot, {"type": "Report", "execution_id": stage.words["execution"], "facts": [FAILED]}
    ),
    "listens to its team's orders": lambda it, stage, loot: it.listens(stage, loot, "tarpon.v1.node.hush-node.in.>"),
    "listens to all nodes": lambda it, stage, loot: it.listens(stage, loot, "tarpon.v1.node.>"),
    "listens to events": lambda it, stage, loot: it.listens(stage, loot, "tarpon.v1.events.>"),
}


def cut_off(way: str) -> Act:
    """A node of the attacked team itself that an operator has rejected: its key is known, and opens nothing."""

    async def act(stage: Stage, loot: Loot) -> None:
        name, seed = "gone-node", stage.seeds["gone_seed"]
        try:
            async with stage.connected(name=name, nkeys_seed_str=seed, inbox_prefix=f"_INBOX.{name}") as client:
                await WAYS[way](Limited(client, name), stage, loot)
        except nats.errors.Error:
            return

    return act


def unapproved(way: str) -> Act:
    """A node that came with a token of the attacked team, and awaits approval."""

    async def act(stage: Stage, loot: Loot) -> None:
        name, seed = "new-node", stage.seeds["new_seed"]
        async with stage.connected(name=name, nkeys_seed_str=seed, inbox_prefix=f"_INBOX.{name}") as client:
            await WAYS[way](Limited(client, name), stage, loot)

    return act


def told_why(way: str) -> Act:
    """With a real token that was revoked, to be told so."""

    async def act(stage: Stage, loot: Loot) -> None:
        seed = new_user_seed()
        prefix = subjects.refused_inbox(public_key(seed))
        shown = {"name": "why.hush-node", "token": stage.tokens["revoked"], "nkeys_seed_str": seed}
        async with stage.connected(inbox_prefix=prefix, **shown) as client:
            await WAYS[way](Limited(client, "hush-node"), stage, loot)

    return act


ATTEMPTS.add(*((f"was rejected and {way}", cut_off(way)) for way in WAYS))
ATTEMPTS.add(*((f"awaits approval and {way}", unapproved(way)) for way in WAYS))
ATTEMPTS.add(*((f"may ask why it was refused and {way}", told_why(way)) for way in WAYS))


@ATTEMPTS.named("awaits approval and is given a job that wants it alone")
async def _(stage: Stage, loot: Loot) -> None:
    name, seed = "new-node", stage.seeds["new_seed"]
    async with stage.connected(name=name, nkeys_seed_str=seed, inbox_prefix=f"_INBOX.{name}") as client:
        subscription, heard = await stage.hear(client, f"tarpon.v1.node.{name}.in.>")
        await _register(client, name)

        def is_given() -> bool:
            return any(b"Assignment" in each.data for each in heard)

        async def state() -> str:
            return str((await stage.running.api(f"/jobs/{job}"))["Job"]["State"]["StateType"])

        job = await stage.submit_for_hush(Constraints=[{"Key": "name", "Operator": "=", "Values": [name]}])
        await answered(state, lambda it: it == "Failed" or is_given(), within=WITHIN, what="it has failed")
        loot.gain("an assignment", is_given())
        await subscription.unsubscribe()


def is_heard(shown: Callable[[Stage], dict[str, Any]], node: str) -> Act:
    """That a report is taken into the stream is the gain."""

    async def act(stage: Stage, loot: Loot) -> None:
        report = json.dumps({"type": "Report", "execution_id": "e-none", "facts": [FAILED]}).encode()
        async with stage.connected(**shown(stage)) as client:
            try:
                taken = await client.request(f"tarpon.v1.node.{node}.out.reports", report, timeout=SILENT)
            except (nats.errors.Error, TimeoutError):
                return
            loot.gain("it is taken", b"seq" in taken.data)

    return act


def _gone(stage: Stage) -> dict[str, Any]:
    return {"name": "gone-node", "nkeys_seed_str": stage.seeds["gone_seed"], "inbox_prefix": "_INBOX.gone-node"}


ATTEMPTS.add(("was rejected and goes on to report about itself", is_heard(_gone, "gone-node")))


@ATTEMPTS.named("was rejected and registers under other labels")
async def _(stage: Stage, loot: Loot) -> None:
    name, seed = "gone-node", stage.seeds["gone_seed"]
    async with stage.connected(name=name, nkeys_seed_str=seed, inbox_prefix=f"_INBOX.{name}") as client:
        told = await _register(client, name)
        loot.gain("a registration", told["type"] != "RequestRefused")


async def _register(client: Client, name: str) -> dict[str, Any]:
    info = {
        "node_id": name,
        "version": "0",
        "engines": ["noop"],
        "publishers": ["s3managed"],
        "capacity": ROOM,
        "abilities": [TAKES_SECRETS],
    }
    asked = {"type": "Registration", "info": info, "session": f"session-of-{name}", "inventory": 1}
    subject = f"tarpon.v1.node.{name}.out.requests"
    answer = await client.request(subject, json.dumps(asked).encode(), timeout=WITHIN)
    told: dict[str, Any] = json.loads(answer.data)
    return told


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def machines(stage: Stage) -> None:
    """Tokens in all states, a node that was rejected, and one that awaits approval."""
    running, own = stage.running, stage.own.token
    secrets = running.config.data_dir / "orchestrator" / "secrets"
    seeds = {name: (secrets / f"{name}.nkey").read_text().strip() for name in ("orchestrator", "issuer")}
    stage.seeds |= {f"{name}_public": public_key(seed) for name, seed in seeds.items()}
    stage.seeds |= {"own_seed": stage.own.member.node.seed, "gone_seed": new_user_seed(), "new_seed": new_user_seed()}
    stage.seeds["hush_public"] = public_key(stage.hush.member.node.seed)
    revoked, expired = await join_token(running), await join_token(running, ExpiresSeconds=1)
    used = await join_token(running, Namespaces=[HUSH])
    approval = await join_token(running, Namespaces=[HUSH], Approval=True)
    for name, token in (("gone-node", used), ("new-node", approval)):
        seed = stage.seeds[f"{name.partition('-')[0]}_seed"]
        shown = {"name": name, "token": token.credential, "nkeys_seed_str": seed, "inbox_prefix": f"_INBOX.{name}"}
        async with stage.connected(**shown) as client:
            assert (await _register(client, name))["type"] == "Reconciliation"
    rejected = await running.ask(f"{ORCHESTRATOR}/nodes/gone-node", "PUT", {"Action": "reject"})
    assert rejected.status == 200, rejected.json
    assert (await running.ask(f"{TOKENS}/{revoked.id}", "DELETE")).status == 200
    forged = JoinToken(id=own.id, secret=bytes(32))
    crossed = JoinToken(id=stage.hush.token.id, secret=own.secret)
    stage.tokens |= {
        "spare": own.credential,
        "used": used.credential,
        "revoked": revoked.credential,
        "expired": expired.credential,
        "elsewhere": JoinToken(id="elsewhere", secret=bytes(range(32))).credential,
        "forged": forged.credential,
        "crossed": crossed.credential,
        "digest": f"{own.id}.{own.digest}",
        "join_secret": running.secret,
        "rekeying": await _rekeying(stage),
    }

    async def state() -> str:
        tokens = (await running.ask(TOKENS)).json["Tokens"]
        return next(str(each["State"]) for each in tokens if each["ID"] == expired.id)

    await answered(state, lambda it: it == "Expired", what="the token has expired")


async def _rekeying(stage: Stage) -> str:
    """The token by which a node may come back under a new key."""
    answer = await stage.running.ask(f"{ORCHESTRATOR}/nodes/gone-node/key", "PUT", {})
    assert answer.status == 200, answer.json
    return read(answer.json["Text"], JoinToken).credential


@ATTEMPTS.each()
async def test_a_machine_gains_nothing_when_it(stage: Stage, attempt: Attempt) -> None:
    assert await stage.gains_of(attempt) == []
