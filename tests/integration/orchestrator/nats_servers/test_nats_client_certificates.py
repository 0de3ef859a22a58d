"""The embedded NATS server that asks for certificates: who gets in, and what those are told who do not."""

import asyncio
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from compute.uplink.trust import trust_of
from orchestrator.admission.nats_config import render_accounts
from orchestrator.admission.secret_files import SecretSources, load_secrets
from orchestrator.admission.tls.authority import CertificateUse, told
from orchestrator.admission.tls.encryption import NatsEncryption, nats_encryption
from orchestrator.service import secret_sources
from shared.messaging.transport import Connection, connect
from shared.protocol.subjects import node_inbox
from shared.runtime.aio import background
from shared.runtime.network_problems import OF_A_STRANGER, SHOWN_EXPIRED, SHOWN_UNFIT, WANTS_CERTIFICATE
from shared.runtime.tls.client_certificate import ClientCertificate, ClientCertificateInvalid, keep_shown
from shared.runtime.tls.trust import authorities_as_text
from shared.settings.config import Orchestrator
from shared.settings.tls.declared import ComputeTls, FilePath, OrchestratorTls
from tests.certificates import make_certificate
from tests.client_certificates import YEAR, ClientAuthority
from tests.integration.running import Running, running_orchestrator
from tests.nats_bus import new_user_seed
from tests.own_nats import own_nats
from tests.servers import HOST, S3Server
from tests.waiting import eventually

SEED = new_user_seed()


@pytest.fixture
def operators(tmp_path: Path) -> ClientAuthority:
    return ClientAuthority(tmp_path)


@pytest.fixture
async def asking(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, operators: ClientAuthority
) -> AsyncIterator[Running]:
    sets = (f"Orchestrator.TLS.ClientCA={operators.file}",)
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=sets) as running:
        yield running


def trust_with(running: Running, shown: str = "") -> ssl.SSLContext:
    """A node's, that shows what is in this file."""
    authority = load_secrets(secret_sources(running.config)).authority
    text = authorities_as_text(told(authority, CertificateUse.SERVERS, now=time.time()))
    trust = trust_of(ComputeTls(authority=text, client_cert=FilePath(shown), client_key=FilePath(shown)))
    assert trust is not None
    return trust


@asynccontextmanager
async def joining(running: Running, trust: ssl.SSLContext) -> AsyncIterator[Connection]:
    async with connect(
        (f"tls://{HOST}:{running.config.orchestrator.port}",),
        name="node-1",
        nkey_seed=SEED,
        token=running.secret,
        inbox_prefix=node_inbox("node-1"),  # type: ignore[arg-type]  # it can be one
        trust=trust,
    ) as connection:
        yield connection


async def test_a_node_with_a_certificate_of_the_operators_authority_joins(
    asking: Running, operators: ClientAuthority
) -> None:
    async with asyncio.timeout(20), joining(asking, trust_with(asking, operators.sign("node"))) as connection:
        await connection.wait_connected()


async def test_a_certificate_alone_lets_nobody_in(asking: Running, operators: ClientAuthority) -> None:
    """It is a second lock: the join token or key is looked at as ever."""
    asking.secret = "wrong"
    async with joining(asking, trust_with(asking, operators.sign("node"))) as connection:
        await eventually(lambda: "wrong join token or secret" in connection.problem, within=20)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("none", WANTS_CERTIFICATE),
        ("of a stranger", OF_A_STRANGER),
        ("expired", SHOWN_EXPIRED),
        ("of a server", SHOWN_UNFIT),
    ],
)
async def test_any_other_is_refused_in_a_sentence_that_names_the_settings(
    asking: Running, operators: ClientAuthority, tmp_path: Path, kind: str, why: str
) -> None:
    made: dict[str, Callable[[], str]] = {
        "none": str,
        "of a stranger": lambda: ClientAuthority(tmp_path, "strangers").sign("node"),
        "expired": lambda: operators.sign("node", age=2 * YEAR),
        "of a server": lambda: operators.sign("node", use=CertificateUse.SERVERS),
    }
    shown = made[kind]()
    async with joining(asking, trust_with(asking, shown)) as connection:
        await eventually(lambda: why in connection.problem, within=20)
        assert "Compute.TLS.ClientCert and ClientKey" in connection.problem
        assert asking.secret not in connection.problem
        assert connection.connections == 0


async def test_a_certificate_of_tarpons_own_authority_for_servers_opens_nothing(asking: Running) -> None:
    """What the orchestrator shows as a server is of another authority than what it takes from clients."""
    servers = asking.config.data_dir / "orchestrator" / "tls" / "server.pem"
    async with joining(asking, trust_with(asking, str(servers))) as connection:
        await eventually(lambda: OF_A_STRANGER in connection.problem, within=20)


