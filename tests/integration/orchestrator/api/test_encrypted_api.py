"""The API over TLS, as the Python client meets it: whom it takes for the orchestrator, and what it says otherwise."""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from orchestrator.admission.tls.authority import CertificateUse, new_secret, read_secret, signing, told
from orchestrator.admission.tls.certificates import issue
from orchestrator.admission.tls.encryption import authority_file
from orchestrator.admission.tls.served_certificate import MadeCertificate
from orchestrator.nats_servers.renewal import ContextRenewal, keep_current
from shared.jobs.spec import JobView
from shared.runtime.aio import background
from shared.runtime.network_problems import NO_TLS, NOT_TRUSTED, OTHER_NAME, OUT_OF_DATE, SPEAKS_TLS
from shared.runtime.tls.trust import authorities_as_pem, trusting_file
from shared.settings.secret import Secret
from tarpon.client import Client
from tarpon.http.trust import ClientTrust, OneSideEncrypts, OrchestratorNotTrusted
from tests.integration.running import Running, running_orchestrator
from tests.servers import HOST, S3Server

YEAR = 365 * 86400.0


@pytest.fixture
async def encrypted(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Running, ClientTrust]]:
    sets = ("API.TLS.SelfSigned=true",)
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=sets) as running:
        yield running, ClientTrust(ca_file=str(authority_file(running.config.data_dir)))


def given(folder: Path, *hosts: str, made: float) -> tuple[tuple[str, ...], str]:
    """Settings that serve a certificate of somebody else's authority, and the file of that."""
    authority = read_secret(Secret(new_secret(os.urandom(32), now=made)))
    pair = issue(signing(authority, CertificateUse.SERVERS, now=made), hosts, now=made)
    certificate, key, ca = folder / "own.pem", folder / "own.key", folder / "ca.pem"
    certificate.write_bytes(pair.certificate)
    key.touch(mode=0o600)
    key.write_bytes(pair.key)
    ca.write_text(authorities_as_pem(told(authority, CertificateUse.SERVERS, now=made)))
    return (f"API.TLS.CertFile={certificate}", f"API.TLS.KeyFile={key}"), str(ca)


async def test_a_client_knows_it_by_the_authority_of_its_data_dir(encrypted: tuple[Running, ClientTrust]) -> None:
    running, trust = encrypted
    async with Client(HOST, running.config.api.port, trust=trust) as client:
        assert client.url.startswith("https://")
        assert (await client.alive()).status == "OK"


async def test_nothing_is_sent_to_one_of_another_authority(
    encrypted: tuple[Running, ClientTrust], tmp_path: Path
) -> None:
    running, _ = encrypted
    _, other = given(tmp_path, made=time.time())
    for trust in (ClientTrust(ca_file=other), ClientTrust(use_tls=True)):
        with pytest.raises(OrchestratorNotTrusted) as caught:
            async with Client(HOST, running.config.api.port, trust=trust) as client:
                await client.alive()
        assert NOT_TRUSTED in caught.value.message
        assert "API.TLS.CAFile" in caught.value.hint


async def test_http_to_an_encrypted_api_is_told_to_be_https(encrypted: tuple[Running, ClientTrust]) -> None:
    running, _ = encrypted
    async with Client(f"http://{HOST}:{running.config.api.port}") as client:
        with pytest.raises(OneSideEncrypts, match=SPEAKS_TLS) as caught:
            await client.alive()
    assert "https://" in caught.value.hint


async def test_https_to_an_api_in_plain_text_is_told(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False) as running,
        Client(f"https://{HOST}:{running.config.api.port}") as client,
    ):
        with pytest.raises(OneSideEncrypts, match=NO_TLS):
            await client.alive()


async def test_a_client_that_takes_any_certificate_has_to_be_told_so(encrypted: tuple[Running, ClientTrust]) -> None:
    running, _ = encrypted
    async with Client(HOST, running.config.api.port, trust=ClientTrust(insecure=True)) as client:
        assert (await client.alive()).status == "OK"


async def test_a_certificate_of_ones_own_is_served_and_known_by_its_name(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets, ca = given(tmp_path, HOST, made=time.time())
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=sets) as running:
        async with Client(HOST, running.config.api.port, trust=ClientTrust(ca_file=ca)) as client:
            assert (await client.alive()).status == "OK"
        context = trusting_file(ca, by_address=True)
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("localhost", running.config.api.port, ssl=context)


async def test_a_machine_whose_clock_is_a_year_off_gets_a_sentence(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate is of a time that this machine's clock has not reached, as on a machine that is a year behind."""
    sets, ca = given(tmp_path, HOST, made=time.time() + YEAR)
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=sets) as running:
        with pytest.raises(OrchestratorNotTrusted, match=OUT_OF_DATE) as caught:
            async with Client(HOST, running.config.api.port, trust=ClientTrust(ca_file=ca)) as client:
                await client.alive()
    assert "clock" in caught.value.hint


def test_the_sentences_are_told_apart() -> None:
    assert len({NO_TLS, NOT_TRUSTED, OTHER_NAME, OUT_OF_DATE, SPEAKS_TLS}) == 5


async def test_a_new_certificate_is_shown_without_a_connection_lost(tmp_path: Path) -> None:
    now = time.time()
    authority = read_secret(Secret(new_secret(os.urandom(32), now=now)))
    made = MadeCertificate(tmp_path, authority, (HOST,))
    shown = made.load(now=now)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async with await asyncio.start_server(echo, HOST, 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        trust = ClientTrust(authority=told(authority, CertificateUse.SERVERS, now=now)).api_context(
            (f"https://{HOST}",)
        )
        reader, writer = await asyncio.open_connection(HOST, port, ssl=trust)
        renewal = ContextRenewal(made, context, said="A new one is shown.")
        async with background(renewal=keep_current(made, shown, renewal.take, every_seconds=0.05)):
            made.certificate.unlink()  # so that it is made anew
            before = shown.der

            async def presented() -> bytes:
                _, other = await asyncio.open_connection(HOST, port, ssl=trust)
                found = other.get_extra_info("ssl_object").getpeercert(binary_form=True)
                other.close()
                return bytes(found)

            deadline = time.monotonic() + 10
            while await presented() == before:
                assert time.monotonic() < deadline, "the new one is shown"
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        writer.close()


async def test_a_watch_goes_over_tls(encrypted: tuple[Running, ClientTrust]) -> None:
    running, trust = encrypted
    job = {"Name": "a", "Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "noop"}}]}
    heard = asyncio.Event()
    async with Client(HOST, running.config.api.port, trust=trust) as client:
        submitted = await client.submit(job)

        async def watch() -> None:
            async with aclosing(client.watch(submitted.job_id)) as progress:
                async for each in progress:
                    if isinstance(each, JobView):
                        heard.set()

        async with background(watch=watch()):
            async with asyncio.timeout(20):
                await heard.wait()
