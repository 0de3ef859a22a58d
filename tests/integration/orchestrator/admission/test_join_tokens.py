"""Nodes join with tokens: as often as a token allows, and who holds a real one that does not is told why."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from msgspec.structs import replace

from compute.uplink.identity import Identity
from compute.uplink.invitation import Invitation
from compute.uplink.refusals import explain_refusals
from orchestrator.admission.claims import Claim
from orchestrator.admission.node_keys import StoredNodeKeys
from orchestrator.nodes import join_tokens, key_keeping
from orchestrator.nodes.join_tokens import JoinTokenNotFound, JoinTokens, TooManyJoinTokens
from orchestrator.nodes.key_keeping import tend_keys
from orchestrator.nodes.node_changes import NodeShutOut, approve, delete, reject, set_owner
from orchestrator.nodes.presence import Nodes
from orchestrator.rules.joining.join_tokens import JoinTokenUnknown
from orchestrator.rules.records import BindingRecord, EarlierKey, JoinClaim, Record, TokenRecord
from orchestrator.storage.store import Store
from shared.errors import InvalidInput
from shared.ids import NodeId
from shared.messaging.transport import connect
from shared.protocol import subjects
from shared.protocol.pasted import Credential, JoinToken
from shared.protocol.rest_tokens import CreateTokenRequest
from shared.runtime.aio import background
from tests.integration.fed_api import FedApi
from tests.nats_bus import Bus, new_user_seed, public_key
from tests.waiting import eventually

REFUSED = "Authorization Violation"
NODE = NodeId("n-1")


@dataclass
class Joining:
    bus: Bus
    store: Store
    tokens: JoinTokens

    async def token(self, **wanted: object) -> JoinToken:
        _, text = await self.tokens.create(CreateTokenRequest(**wanted))  # type: ignore[arg-type]
        return text

    async def is_refused(self, node: str, token: JoinToken, *, seed: str = "") -> None:
        with pytest.raises(nats.errors.Error, match=REFUSED):
            await self.bus.join(node, token=token.credential, seed=seed)

    def record(self, token: JoinToken) -> TokenRecord:
        return self.store.model.tokens[token.id]


@pytest.fixture
async def joining(tmp_path: Path) -> AsyncIterator[Joining]:
    async with Bus(tmp_path).running() as bus:
        store = stored(bus.bindings)
        yield Joining(bus, store, JoinTokens(store.model, store, addresses=(bus.server.url,)))


def stored(bindings: StoredNodeKeys) -> Store:
    return bindings._store


async def test_a_token_lets_one_node_in_which_then_needs_it_no_more(joining: Joining) -> None:
    token, seed = await joining.token(labels={"team": "a"}, owner="maria@example.org"), new_user_seed()
    await joining.bus.join("n-1", token=token.credential, seed=seed)

    await joining.is_refused("n-2", token)
    await joining.bus.join("n-1", token=token.credential, seed=seed)
    await joining.tokens.revoke(token.id)
    await joining.bus.join("n-1", token=None, seed=seed)
    binding = joining.store.model.bindings[NODE]
    assert (binding.public_key, binding.token, binding.labels) == (public_key(seed), token.id, {"team": "a"})
    assert binding.owner == "maria@example.org"
    assert joining.record(token).used == 1


async def test_of_two_nodes_at_once_a_token_for_one_lets_one_in(joining: Joining) -> None:
    async with joining.bus.orchestrator() as (_, others):
        for _ in range(10):
            token = await joining.token()
            await stored(others).catch_up()

            async def try_it(node: str, token: JoinToken = token) -> bool:
                try:
                    await joining.bus.join(node, token=token.credential)
                except nats.errors.Error:
                    return False
                return True

            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(try_it(f"{token.id}-{number}")) for number in range(4)]
            assert sum(task.result() for task in tasks) == 1
            assert sum(each.token == token.id for each in joining.store.model.bindings.values()) == 1


async def test_a_token_for_several_nodes_counts_them(joining: Joining) -> None:
    token = await joining.token(uses=3)
    for number in range(3):
        await joining.bus.join(f"n-{number}", token=token.credential)
    await joining.is_refused("n-3", token)
    assert joining.record(token).used == 3
    assert len(joining.record(token).claims) == 1, "those of nodes that are bound are forgotten"


async def test_a_token_for_any_number_is_not_written_at_each_join(joining: Joining) -> None:
    token = await joining.token(uses=0)
    revision = joining.store.model.revision_of(subjects.token_record(token.id))
    for number in range(3):
        await joining.bus.join(f"n-{number}", token=token.credential)
    assert joining.store.model.revision_of(subjects.token_record(token.id)) == revision


async def test_a_node_that_was_cut_off_before_it_was_bound_uses_the_token_no_second_time(joining: Joining) -> None:
    token, seed = await joining.token(), new_user_seed()
    before = joining.record(token)
    claim = JoinClaim(node=NODE, public_key=public_key(seed))
    await joining.store.update(before.key, replace(before, used=1, claims=(claim,)))

    await joining.is_refused("n-2", token)
    await joining.is_refused("n-1", token)
    await joining.bus.join("n-1", token=token.credential, seed=seed)
    assert joining.record(token).used == 1


async def test_a_node_that_was_deleted_needs_another_token(joining: Joining) -> None:
    token, seed = await joining.token(), new_user_seed()
    await joining.bus.join("n-1", token=token.credential, seed=seed)
    nodes = Nodes(joining.store.model, disconnect_seconds=0.0)

    await delete(joining.store.model, joining.store, nodes, NODE)
    await joining.is_refused("n-1", token, seed=seed)


async def test_a_rejected_node_does_not_come_back_by_a_new_token(joining: Joining) -> None:
    token, seed = await joining.token(), new_user_seed()
    await joining.bus.join("n-1", token=token.credential, seed=seed)
    await reject(joining.store.model, joining.store, NODE)

    again = await joining.bus.join("n-1", token=(await joining.token()).credential, seed=seed)
    await again.client.publish(subjects.node_heartbeat(NODE), b"")
    await again.is_denied(subjects.node_heartbeat(NODE))


async def test_nothing_is_looked_up_for_who_shows_a_token_that_nobody_knows() -> None:
    unknown = Credential(id="t-1", digest="0" * 64)
    api = FedApi()
    with pytest.raises(JoinTokenUnknown):
        await StoredNodeKeys(api.store).bind(Claim(NODE, public_key(new_user_seed()), unknown))


# ---- why a node is refused -----------------------------------------------------------------------------------------


@asynccontextmanager
async def refused_node(bus: Bus, token: JoinToken, *, node: NodeId = NODE) -> AsyncIterator[None]:
    """As a node of ours does it that is not let in."""
    seed = new_user_seed()
    invited = Invitation(servers=tuple(bus.urls), shown=token.credential, token=token.id)
    async with (
        connect(invited.servers, name=node, nkey_seed=seed, token=token.credential) as connection,
        background(refusals=explain_refusals(connection, invited, Identity(node, seed), None)),
    ):
        yield


async def told(bus: Bus, token: JoinToken, caplog: pytest.LogCaptureFixture, *, node: NodeId = NODE) -> str:
    def said() -> list[str]:
        return [each.getMessage() for each in caplog.records if each.name == "compute.uplink.refusals"]

    with caplog.at_level(logging.WARNING):
        async with refused_node(bus, token, node=node):
            await eventually(said, within=20, what="the node says why")
    return said()[0]


async def test_a_node_with_an_expired_token_is_told(joining: Joining, caplog: pytest.LogCaptureFixture) -> None:
    token = await joining.token()
    before = joining.record(token)
    await joining.store.update(before.key, replace(before, expires=before.create_time))
    line = await told(joining.bus, token, caplog)
    assert f"Join token {token.id} expired at 20" in line
    assert "[JoinTokenExpired] Have another one made: `tarpon node token create`." in line


async def test_a_node_with_a_token_that_is_used_up_is_told(joining: Joining, caplog: pytest.LogCaptureFixture) -> None:
    token = await joining.token()
    await joining.bus.join("n-0", token=token.credential)
    line = await told(joining.bus, token, caplog)
    assert f"Join token {token.id} is used up: it was for one node. [JoinTokenUsedUp]" in line


async def test_a_node_with_a_revoked_token_is_told(joining: Joining, caplog: pytest.LogCaptureFixture) -> None:
    token = await joining.token()
    await joining.tokens.revoke(token.id)
    assert "[JoinTokenRevoked]" in await told(joining.bus, token, caplog)
    seen = [each.getMessage() for each in caplog.records if each.name == "orchestrator.admission.bounds.refusal_log"]
    assert any("node 'n-1' is refused: Join token" in each and "[JoinTokenRevoked]" in each for each in seen)


async def test_a_node_whose_name_belongs_to_another_key_is_told(
    joining: Joining, caplog: pytest.LogCaptureFixture
) -> None:
    await joining.bus.join("n-1")
    line = await told(joining.bus, await joining.token(), caplog)
    assert "The name n-1 belongs to another key. [NodeNameTaken]" in line
    assert "tarpon node rekey n-1" in line


async def test_a_token_of_another_cluster_is_named_in_the_orchestrators_log(
    joining: Joining, caplog: pytest.LogCaptureFixture
) -> None:
    token = JoinToken(id="another", secret=bytes(32))
    with caplog.at_level(logging.WARNING):
        await joining.is_refused("n-1", token)
    assert "There is no join token 'another' here. [JoinTokenUnknown]" in caplog.text


async def test_who_knows_the_id_of_a_token_alone_gets_nothing(joining: Joining) -> None:
    token = await joining.token()
    forged = JoinToken(id=token.id, secret=bytes(32))
    await joining.is_refused("n-1", forged)
    with pytest.raises(nats.errors.Error, match=REFUSED):
        await joining.bus.join("n-1", name=subjects.asks_why(NODE), token=forged.credential)
    assert joining.record(token).used == 0
    assert not joining.store.model.bindings


async def test_a_node_that_asks_why_can_do_nothing_else(joining: Joining) -> None:
    token, seed = await joining.token(), new_user_seed()
    await joining.tokens.revoke(token.id)
    inbox = subjects.refused_inbox(public_key(seed))
    asking = await joining.bus.join(
        "n-1", name=subjects.asks_why(NODE), token=token.credential, seed=seed, inbox_prefix=inbox
    )
    answer = await asking.client.request(subjects.WHO_AM_I, timeout=5)
    assert subjects.node_requests(NODE) not in answer.data.decode()
    for subject in (subjects.node_requests(NODE), subjects.node_reports(NODE), subjects.node_heartbeat(NODE)):
        await asking.client.publish(subject, b"")
        await asking.is_denied(subject)
    for subject in (subjects.node_orders(NODE), f"{subjects.node_inbox(NODE)}.>", "_INBOX.>", ">"):
        await asking.client.subscribe(subject)
        await asking.is_denied(f'subscription to "{subject}"')


async def test_no_secret_of_a_token_is_logged_or_stored(joining: Joining, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        token = await joining.token()
        await joining.bus.join("n-0", token=token.credential)
        await told(joining.bus, token, caplog)
    secret = token.credential.partition(".")[2]
    assert secret not in caplog.text
    assert token.text() not in caplog.text
    assert all(secret.encode() not in path.read_bytes() for path in joining.bus.directory.rglob("*") if path.is_file())


async def test_a_node_with_a_token_of_another_cluster_says_so(
    joining: Joining, caplog: pytest.LogCaptureFixture
) -> None:
    line = await told(joining.bus, JoinToken(id="elsewhere", secret=bytes(32)), caplog)
    assert f"No orchestrator at {joining.bus.server.url} knows join token elsewhere, or none is ready." in line
    assert "[JoinTokenUnknown] A token is of the cluster that has made it" in line


# ---- the lives of keys ---------------------------------------------------------------------------------------------


def lives(joining: Joining) -> list[tuple[str, str, str]]:
    record = joining.store.model.keys[NODE]
    return [(each.public_key, each.ended, each.owner) for each in record.lives]


async def test_a_key_that_joins_again_gets_another_life_with_the_owner_of_its_new_token(joining: Joining) -> None:
    seed, nodes = new_user_seed(), Nodes(joining.store.model, disconnect_seconds=0.0)
    key = public_key(seed)
    for owner in ("maria", "eve"):
        await joining.bus.join("n-1", token=(await joining.token(owner=owner)).credential, seed=seed)
        await delete(joining.store.model, joining.store, nodes, NODE)
    assert lives(joining) == [(key, "Deleted", "maria"), (key, "Deleted", "eve")]
    first, second = joining.store.model.keys[NODE].lives
    assert first.until < second.since


async def test_a_rejected_key_does_not_come_back_once_another_one_that_had_the_name_is_deleted(
    joining: Joining,
) -> None:
    rejected, other = new_user_seed(), new_user_seed()
    nodes, token = Nodes(joining.store.model, disconnect_seconds=0.0), await joining.token(uses=0)
    await joining.bus.join("n-1", token=token.credential, seed=rejected)
    await reject(joining.store.model, joining.store, NODE)
    await joining.bus.join("n-1", token=token.credential, seed=other)
    await delete(joining.store.model, joining.store, nodes, NODE)
    await joining.is_refused("n-1", token, seed=rejected)
    await joining.bus.join("n-1", token=token.credential, seed=other)


async def test_what_orchestrators_of_earlier_versions_do_loses_no_owner_and_no_key(joining: Joining) -> None:
    """They write and remove bindings without what they do not know, and leave the record of the keys alone."""
    seed, binding_key = new_user_seed(), subjects.binding_record(NODE)
    await joining.bus.join("n-1", token=(await joining.token(owner="maria")).credential, seed=seed)
    model, store = joining.store.model, joining.store
    begun = model.keys[NODE]
    await store.update(binding_key, replace(model.bindings[NODE], owner="", since=0, rejected=0, message="rewritten"))
    assert (model.bindings[NODE].owner, model.bindings[NODE].message) == ("maria", "rewritten")
    async with joining.bus.orchestrator() as (_, others):
        await stored(others).catch_up()
        assert stored(others).model.bindings[NODE].owner == "maria"
    await store.delete(binding_key)
    await tend_keys(store)
    (life,) = model.keys[NODE].lives
    assert (life.since, life.ended, life.until > life.since) == (begun.lives[0].since, "Deleted", True)


async def test_whose_a_node_is_that_is_rejected_meanwhile_is_not_said(
    joining: Joining, monkeypatch: pytest.MonkeyPatch
) -> None:
    await joining.bus.join("n-1", token=(await joining.token(owner="maria")).credential)
    model, store = joining.store.model, joining.store
    async with joining.bus.orchestrator() as (_, others):
        other, update = stored(others), store.update

        async def overtaken(key: str, record: Record) -> None:
            if key == subjects.keys_record(NODE):
                await reject(other.model, other, NODE)
            await update(key, record)

        monkeypatch.setattr(store, "update", overtaken)
        with pytest.raises(NodeShutOut):
            await set_owner(model, store, NODE, "eve")
        await approve(other.model, other, NODE)
    assert [owner for _, _, owner in lives(joining)] == ["maria", "maria"]


async def test_keys_of_bindings_that_were_there_before_are_kept_from_now_on(joining: Joining) -> None:
    """As the version before has written them."""
    earlier = (EarlierKey(public_key="U1", since=1, until=5),)
    binding = BindingRecord(public_key="U2", since=5, earlier=earlier, token="t", owner="maria")
    await joining.store.create(subjects.binding_record(NODE), binding)
    await tend_keys(joining.store)
    assert lives(joining) == [("U1", "Replaced", ""), ("U2", "", "maria")]
    revision = joining.store.model.revision_of(subjects.keys_record(NODE))
    await tend_keys(joining.store)
    assert joining.store.model.revision_of(subjects.keys_record(NODE)) == revision, "nothing is left to do"


async def test_of_very_many_deleted_nodes_the_keys_of_those_that_went_first_are_forgotten(
    joining: Joining, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_keeping, "MOST_DELETED", 1)
    nodes, token, seed = (
        Nodes(joining.store.model, disconnect_seconds=0.0),
        await joining.token(uses=0),
        new_user_seed(),
    )
    for node in ("n-2", "n-3", "n-1", "n-1"):
        await joining.bus.join(node, token=token.credential, seed=seed)
        await delete(joining.store.model, joining.store, nodes, NodeId(node))
    await joining.bus.join("n-4", token=token.credential)
    await tend_keys(joining.store)
    assert set(joining.store.model.keys) == {"n-1", "n-4"}
    await joining.bus.join("n-2", token=token.credential, seed=seed)
    assert [each.ended for each in joining.store.model.keys[NodeId("n-2")].lives] == [""]


# ---- what there can be ---------------------------------------------------------------------------------------------


async def test_what_ended_a_week_ago_is_cleared_away_when_another_is_made(joining: Joining) -> None:
    tokens = [await joining.token() for _ in range(3)]
    for ended in tokens[:2]:
        await joining.tokens.revoke(ended.id)
    old = replace(joining.record(tokens[0]), revoked=1)
    await joining.store.update(old.key, old)
    last = await joining.token()
    assert set(joining.store.model.tokens) == {tokens[1].id, tokens[2].id, last.id}


async def test_there_are_only_so_many_tokens(joining: Joining, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join_tokens, "MOST_TOKENS", 2)
    for _ in range(2):
        await joining.token()
    with pytest.raises(TooManyJoinTokens, match="There are 2 join tokens already"):
        await joining.token()


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"namespaces": ("a b",)}, "'a b' cannot be the name of a namespace"),
        ({"namespaces": tuple(f"n{number}" for number in range(65))}, "it names 65 namespaces, and 64 are possible"),
        ({"labels": {"": "x"}}, "a label has no name"),
        ({"labels": {"x": "y" * 257}}, "have at most 256 characters"),
        ({"labels": {"os_type": "x"}}, "every node has the label os_type by itself"),
        ({"owner": "Maria"}, "'Maria' cannot be an owner"),
        ({"labels": {f"l{number}": "" for number in range(65)}}, "it has 65 labels, and 64 are possible"),
    ],
)
async def test_what_a_token_cannot_allow_is_told(joining: Joining, wanted: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(problem)):
        await joining.token(**wanted)
    assert not joining.store.model.tokens


async def test_all_namespaces_are_none_in_particular(joining: Joining) -> None:
    assert joining.record(await joining.token(namespaces=("*",))).namespaces == ()
    assert joining.record(await joining.token(namespaces=("b", "a", "b"))).namespaces == ("a", "b")


async def test_a_token_is_revoked_once(joining: Joining) -> None:
    token = await joining.token()
    first = await joining.tokens.revoke(token.id)
    assert (await joining.tokens.revoke(token.id)).revoked == first.revoked
    with pytest.raises(JoinTokenNotFound):
        await joining.tokens.revoke("none")
