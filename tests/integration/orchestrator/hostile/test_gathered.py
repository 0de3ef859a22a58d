"""All attempts together: how many there are, and that what would be a gain is seen as one."""

from collections import Counter

import pytest

from tests.integration.orchestrator.hostile import (
    test_author,
    test_granted_url,
    test_integration,
    test_joining,
    test_node_messages,
    test_node_subjects,
    test_person,
    test_stranger,
)
from tests.integration.orchestrator.hostile.attempts import Act, Attempt, Attempts, Loot
from tests.integration.orchestrator.hostile.stage import JOBS, Stage
from tests.integration.orchestrator.hostile.teams import SECRETS, TOKENS, USERS
from tests.integration.orchestrator.hostile.ways import asks, asks_node, asks_service, connects, is_refused, listens

LEAST = 200
GATHERED: tuple[Attempts, ...] = (
    test_node_subjects.ATTEMPTS,
    test_node_messages.ATTEMPTS,
    test_joining.ATTEMPTS,
    test_integration.ATTEMPTS,
    test_author.ATTEMPTS,
    test_person.ATTEMPTS,
    test_stranger.ATTEMPTS,
    test_granted_url.ATTEMPTS,
)


def test_there_are_at_least_two_hundred_attempts_each_of_a_name_of_its_own() -> None:
    names = Counter(f"{kind.who} {attempt.name}" for kind in GATHERED for attempt in kind)
    assert [name for name, count in names.items() if count > 1] == []
    assert len(names) >= LEAST


# ---- what is rightful for the team itself would be a gain for another -----------------------------------------------


async def _asks_itself(stage: Stage, loot: Loot) -> None:
    """For what it holds."""
    stage.own, own = stage.hush, stage.own
    try:
        await asks_node({"type": "GrantRequest", "execution_id": "{execution}"})(stage, loot)
    finally:
        stage.own = own


async def _writes(stage: Stage, loot: Loot) -> None:
    assert await stage.running.put(stage.hush.grant, b"a result") == 200


async def _beats(stage: Stage, loot: Loot) -> None:
    order = b'{"type": "CancelExecution", "execution_id": "e-none", "reason": "forged"}'
    await stage.inspector.publish("tarpon.v1.node.hush-node.in.orders", order, reply="_INBOX.forged")


RIGHTFUL: dict[str, Act] = {
    "a subscription to orders": listens("tarpon.v1.node.hush-node.in.>", holder=lambda stage: stage.hush.member.client),
    "a subscription to an inbox": listens("_INBOX.hush-node.>", holder=lambda stage: stage.hush.member.client),
    "a subscription to events": listens(
        "tarpon.v1.events.hush.>", holder=lambda stage: stage.programs["hush-all"].client
    ),
    "a subscription to a user's inbox": listens(
        "_INBOX.@hush-all.>", holder=lambda stage: stage.programs["hush-all"].client
    ),
    "a subscription to reports": listens("tarpon.v1.node.*.out.reports", holder=lambda stage: stage.inspector),
    "a subscription to the state": listens("$KV.>", holder=lambda stage: stage.inspector),
    "a grant": _asks_itself,
    "a question of a program": asks_service("jobs.get", {"JobID": "{done}"}, by="hush-all"),
    "a list": asks(f"{JOBS}?namespace=hush", by="hush-all"),
    "a job": asks(f"{JOBS}/{{done}}", by="hush-all"),
    "a URL": asks(f"{JOBS}/{{done}}/results", by="hush-all"),
    "a list of secrets": is_refused(f"{SECRETS}?namespace=hush", by="hush-all"),
    "a connection": connects(user="hush-all", password="{key_hush_all}"),
    "an object": _writes,
    "an order": _beats,
    "another value of a secret": is_refused(
        f"{SECRETS}/hush-secret?namespace=hush", "PUT", {"Value": "x"}, by="hush-all"
    ),
    "a job that is stopped": asks(f"{JOBS}/{{waiting}}", "DELETE", by="hush-all"),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("what", RIGHTFUL)
async def test_what_the_team_itself_may_is_seen(stage: Stage, what: str) -> None:
    assert await stage.gains_of(Attempt(what, RIGHTFUL[what])) != []


CHANGES = {
    "a user": (USERS, "PUT", {"Name": "new", "Capabilities": ["*"]}),
    "a join token": (TOKENS, "PUT", {}),
    "a weight": ("/api/v1/orchestrator/namespaces/own", "PUT", {"Weight": 7}),
    "a node": ("/api/v1/orchestrator/nodes/hush-node", "PUT", {"Action": "drain"}),
    "a job": (
        JOBS,
        "PUT",
        {"Job": {"Namespace": "hush", "Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "noop"}}]}},
    ),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("what", CHANGES)
async def test_what_is_changed_is_seen(stage: Stage, what: str) -> None:
    path, method, body = CHANGES[what]

    async def act(stage: Stage, loot: Loot) -> None:
        assert (await stage.running.ask(path, method, body)).status == 200

    assert f"{what} of others is changed" in await stage.gains_of(Attempt(what, act))
