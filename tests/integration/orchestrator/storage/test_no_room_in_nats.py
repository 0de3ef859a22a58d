"""What an orchestrator says whose NATS server has no room for what it keeps."""

import logging
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest

from orchestrator.admission.nats_config import render_accounts
from orchestrator.admission.secret_files import load_secrets
from orchestrator.nats_servers.server import find_program
from orchestrator.service import run, secret_sources
from shared.errors import MessagingFull, MessagingUnavailable
from shared.messaging.acknowledgements import refusal
from shared.messaging.transport import connect
from shared.runtime.aio import background
from shared.settings.config import Config
from shared.settings.loading import load
from tests.integration.running import Answer, ask
from tests.nats_bus import new_user_seed, public_key
from tests.servers import HOST, free_ports
from tests.waiting import answered


def configured(folder: Path) -> Config:
    api, nats = free_ports(2)
    sets = [f"DataDir={folder / 'data'}", f"API.Port={api}", f"Orchestrator.NATS.Servers=nats://{HOST}:{nats}"]
    sets += ["API.Auth.Anonymous=true"]
    return load(sets=sets, env={}).config


@contextmanager
def nats_server(port: str | int, folder: Path, limits: str, accounts: str) -> Iterator[None]:
    """One that is not the orchestrator's own, whose JetStream has these limits."""
    file = folder / "nats.conf"
    jetstream = f'jetstream {{ store_dir: "{folder / "js"}"\n{limits} }}'
    file.write_text(f'host: "{HOST}"\nport: {port}\n{jetstream}\n{accounts}')
    with subprocess.Popen([find_program(""), "-c", str(file)], stderr=subprocess.DEVNULL) as server:
        try:
            yield
        finally:
            server.kill()


def server_of(config: Config, folder: Path, limits: str) -> AbstractContextManager[None]:
    secrets = load_secrets(secret_sources(config))
    accounts = render_accounts(issuer=secrets.issuer_public_key, orchestrator=secrets.orchestrator_public_key)
    port = config.orchestrator.nats.servers[0].rpartition(":")[2]
    return nats_server(port, folder, limits, accounts)


@asynccontextmanager
async def orchestrator(config: Config) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http, background(orchestrator=run(config)):
        yield http


async def refusals(config: Config, count: int) -> None:
    """Wait until the server has refused so many requests of the orchestrator."""
    seed = load_secrets(secret_sources(config)).orchestrator_seed.reveal()
    servers = config.orchestrator.nats.servers
    async with connect(servers, name="test", nkey_seed=seed) as connection:
        await connection.wait_connected()
        ask = connection.client.jetstream().account_info
        await answered(ask, lambda info: info.api.errors >= count, within=20, what="requests are refused")


async def ready(http: aiohttp.ClientSession, config: Config) -> Answer:
    return await ask(http, f"http://{HOST}:{config.api.port}/readyz")


async def test_a_server_without_room_for_the_streams_is_told_once_with_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.storage.store.RETRY_SECONDS", 0.01)
    config = configured(tmp_path)
    with server_of(config, tmp_path, "max_file_store: 100MB"):
        async with orchestrator(config) as http:
            await refusals(config, 3)
            answer = await ready(http, config)
            submitted = await ask(
                http, f"http://{HOST}:{config.api.port}/api/v1/orchestrator/jobs", "PUT", {"Job": {"Tasks": []}}
            )
    assert answer.status == submitted.status == 503
    assert submitted.json["Code"] == "MessagingFull"
    assert answer.json["Message"] == (
        "NATS has no room. NATS would not make TARPON_REPORTS: insufficient storage resources available"
        " (JetStream error 10047)."
    )
    assert "max_file_store" in answer.json["Hint"]
    (record,) = (each for each in caplog.records if "cannot be followed" in each.getMessage())
    assert record.levelno == logging.WARNING
    assert answer.json["Message"] + " [MessagingFull] " + answer.json["Hint"] in record.getMessage()


async def test_what_a_full_stream_does_not_take_is_refused_with_the_same_code(tmp_path: Path) -> None:
    """A limit of the account is reached by what is stored."""
    (port,) = free_ports(1)
    seed = new_user_seed()
    account = f"accounts {{ A {{ jetstream: {{ max_file: 100KB }}, users: [ {{ nkey: {public_key(seed)} }} ] }} }}"
    with nats_server(port, tmp_path, "max_file_store: 1GB", account):
        async with connect([f"nats://{HOST}:{port}"], name="o", nkey_seed=seed) as connection:
            await connection.wait_connected()
            await connection.client.jetstream().add_stream(name="S", subjects=["s"])
            for _ in range(5):
                await connection.publish_durably("s", bytes(20_000), timeout=5)
            with pytest.raises(MessagingFull, match="store a message on s"):
                await connection.publish_durably("s", bytes(20_000), timeout=5)


@pytest.mark.parametrize("code", [10002, 10023, 10027, 10028, 10047, 10122])
def test_limits_of_any_kind_are_a_lack_of_room(code: int) -> None:
    error = refusal("make it", code, "too much")
    assert isinstance(error, MessagingFull)
    assert "max_memory_store" in error.hint


def test_what_is_refused_for_another_reason_is_told_with_that() -> None:
    error = refusal("make it", 10113, "account requires a stream config to have max bytes set")
    assert type(error) is MessagingUnavailable
    assert error.message == (
        "NATS would not make it: account requires a stream config to have max bytes set (JetStream error 10113)."
    )
    assert refusal("make it", None, None).message == (
        "NATS would not make it: it does not say why (JetStream error 0)."
    )
