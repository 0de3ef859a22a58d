"""Who sees some namespaces alone is shown the nodes that serve one of these, and no others."""

import json
from collections.abc import AsyncIterator

import pytest

from orchestrator.rules.records import BindingRecord, KeyLife, NodeKeysRecord
from shared.ids import NodeId
from shared.protocol.capabilities import READ_NODE, WRITE_NODE
from shared.settings.config import ApiAuth, ApiSettings, Config
from tests.api_keys import Keyed, keyed
from tests.integration.fed_api import NODES, FedApi

BOUND = {"of-a": ("a",), "of-b": ("b",), "shared": ("a", "b"), "of-all": ()}


@pytest.fixture
async def api() -> AsyncIterator[FedApi]:
    fed = FedApi(Config(api=ApiSettings(auth=ApiAuth(anonymous=False))))
    for node, namespaces in BOUND.items():
        fed.node(node)
        binding = BindingRecord(public_key="U", token=f"token-{node}", namespaces=namespaces, owner="o")
        fed.feed(f"binding.{node}", binding)
    async with fed.serving():
        yield fed


def known(api: FedApi, *namespaces: str) -> Keyed:
    user = keyed("maria", READ_NODE, WRITE_NODE, namespaces=namespaces)
    api.feed(user.record.key, user.record)
    return user


async def listed(api: FedApi, user: Keyed) -> list[str]:
    nodes = (await api.ask(NODES, headers=user.bearer)).json["Nodes"]
    return [each["Info"]["NodeID"] for each in nodes if each["Info"]["NodeType"] == "Compute"]


async def test_the_list_has_the_nodes_of_ones_own_namespaces(api: FedApi) -> None:
    assert await listed(api, known(api, "a")) == ["of-a", "of-all", "shared"]
    assert await listed(api, known(api, "*")) == sorted(BOUND)


async def test_a_node_of_another_namespace_is_as_if_it_were_not_there(api: FedApi) -> None:
    user = known(api, "a")
    foreign, absent = [await api.ask(f"{NODES}/{node}", headers=user.bearer) for node in ("of-b", "of-x")]
    assert foreign.status == absent.status == 404
    assert foreign.json["Message"].replace("of-b", "of-x") == absent.json["Message"]
    assert "of-b" not in json.dumps((await api.ask(f"{NODES}/of-bb", headers=user.bearer)).json).replace("of-bb", "")
    assert (await api.ask(f"{NODES}/of-a", headers=user.bearer)).status == 200


async def test_of_a_shared_node_no_other_namespace_no_token_and_no_owner_is_told(api: FedApi) -> None:
    seen = (await api.ask(f"{NODES}/shared", headers=known(api, "a").bearer)).json["Node"]
    assert (seen["Namespaces"], seen["JoinToken"], seen["Owner"]) == (["a"], "", "")
    seen = (await api.ask(f"{NODES}/shared", headers=known(api, "*").bearer)).json["Node"]
    assert (seen["Namespaces"], seen["JoinToken"], seen["Owner"]) == (["a", "b"], "token-shared", "o")


async def test_who_sees_some_namespaces_alone_makes_no_node_join_and_changes_none(api: FedApi) -> None:
    user = known(api, "a")
    for path, method, body in (
        ("/api/v1/orchestrator/tokens", "PUT", {"Namespaces": ["a"]}),
        ("/api/v1/orchestrator/tokens", "GET", None),
        ("/api/v1/orchestrator/tokens/t1", "DELETE", None),
        (f"{NODES}/of-a", "PUT", {"Action": "approve"}),
        (f"{NODES}/of-a/key", "PUT", {}),
    ):
        answer = await api.ask(path, method, body=body, headers=user.bearer)
        assert answer.status == 403, (path, method)
        assert answer.json["Details"]["TarponCode"] == "NotForAllNamespaces"


async def test_the_keys_of_a_name_are_told_of_the_time_in_which_it_served_ones_own_namespaces(api: FedApi) -> None:
    def life(key: str, *namespaces: str, ended: str = "Deleted") -> KeyLife:
        return KeyLife(public_key=key, since=1, until=2, ended=ended, namespaces=namespaces, owner="o")

    async def keys(node: str, *namespaces: str) -> list[tuple[str, str]]:
        answer = await api.ask(f"{NODES}/{node}/keys", headers=known(api, *namespaces).bearer)
        return [(each["Key"], each["Owner"]) for each in answer.json["Keys"]] if answer.status == 200 else []

    for node in ("gone", "of-b"):
        lives = (life("U1"), life("U2", "a"), life("U3", "b"))
        record = NodeKeysRecord(node=NodeId(node), lives=lives)
        api.feed(record.key, record)
    assert await keys("gone", "*") == [("U3", "o"), ("U2", "o"), ("U1", "o")]
    assert await keys("gone", "a") == [("U2", ""), ("U1", "")]
    assert await keys("of-b", "b") == [("U", ""), ("U3", ""), ("U1", "")]
    assert await keys("of-b", "a") == [("U2", ""), ("U1", "")]
    assert await keys("gon", "*") == [], "the beginning of an id is for nodes that are there"
    assert await keys("shar", "a") == [("U", "")]