async def test_a_renewed_certificate_is_shown_at_the_next_connection(
    asking: Running, operators: ClientAuthority
) -> None:
    path = operators.sign("node", age=2 * YEAR)
    trust = trust_with(asking, path)
    shown = ClientCertificate(certificate=path, key=path, settings=("the certificate", "the key"))
    async with (
        joining(asking, trust) as connection,
        background(renewal=keep_shown(shown, trust, every_seconds=0.05)),
        asyncio.timeout(20),
    ):
        await eventually(lambda: SHOWN_EXPIRED in connection.problem, within=20)
        operators.sign("node")
        await connection.wait_connected()


async def test_the_servers_own_renewal_goes_on_as_ever(asking: Running, operators: ClientAuthority) -> None:
    """The orchestrator shows a certificate too, which it has made for itself, and is back as nodes are."""
    folder = asking.config.data_dir / "orchestrator"
    async with asyncio.timeout(30), joining(asking, trust_with(asking, operators.sign("node"))) as connection:
        await connection.wait_connected()
        os.kill(int((folder / "nats" / "nats-server.pid").read_text()), signal.SIGHUP)
        await connection.next_connection(1)
        await asking.compute_nodes()
    assert (folder / "tls" / "client.pem").stat().st_mode & 0o777 == 0o600


async def test_a_cluster_that_asks_for_certificates_is_joined_with_the_one_that_is_named(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, operators: ClientAuthority
) -> None:
    secrets = load_secrets(SecretSources(directory=tmp_path / "data" / "orchestrator" / "secrets"))
    servers, shown = make_certificate(tmp_path), operators.sign("orchestrator")
    block = servers.tls_block.replace("}", f', ca_file: "{operators.file}", verify: true }}')
    accounts = render_accounts(issuer=secrets.issuer_public_key, orchestrator=secrets.orchestrator_public_key)
    async with own_nats(tmp_path, f'{block}jetstream {{ store_dir: "{tmp_path / "js"}" }}\n{accounts}') as server:
        sets = (
            f"Orchestrator.NATS.Servers={server.tls_url}",
            f"Orchestrator.TLS.CACert={servers.certificate}",
            f"Orchestrator.TLS.ClientCert={shown}",
            f"Orchestrator.TLS.ClientKey={shown}",
        )
        async with (
            asyncio.timeout(40),
            running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=sets) as running,
        ):
            await running.compute_nodes()


async def test_an_exchange_that_does_not_fit_is_told_once_and_the_old_one_stays(
    operators: ClientAuthority, asking: Running, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(operators.sign("node"))
    trust = trust_with(asking, str(path))
    shown = ClientCertificate(certificate=str(path), key=str(path), settings=("the certificate", "the key"))
    async with background(renewal=keep_shown(shown, trust, every_seconds=0.02)):
        path.write_text("nothing")
        await eventually(lambda: "stays as it is" in caplog.text)
        async with asyncio.timeout(20), joining(asking, trust) as connection:
            await connection.wait_connected()
    assert caplog.text.count("stays as it is") == 1


@pytest.mark.parametrize("kind", ["absent", "open", "another key", "no certificate"])
def test_what_cannot_be_shown_is_told_at_the_start(operators: ClientAuthority, tmp_path: Path, kind: str) -> None:
    certificate = key = Path(operators.sign("node"))
    match kind:
        case "absent":
            key = tmp_path / "absent.pem"
        case "open":
            key.chmod(0o640)
        case "another key":
            key = Path(operators.sign("other"))
        case _:
            certificate = tmp_path / "text.pem"
            certificate.write_text("nothing")
    settings = ComputeTls(client_cert=FilePath(certificate), client_key=FilePath(key))
    with pytest.raises(ClientCertificateInvalid, match=r"Compute\.TLS\.Client") as caught:
        trust_of(settings)
    assert caught.value.hint


def test_where_certificates_are_asked_for_nobody_joins_without_tls(tmp_path: Path) -> None:
    """On loopback too, and where an earlier version without TLS has run."""
    (tmp_path / "orchestrator" / "tls").mkdir(parents=True)
    (tmp_path / "orchestrator" / "tls" / "plain-text-too").touch()
    for host in (HOST, "0.0.0.0"):
        settings = Orchestrator(host=host, tls=OrchestratorTls(client_ca=FilePath("ca.pem")))
        assert nats_encryption(settings, tmp_path) is NatsEncryption.ALWAYS
