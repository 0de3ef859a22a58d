"""The API that asks for certificates, as the Python client meets it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from orchestrator.admission.tls.authority import CertificateUse
from orchestrator.admission.tls.encryption import authority_file
from shared.runtime.network_problems import SHOWN_REFUSED, WANTS_CERTIFICATE
from shared.runtime.tls.client_certificate import ClientCertificateInvalid
from tarpon.client import Client
from tarpon.http.trust import ClientCertificateRefused, ClientTrust
from tests.client_certificates import YEAR, ClientAuthority
from tests.integration.running import Running, running_orchestrator
from tests.servers import HOST, S3Server


@pytest.fixture
def operators(tmp_path: Path) -> ClientAuthority:
    return ClientAuthority(tmp_path)


@pytest.fixture
async def asking(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, operators: ClientAuthority
) -> AsyncIterator[Running]:
    sets = (f"API.TLS.ClientCA={operators.file}",)
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=sets) as running:
        yield running


def client(running: Running, shown: str = "") -> Client:
    ca = str(authority_file(running.config.data_dir))
    return Client(HOST, running.config.api.port, trust=ClientTrust(ca_file=ca, client_cert=shown, client_key=shown))


async def test_a_client_with_a_certificate_of_the_operators_authority_is_served(
    asking: Running, operators: ClientAuthority
) -> None:
    async with client(asking, operators.sign("ann")) as served:
        assert (await served.alive()).status == "OK"


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("none", WANTS_CERTIFICATE),
        ("of a stranger", SHOWN_REFUSED),
        ("expired", SHOWN_REFUSED),
        ("of a server", SHOWN_REFUSED),
    ],
)
async def test_any_other_is_refused_with_what_to_name(
    asking: Running, operators: ClientAuthority, tmp_path: Path, kind: str, why: str
) -> None:
    made: dict[str, Callable[[], str]] = {
        "none": str,
        "of a stranger": lambda: ClientAuthority(tmp_path, "strangers").sign("ann"),
        "expired": lambda: operators.sign("ann", age=2 * YEAR),
        "of a server": lambda: operators.sign("ann", use=CertificateUse.SERVERS),
    }
    shown = made[kind]()
    async with client(asking, shown) as refused:
        with pytest.raises(ClientCertificateRefused) as caught:
            await refused.alive()
    assert why in caught.value.message
    assert "API.TLS.ClientCert" in caught.value.hint


async def test_what_cannot_be_shown_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    trust = ClientTrust(client_cert=str(tmp_path / "absent.pem"), client_key=str(tmp_path / "absent.pem"))
    with pytest.raises(ClientCertificateInvalid, match=r"API\.TLS\.ClientCert: .*absent\.pem cannot be read"):
        async with asyncio.timeout(20), Client(HOST, 1, trust=trust):
            pass
