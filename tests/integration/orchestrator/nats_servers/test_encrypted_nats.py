"""The embedded NATS server over TLS: who gets in, what the others are told, and how its certificate is renewed."""

import asyncio
import logging
import os
import shlex
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import nats
import pytest

from compute.uplink.trust import in_the_clear, trust_of
from orchestrator.admission.nats_config import ServerConfig, ServerTls, render_accounts
from orchestrator.admission.secret_files import Secrets, SecretSources, integration_lines, load_secrets
from orchestrator.admission.tls.authority import CertificateUse, new_secret, read_secret, signing, told
from orchestrator.admission.tls.certificates import issue
from orchestrator.admission.tls.encryption import (
    NatsEncryption,
    nats_encryption,
    prepare,
    remember_earlier_version,
    tls_folder,
)
from orchestrator.admission.tls.served_certificate import Served
from orchestrator.nats_servers.renewal import NatsRenewal, keep_current
from orchestrator.nats_servers.server import NatsServer
from orchestrator.service import secret_sources
from shared.messaging.transport import Connection, connect
from shared.protocol.subjects import node_inbox
from shared.runtime.aio import background
from shared.runtime.tls.trust import authorities_as_pem, trusting, trusting_nobody_else
from shared.settings.config import Config, Nats, Orchestrator
from shared.settings.input_sources import InputSources, InputTypes, S3Inputs
from shared.settings.secret import Secret
from shared.settings.tls.declared import ComputeTls, NatsPlainText, OrchestratorTls
from tests.integration.running import Running, running_orchestrator
from tests.nats_bus import new_account_seed, new_user_seed, public_key
from tests.own_nats import own_nats
from tests.servers import HOST, S3Server, free_ports
from tests.waiting import eventually

SEED = new_user_seed()
NEVER = "Orchestrator.TLS.PlainText=never"


@pytest.fixture
async def encrypted(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Running, tuple[bytes, ...]]]:
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=(NEVER,)) as running:
        yield running, authorities(running)


def secrets_of(running: Running) -> Secrets:
    return load_secrets(secret_sources(running.config))


def authorities(running: Running) -> tuple[bytes, ...]:
    return told(secrets_of(running).authority, CertificateUse.SERVERS, now=time.time())


@asynccontextmanager
async def joining(running: Running, scheme: str, trusted: Sequence[bytes] = ()) -> AsyncIterator[Connection]:
    async with connect(
        (f"{scheme}://{HOST}:{running.config.orchestrator.port}",),
        name="node-1",
        nkey_seed=SEED,
        token=running.secret,
        inbox_prefix=node_inbox("node-1"),  # type: ignore[arg-type]  # it can be one
        trust=trusting(trusted) if trusted else None,
    ) as connection:
        yield connection


async def test_a_node_that_knows_the_authority_joins_whatever_its_address_begins_with(
    encrypted: tuple[Running, tuple[bytes, ...]],
) -> None:
    running, trusted = encrypted
    for scheme in ("tls", "nats"):
        async with asyncio.timeout(20), joining(running, scheme, trusted) as connection:
            await connection.wait_connected()
            assert connection.client.connected_url is not None
            assert connection.client.connected_url.scheme == "tls"


