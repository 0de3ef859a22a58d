"""What is said of a NATS server that cannot be used as it is set up: in one sentence, with what to change."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.admission.nats_config import render_accounts
from orchestrator.admission.secret_files import SecretSources, load_secrets
from orchestrator.state.model import Model
from orchestrator.storage.nats_fitness import check_version
from orchestrator.storage.store import Store
from shared.errors import MessagingUnfit, NotReady
from shared.messaging.transport import connect
from shared.runtime.aio import background
from tests.nats_bus import new_user_seed
from tests.own_nats import OwnNats, own_nats
from tests.waiting import eventually

Change = Callable[[str], str]


def same(text: str) -> str:
    return text


@asynccontextmanager
async def store_over(folder: Path, *, jetstream: bool = True, change: Change = same) -> AsyncIterator[Store]:
    """An orchestrator's store over a server of one's own, whose accounts are changed so."""
    secrets = load_secrets(SecretSources(directory=folder / "secrets"))
    accounts = render_accounts(issuer=secrets.issuer_public_key, orchestrator=secrets.orchestrator_public_key)
    config = f'jetstream {{ store_dir: "{folder / "js"}" }}\n' if jetstream else ""
    async with (
        own_nats(folder, config + change(accounts)) as server,
        connect((server.url,), name="o", nkey_seed=secrets.orchestrator_seed.reveal()) as connection,
    ):
        store = Store(connection, Model(max_attempts=1))
        async with background(state=store.keep_model()):
            yield store


async def unfit(store: Store) -> MessagingUnfit:
    """What users are told."""
    found: list[MessagingUnfit] = []

    def told() -> bool:
        try:
            store.check_ready()
        except MessagingUnfit as error:
            found.append(error)
        except NotReady:
            pass
        return bool(found)

    await eventually(told, what="it is told")
    return found[0]


async def test_a_server_without_jetstream_is_told_of(tmp_path: Path) -> None:
    async with store_over(tmp_path, jetstream=False) as store:
        error = await unfit(store)
    assert error.message == "The NATS server has no JetStream, which keeps the state."
    assert "`jetstream { store_dir: " in error.hint


async def test_an_account_without_jetstream_is_told_of(tmp_path: Path) -> None:
    async with store_over(tmp_path, change=lambda text: text.replace("jetstream: enabled", "")) as store:
        error = await unfit(store)
    assert error.message == "JetStream is not on in the account TARPON of the NATS server."
    assert "nats-config" in error.hint


async def test_a_server_without_accounts_keeps_nobody_apart_and_is_not_used(tmp_path: Path) -> None:
    async with store_over(tmp_path, change=lambda _: "") as store:
        error = await unfit(store)
    assert error.message.startswith("The NATS server has no accounts of Tarpon")


async def test_a_server_of_small_messages_is_told_of_by_orchestrators(tmp_path: Path) -> None:
    async with store_over(tmp_path, change=lambda text: text.replace("1048576", "65536")) as store:
        await eventually(lambda: "max_payload: 1048576" in store._connection.problem)
        with pytest.raises(NotReady) as told:
            store.check_ready()
    assert "it takes messages of 65,536 bytes at most, and Tarpon needs 1,048,576" in told.value.hint


@asynccontextmanager
async def joining(server: OwnNats) -> AsyncIterator[None]:
    async with connect((server.url,), name="n", nkey_seed=new_user_seed(), token="t"):  # nobody's
        yield


async def test_a_server_of_small_messages_is_told_of_by_nodes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with own_nats(tmp_path, "max_payload: 65536\n") as server, joining(server):
        await eventually(lambda: "it takes messages of 65,536 bytes at most" in caplog.text)


async def test_a_server_that_takes_no_more_connections_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with own_nats(tmp_path, "max_connections: -1\n") as server, joining(server):
        await eventually(lambda: "is full: it takes no more connections (raise max_connections" in caplog.text)


async def test_an_account_that_takes_no_more_connections_is_told_of(tmp_path: Path) -> None:
    def full(text: str) -> str:
        return text.replace("jetstream: enabled", "jetstream: enabled, limits: { max_connections: 0 }")

    async with store_over(tmp_path, change=full) as store:
        await eventually(lambda: "is full: it takes no more connections" in store._connection.problem)


@pytest.mark.parametrize("version", ["2.9.25", "2.10.29", "2.11.0", "2.11.1", "v2.11.1", "2.11.0-RC.2"])
def test_a_server_that_is_too_old_is_told_of(version: str) -> None:
    with pytest.raises(
        MessagingUnfit, match=rf"^The NATS server is version {version}, and Tarpon needs 2\.11\.2 or later"
    ):
        check_version(version)


@pytest.mark.parametrize("version", ["2.11.2", "2.12.0-beta.1", "2.15.1", "3.0.0", "", "dev"])
def test_a_server_that_is_new_enough_is_used(version: str) -> None:
    check_version(version)
