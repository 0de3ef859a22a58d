"""What `tarpon agent nats-check` finds, and `nats-replicas` changes, on real servers."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.admission.nats_config import render_accounts
from orchestrator.admission.secret_files import Secrets, SecretSources, load_secrets
from orchestrator.nats_servers.check import ServerFinding, check_nats
from orchestrator.nats_servers.replicas import connected_set_replicas
from orchestrator.storage.streams import STREAMS
from shared.errors import MessagingUnfit
from shared.runtime.network_problems import REFUSED
from tests.nats_bus import Bus, new_account_seed, public_key
from tests.nats_cluster import NatsCluster
from tests.own_nats import own_nats


def secrets_in(folder: Path) -> Secrets:
    return load_secrets(SecretSources(directory=folder / "secrets"))


def problems(found: list[ServerFinding]) -> list[str]:
    return [each.message for each in found if not each.good]


async def checked(folder: Path, change: Callable[[str], str]) -> list[ServerFinding]:
    """What is found on a server whose configuration is changed so, while no orchestrator runs."""
    secrets = secrets_in(folder)
    text = render_accounts(issuer=secrets.issuer_public_key, orchestrator=secrets.orchestrator_public_key)
    jetstream = f'jetstream {{ store_dir: "{folder / "js"}" }}\n'
    async with own_nats(folder, change(jetstream + text)) as server:
        return await check_nats((server.url,), secrets)


async def test_a_server_that_has_all_is_good_before_any_orchestrator_runs(tmp_path: Path) -> None:
    found = await checked(tmp_path, lambda text: text)
    assert problems(found) == []
    said = " ".join(each.message for each in found)
    assert "Server own, version 2." in said
    assert "TARPON, TARPON_INTEGRATIONS, TARPON_NODES, TARPON_SYSTEM" in said


async def test_a_server_is_good_while_an_orchestrator_runs(bus: Bus) -> None:
    assert problems(await check_nats(bus.urls, bus.secrets)) == []


async def test_each_server_of_a_cluster_is_told_of(nats_cluster: NatsCluster) -> None:
    await nats_cluster.ready()
    found = await check_nats(nats_cluster.urls[:1], secrets_in(nats_cluster.folder))
    assert problems(found) == []
    said = " ".join(each.message for each in found)
    assert [name for name in ("nats-0", "nats-1", "nats-2") if f"Server {name}," in said] == [
        "nats-0",
        "nats-1",
        "nats-2",
    ]


ANOTHER = public_key(new_account_seed())

WRONG = {
    "a block of authorization that came later": (
        lambda text: text + "authorization { timeout: 3 }\n",
        "It asks no orchestrator who may join: a program is refused.",
    ),
    "another issuer": (
        lambda text: "\n".join(f"issuer: {ANOTHER}" if "issuer:" in line else line for line in text.splitlines()),
        "It asks who may join, and does not follow the answer: a program is refused.",
    ),
    "accounts that were lost": (
        lambda text: text.partition("accounts {")[0],
        "The NATS server has no accounts of Tarpon, so that nothing would keep nodes and stored jobs apart.",
    ),
    "another system account": (
        lambda text: text.replace("TARPON_SYSTEM {}", "TARPON_SYSTEM {}\n  OTHER {}") + "system_account: OTHER\n",
        "What the orchestrator takes for the system account is another one.",
    ),
    "an import that was lost": (
        lambda text: text.replace('{ service: { account: TARPON, subject: "tarpon.v1.node.*.out.reports" } }', ""),
        "The account TARPON_NODES of server own does not import tarpon.v1.node.*.out.reports from TARPON.",
    ),
    "messages that are too small": (
        lambda text: text.replace("1048576", "65536"),
        "It is not used: it takes messages of 65,536 bytes at most",
    ),
    "a mapping of names that was changed by hand": (
        lambda text: re.sub(r'(mappings: \{.*accounts\.\$1)[^"]*', r"\1.x.y", text),
        "The configuration of the NATS server tells what accounts are called in a mapping that was changed",
    ),
    "no key of this orchestrator": (
        lambda text: text.replace("users: [ { nkey: U", "users: [ { password: p, user: U"),
        "It is refused: it does not know the key of this orchestrator",
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_is_wrong_is_told_with_what_to_change(tmp_path: Path, what: str) -> None:
    change, problem = WRONG[what]
    found = await checked(tmp_path, change)
    told = problems(found)
    assert len(told) == 1, told
    assert told[0].startswith(problem)
    assert next(each.hint for each in found if not each.good)


async def test_an_address_where_nobody_is_has_a_problem(tmp_path: Path) -> None:
    found = await check_nats(("nats://127.0.0.1:1",), await asyncio.to_thread(secrets_in, tmp_path))
    assert problems(found) == [f"It is not reachable: {REFUSED}."]


async def test_what_is_stored_is_kept_on_as_many_servers_as_wanted(nats_cluster: NatsCluster) -> None:
    async with nats_cluster.bus() as bus:
        for count in (1, 3):
            before = {each: (await bus.jetstream.stream_info(each)).config for each in STREAMS}
            kept = await connected_set_replicas(bus.urls, bus.secrets, count)
            assert [(each.stream, each.now, each.complete) for each in kept] == [
                (each, count, True) for each in STREAMS
            ]
            for stream in STREAMS:
                config = (await bus.jetstream.stream_info(stream)).config
                assert config.num_replicas == count
                assert config.evolve(num_replicas=0) == before[stream].evolve(num_replicas=0)


async def test_one_server_alone_does_not_keep_three_copies(bus: Bus) -> None:
    with pytest.raises(MessagingUnfit, match="NATS would not keep KV_tarpon_state on so many servers: "):
        await connected_set_replicas(bus.urls, bus.secrets, 3)