async def test_a_node_without_tls_is_told_what_to_write(
    encrypted: tuple[Running, tuple[bytes, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    running, _ = encrypted
    async with joining(running, "nats") as connection:
        await eventually(lambda: "it speaks TLS, and its address begins with nats://" in caplog.text, within=20)
        assert not connection.connected
    assert "tarpon node token show" in caplog.text
    assert running.secret not in caplog.text


async def test_a_node_of_another_authority_says_nothing_and_tells_why(
    encrypted: tuple[Running, tuple[bytes, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    running, _ = encrypted
    other = read_secret(Secret(new_secret(os.urandom(32), now=time.time())))
    async with joining(running, "tls", told(other, CertificateUse.SERVERS, now=time.time())) as connection:
        await eventually(lambda: "is not trusted: unable to get local issuer certificate" in caplog.text)
        assert not connection.connected
    assert "Compute.TLS.CACert" in caplog.text


async def test_the_lines_of_an_integration_are_all_that_a_program_needs(
    encrypted: tuple[Running, tuple[bytes, ...]],
) -> None:
    running, trusted = encrypted
    lines = integration_lines(secrets_of(running).integration_secret, "ci", [f"tls://{HOST}:4222"], trusted)
    given = dict(word.split("=", 1) for word in shlex.split(lines) if "=" in word)
    client = await nats.connect(
        f"tls://{HOST}:{running.config.orchestrator.port}",
        user=given["NATS_USER"],
        password=given["NATS_PASSWORD"],
        inbox_prefix=given["NATS_INBOX_PREFIX"],
        tls=ssl.create_default_context(cadata=given["TARPON_AUTHORITY"]),
        tls_handshake_first=True,
        allow_reconnect=False,
    )
    answer = await client.request(f"{given['TARPON_API_SUBJECT']}jobs.list", b"{}", timeout=10)
    await client.close()
    assert answer.data


async def test_where_some_have_no_tls_yet_both_kinds_join_and_a_warning_tells_the_step(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    also = ("Orchestrator.TLS.PlainText=also",)
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=also) as running:
        for trusted in ((), authorities(running)):
            async with asyncio.timeout(20), joining(running, "nats", trusted) as connection:
                await connection.wait_connected()
    assert "and then set Orchestrator.TLS.PlainText=never" in caplog.text


async def test_a_client_that_was_told_tls_uses_it_where_plain_text_is_served_too(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    also = ("Orchestrator.TLS.PlainText=also",)
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=also) as running,
        asyncio.timeout(20),
        joining(running, "nats", authorities(running)) as connection,
    ):
        await connection.wait_connected()
        writer = connection.client._transport._io_writer  # type: ignore[union-attr]
        assert writer.get_extra_info("ssl_object") is not None


@pytest.mark.parametrize(
    ("host", "asked", "earlier", "expected"),
    [
        (HOST, "auto", False, NatsEncryption.NONE),
        ("localhost", "auto", True, NatsEncryption.NONE),
        ("::1", "auto", False, NatsEncryption.NONE),
        ("0.0.0.0", "auto", False, NatsEncryption.ALWAYS),
        ("0.0.0.0", "auto", True, NatsEncryption.BOTH),
        ("10.1.2.3", "auto", False, NatsEncryption.ALWAYS),
        (HOST, "never", True, NatsEncryption.ALWAYS),
        ("0.0.0.0", "also", False, NatsEncryption.BOTH),
        ("0.0.0.0", "only", True, NatsEncryption.NONE),
    ],
)
def test_plain_text_is_the_default_on_loopback_alone(
    tmp_path: Path, host: str, asked: NatsPlainText, *, earlier: bool, expected: NatsEncryption
) -> None:
    if earlier:
        (tmp_path / "orchestrator" / "nats").mkdir(parents=True)
    remember_earlier_version(tmp_path)
    (tmp_path / "orchestrator" / "nats").mkdir(parents=True, exist_ok=True)
    remember_earlier_version(tmp_path)  # at a later start
    settings = Orchestrator(host=host, tls=OrchestratorTls(plain_text=asked))
    assert nats_encryption(settings, tmp_path) is expected


def test_plain_text_off_loopback_is_warned_of(tmp_path: Path) -> None:
    authority = read_secret(Secret(new_secret(os.urandom(32), now=time.time())))
    settings = Orchestrator(tls=OrchestratorTls(plain_text="only"))
    (warning,) = prepare(Config(orchestrator=settings, data_dir=tmp_path), authority, now=time.time()).warnings
    assert "NATS has no TLS on 0.0.0.0" in warning
    assert prepare(Config(data_dir=tmp_path), authority, now=time.time()).warnings == ()
    assert tls_folder(tmp_path).joinpath("authority.pem").exists()


def test_inputs_that_come_in_plain_text_are_warned_of(tmp_path: Path) -> None:
    authority = read_secret(Secret(new_secret(os.urandom(32), now=time.time())))

    def warned(host: str) -> tuple[str, ...]:
        s3 = S3Inputs(allow=(f"s3://data?endpoint=http://{host}:9000",), plain_text=True)
        settings = Config(input_sources=InputSources(types=InputTypes(s3=s3)), data_dir=tmp_path)
        return prepare(settings, authority, now=time.time()).warnings

    (warning,) = warned("s3.example.com")
    assert "Inputs go over the network without TLS" in warning
    assert warned(HOST) == ()


def test_servers_of_others_that_are_reached_in_plain_text_are_warned_of(tmp_path: Path) -> None:
    authority = read_secret(Secret(new_secret(os.urandom(32), now=time.time())))

    def warned(*servers: str) -> tuple[str, ...]:
        settings = Orchestrator(nats=Nats(servers=servers))
        return prepare(Config(orchestrator=settings, data_dir=tmp_path), authority, now=time.time()).warnings

    (warning,) = warned("nats://nats.example.com:4222", "nats://127.0.0.1:4222")
    assert "What is sent to nats://nats.example.com:4222 has no TLS" in warning
    assert warned("tls://nats.example.com:4222") == warned("nats://localhost") == ()


def test_a_node_that_sends_in_plain_text_to_another_machine_is_warned() -> None:
    servers = ("nats://10.1.2.3:4222", "nats://127.0.0.1:4222")
    assert in_the_clear(servers, None) == ("nats://10.1.2.3:4222",)
    assert in_the_clear(("tls://10.1.2.3:4222",), None) == ()
    assert in_the_clear(servers, trust_of(ComputeTls(require_tls=True))) == ()


async def test_a_node_whose_clock_is_a_year_off_is_told_what_it_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The certificate begins in a year, as it seems to on a machine whose clock is a year behind."""
    made = time.time() + 365 * 86400
    authority = read_secret(Secret(new_secret(os.urandom(32), now=made)))
    pair = issue(signing(authority, CertificateUse.SERVERS, now=made), (HOST,), now=made)
    (tmp_path / "server.pem").write_bytes(pair.certificate + pair.key)
    tls = f'tls {{ cert_file: "{tmp_path / "server.pem"}", key_file: "{tmp_path / "server.pem"}" }}\n'
    trust = trusting(told(authority, CertificateUse.SERVERS, now=made))
    async with (
        own_nats(tmp_path, tls) as server,
        connect((server.tls_url,), name="node-1", nkey_seed=SEED, token="t", trust=trust) as connection,
    ):
        await eventually(lambda: "is not trusted: certificate is not yet valid" in caplog.text)
        assert not connection.connected
    assert "this machine's clock says 20" in caplog.text


async def test_a_renewed_certificate_is_shown_and_nodes_are_back_at_once(
    encrypted: tuple[Running, tuple[bytes, ...]],
) -> None:
    """By the file of one that runs: what the orchestrator itself would do, once a year and some."""
    running, trusted = encrypted
    port = running.config.orchestrator.port
    async with joining(running, "tls", trusted) as node, asyncio.timeout(40):
        await node.wait_connected()
        before = await presented(port, trusted)
        await renewed(running, before)
        await eventually(lambda: node.connections == 2 and node.connected, within=20, what="it is back, once")
        assert await presented(port, trusted) != before
        await running.compute_nodes()  # the orchestrator is there


async def presented(port: int, trusted: Sequence[bytes]) -> bytes:
    _, writer = await asyncio.open_connection(HOST, port, ssl=trusting(trusted))
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return bytes(found)


async def renewed(running: Running, before: bytes) -> None:
    authority = secrets_of(running).authority
    pair = issue(signing(authority, CertificateUse.SERVERS, now=time.time()), (HOST,), now=time.time())
    folder = running.config.data_dir / "orchestrator"
    (folder / "tls" / "server.pem").write_bytes(pair.certificate + pair.key)
    os.kill(int((folder / "nats" / "nats-server.pid").read_text()), 1)
    assert pair.der != before


class Renewing(NamedTuple):
    server: NatsServer
    served: Served
    port: int
    trusted: Sequence[bytes]

    async def shows_another(self) -> None:
        deadline = time.monotonic() + 10
        while await presented(self.port, self.trusted) == self.served.shown.der:
            assert time.monotonic() < deadline, "the new one is shown"
            await asyncio.sleep(0.02)
        assert await self.server._is_well()


@asynccontextmanager
async def renewing_server(folder: Path, is_quiet: Callable[[], bool], *, patience: float) -> AsyncIterator[Renewing]:
    authority = read_secret(Secret(new_secret(os.urandom(32), now=time.time())))
    config = Config(data_dir=folder, orchestrator=Orchestrator(host=HOST, tls=OrchestratorTls(plain_text="never")))
    served = prepare(config, authority, now=time.time()).nats
    assert served is not None
    trust, port = trusting_nobody_else(served.shown.der), free_ports(1)[0]
    server = NatsServer(
        ServerConfig(
            directory=folder / "nats",
            host=HOST,
            port=port,
            server_name="renewing",
            issuer=public_key(new_account_seed()),
            orchestrator=public_key(new_user_seed()),
            tls=ServerTls(certificate=served.certificate.certificate, key=served.certificate.key),
        ),
        trust=trust,
    )
    renewal = NatsRenewal(server, trust, is_quiet=is_quiet, within_seconds=patience, poll_seconds=0.02)
    trusted = told(authority, CertificateUse.SERVERS, now=time.time())
    async with (
        server,
        background(renewal=keep_current(served.certificate, served.shown, renewal.take, every_seconds=0.05)),
    ):
        yield Renewing(server, served, port, trusted)


async def test_the_server_takes_a_new_certificate_at_a_quiet_moment_and_not_before(tmp_path: Path) -> None:
    quiet = asyncio.Event()
    asked = 0

    def is_quiet() -> bool:
        nonlocal asked
        asked += 1
        return quiet.is_set()

    async with renewing_server(tmp_path, is_quiet, patience=3600) as made:
        assert await presented(made.port, made.trusted) == made.served.shown.der
        made.served.certificate.certificate.unlink()  # so that it is made anew
        await eventually(lambda: asked > 5, what="it waits")
        assert await presented(made.port, made.trusted) == made.served.shown.der
        quiet.set()
        await made.shows_another()


async def test_a_server_without_patience_takes_a_new_certificate_while_jobs_run(tmp_path: Path) -> None:
    async with renewing_server(tmp_path, lambda: False, patience=0) as made:
        made.served.certificate.certificate.unlink()
        await made.shows_another()


async def test_a_cluster_with_an_authority_of_its_own_is_joined_over_tls(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As operators have it: the server speaks first, and then encrypts."""
    secrets = load_secrets(SecretSources(directory=tmp_path / "data" / "orchestrator" / "secrets"))
    authority = read_secret(Secret(new_secret(os.urandom(32), now=time.time())))
    pair = issue(signing(authority, CertificateUse.SERVERS, now=time.time()), (HOST,), now=time.time())
    (tmp_path / "server.pem").write_bytes(pair.certificate + pair.key)
    trusted = told(authority, CertificateUse.SERVERS, now=time.time())
    (tmp_path / "ca.pem").write_text(authorities_as_pem(trusted))
    accounts = render_accounts(issuer=secrets.issuer_public_key, orchestrator=secrets.orchestrator_public_key)
    file = tmp_path / "server.pem"
    tls = f'tls {{ cert_file: "{file}", key_file: "{file}" }}\njetstream {{ store_dir: "{tmp_path / "js"}" }}\n'
    async with own_nats(tmp_path, tls + accounts) as server:
        sets = (f"Orchestrator.NATS.Servers={server.tls_url}", f"Orchestrator.TLS.CACert={tmp_path / 'ca.pem'}")
        async with (
            running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=sets) as running,
            asyncio.timeout(20),
            connect(
                (server.url,),
                name="node-1",
                nkey_seed=SEED,
                token=running.secret,
                inbox_prefix=node_inbox("node-1"),  # type: ignore[arg-type]  # it can be one
                trust=trusting(trusted),
            ) as connection,
        ):
            await connection.wait_connected()
