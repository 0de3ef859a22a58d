"""The authority and its certificates, as real clients judge them: those that are stricter than ours, too."""

import asyncio
import contextlib
import os
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from orchestrator.admission.tls.authority import (
    Authority,
    AuthorityInvalid,
    CertificateUse,
    new_secret,
    read_secret,
    signing,
    told,
)
from orchestrator.admission.tls.certificates import CertificateInvalid, Pair, check_pair, issue
from orchestrator.admission.tls.served_certificate import GivenCertificate, MadeCertificate
from shared.runtime.network_problems import NOT_TRUSTED, OTHER_NAME, OUT_OF_DATE, why_unreachable
from shared.runtime.tls.trust import (
    AuthorityUnreadable,
    authorities_as_text,
    authorities_from_text,
    authorities_in,
    trusting,
    trusting_file,
    trusting_nobody_else,
)
from shared.settings.secret import Secret
from tests.programs import require_program
from tests.servers import HOST

YEAR = 365 * 86400.0
NOW = time.time()


def an_authority(*, made: float = NOW) -> Authority:
    return read_secret(Secret(new_secret(os.urandom(32), now=made)))


def a_pair(authority: Authority, *hosts: str, now: float = NOW, use: CertificateUse = CertificateUse.SERVERS) -> Pair:
    return issue(signing(authority, use, now=now), hosts, now=now)


@asynccontextmanager
async def serving(pair: Pair, folder: Path) -> AsyncIterator[int]:
    """Something that answers every connection by TLS with one byte."""
    file = folder / f"{os.urandom(4).hex()}.pem"
    file.write_bytes(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(b"!")
            await writer.drain()
            writer.close()

    async with await asyncio.start_server(answer, HOST, 0, ssl=context) as server:
        yield int(server.sockets[0].getsockname()[1])


async def why_refused(port: int, trust: ssl.SSLContext, host: str = HOST) -> str:
    """Nothing where it is taken."""
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(host, port, ssl=trust)
            assert await reader.read(1) == b"!"
            writer.close()
    except ssl.SSLError as error:
        return why_unreachable(error)
    return ""


async def test_a_server_is_known_by_the_authority_whatever_its_address(tmp_path: Path) -> None:
    authority = an_authority()
    async with serving(a_pair(authority), tmp_path) as port:
        assert await why_refused(port, trusting(told(authority, CertificateUse.SERVERS, now=NOW))) == ""
        assert await why_refused(port, trusting(told(authority, CertificateUse.SERVERS, now=NOW)), "localhost") == ""


async def test_what_another_authority_or_that_of_clients_has_signed_is_refused(tmp_path: Path) -> None:
    authority = an_authority()
    trust = trusting(told(authority, CertificateUse.SERVERS, now=NOW))
    async with serving(a_pair(an_authority(), HOST), tmp_path) as port:
        assert await why_refused(port, trust) == NOT_TRUSTED
    async with serving(a_pair(authority, HOST, use=CertificateUse.CLIENTS), tmp_path) as port:
        assert await why_refused(port, trust) == NOT_TRUSTED


async def test_a_certificate_that_has_expired_or_not_begun_is_refused_and_told_of(tmp_path: Path) -> None:
    authority = an_authority(made=NOW - 3 * YEAR)
    trust = trusting(told(authority, CertificateUse.SERVERS, now=NOW))
    for made in (NOW - 1.1 * YEAR, NOW + 2 * 86400):
        async with serving(a_pair(authority, now=made), tmp_path) as port:
            assert await why_refused(port, trust) == OUT_OF_DATE


async def test_a_machine_whose_clock_is_hours_behind_takes_it(tmp_path: Path) -> None:
    made = NOW + 20 * 3600
    authority = an_authority(made=made)
    async with serving(a_pair(authority, now=made), tmp_path) as port:
        assert await why_refused(port, trusting(told(authority, CertificateUse.SERVERS, now=made))) == ""


async def test_what_is_no_orchestrator_is_known_by_its_address(tmp_path: Path) -> None:
    authority = an_authority()
    trust = trusting(told(authority, CertificateUse.SERVERS, now=NOW), by_address=True)
    async with serving(a_pair(authority, HOST), tmp_path) as port:
        assert await why_refused(port, trust) == ""
        assert await why_refused(port, trust, "localhost") == OTHER_NAME


async def test_our_own_server_is_known_by_its_very_certificate(tmp_path: Path) -> None:
    authority = an_authority()
    shown, other = a_pair(authority), a_pair(authority)
    async with serving(shown, tmp_path) as port:
        assert await why_refused(port, trusting_nobody_else(shown.der)) == ""
        assert await why_refused(port, trusting_nobody_else(other.der)) == NOT_TRUSTED
        renewed = trusting_nobody_else(other.der)
        renewed.load_verify_locations(cadata=shown.der)
        assert await why_refused(port, renewed) == ""


async def test_it_stands_up_to_the_strictest_flags(tmp_path: Path) -> None:
    authority = an_authority()
    trust = ssl.create_default_context(cadata=b"".join(told(authority, CertificateUse.SERVERS, now=NOW)))
    trust.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    async with serving(a_pair(authority, HOST), tmp_path) as port:
        assert await why_refused(port, trust) == ""


async def test_openssl_takes_it_for_a_server_and_for_nothing_else(tmp_path: Path) -> None:
    program = require_program("openssl")
    authority = an_authority()
    (tmp_path / "ca.pem").write_text(
        "".join(map(ssl.DER_cert_to_PEM_cert, told(authority, CertificateUse.SERVERS, now=NOW)))
    )
    (tmp_path / "server.pem").write_bytes(a_pair(authority, HOST).certificate)

    def verified(purpose: str) -> bool:
        command = [program, "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "ca.pem", "server.pem"]
        return subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode == 0

    assert verified("sslserver")
    assert not verified("sslclient")


def test_all_who_share_the_secret_have_the_same_authority() -> None:
    secret = Secret(new_secret(bytes(range(32)), now=1_700_000_000))
    for use in CertificateUse:
        assert told(read_secret(secret), use, now=NOW) == told(read_secret(secret), use, now=NOW)
    first, second = (told(read_secret(secret), use, now=NOW) for use in CertificateUse)
    assert first != second


def test_a_successor_is_told_for_years_before_it_signs() -> None:
    authority = an_authority()

    def known(years: float) -> tuple[bytes, ...]:
        return told(authority, CertificateUse.SERVERS, now=authority.made + years * YEAR)

    def signs(years: float) -> int:
        signer = signing(authority, CertificateUse.SERVERS, now=authority.made + years * YEAR)
        return known(years).index(signer.certificate.public_bytes(Encoding.DER))

    assert len(known(0)) == len(known(4.9)) == 1
    assert len(known(5.1)) == 2
    assert known(5.1)[0] == known(0)[0]
    assert signs(5.1) == signs(8.8) == 0, "the older one signs on"
    assert signs(9.5) == 1, "its last year"
    assert known(14)[-1] != known(9.5)[-1], "and there is the next again"


async def test_those_who_joined_years_ago_know_the_successor_when_it_signs(tmp_path: Path) -> None:
    authority = an_authority(made=NOW - 9.5 * YEAR)
    joined = told(authority, CertificateUse.SERVERS, now=NOW - 4 * YEAR)
    async with serving(a_pair(authority), tmp_path) as port:
        assert await why_refused(port, trusting(joined)) == ""
        assert await why_refused(port, trusting(joined[:1])) == NOT_TRUSTED


@pytest.mark.parametrize(
    "text",
    ["", "x", "1.", f"{int(NOW)}.{'A' * 42}", f"{int(NOW)}.{'A' * 44}", f".{'A' * 43}"],
    ids=["nothing", "x", "a time alone", "too short", "too long", "no time"],  # the same in every process
)
def test_what_is_no_secret_of_an_authority_is_told_and_not_shown(text: str) -> None:
    with pytest.raises(AuthorityInvalid) as caught:
        read_secret(Secret(text))
    assert len(text) < 5 or text not in f"{caught.value} {caught.value.hint}"


def test_an_orchestrator_whose_clock_is_behind_its_authority_is_told() -> None:
    with pytest.raises(AuthorityInvalid) as caught:
        signing(an_authority(made=NOW + YEAR), CertificateUse.SERVERS, now=NOW)
    assert "Set the clock" in caught.value.hint


def test_a_certificate_is_made_once_and_again_when_it_is_due(tmp_path: Path) -> None:
    authority = an_authority()
    made = MadeCertificate(tmp_path / "tls", authority, (HOST,))
    first = made.load(now=NOW)
    assert made.load(now=NOW + 300 * 86400) == first
    assert made.certificate.stat().st_mode & 0o777 == 0o600
    second = made.load(now=NOW + 305 * 86400)
    assert second != first, "two months early"
    assert MadeCertificate(tmp_path / "tls", authority, (HOST,)).load(now=NOW + 305 * 86400) == second


def test_all_who_find_it_due_at_the_same_moment_get_the_one_that_is_kept(tmp_path: Path) -> None:
    """As NATS and the API of one orchestrator do."""
    authority, at_once = an_authority(), threading.Barrier(8)

    def load(number: int) -> Pair:
        made = MadeCertificate(tmp_path, authority, (HOST,))
        at_once.wait(timeout=30)
        return made.load(now=NOW + number // 8 * 305 * 86400)

    with ThreadPoolExecutor(8) as threads:
        for first in (0, 8):
            shown = set(threads.map(load, range(first, first + 8)))
            assert {(tmp_path / "server.pem").read_bytes()} == {pair.certificate + pair.key for pair in shown}


def test_a_certificate_is_made_anew_for_another_name_or_authority_and_where_it_is_damaged(tmp_path: Path) -> None:
    authority = an_authority()
    first = MadeCertificate(tmp_path, authority, (HOST,)).load(now=NOW)
    named = MadeCertificate(tmp_path, authority, (HOST, "example.com"))
    second = named.load(now=NOW)
    assert second != first
    assert MadeCertificate(tmp_path, authority, ("example.com",)).load(now=NOW) == second, "a name more does no harm"
    named.certificate.write_bytes(named.certificate.read_bytes()[:-40])
    assert named.load(now=NOW) != second
    other = MadeCertificate(tmp_path, an_authority(), (HOST,)).load(now=NOW)
    assert MadeCertificate(tmp_path, authority, (HOST,)).load(now=NOW) != other


class TestGivenCertificates:
    @pytest.fixture
    def files(self, tmp_path: Path) -> tuple[Path, Path]:
        pair = a_pair(an_authority(), HOST)
        certificate, key = tmp_path / "own.pem", tmp_path / "own.key"
        certificate.write_bytes(pair.certificate)
        key.touch(mode=0o600)
        key.write_bytes(pair.key)
        return certificate, key

    def problem(self, files: tuple[Path, Path], *, now: float = NOW) -> str:
        with pytest.raises(CertificateInvalid) as caught:
            GivenCertificate(*files, settings=("API.TLS.CertFile", "API.TLS.KeyFile")).load(now=now)
        assert caught.value.hint
        return caught.value.message

    def test_a_good_pair_is_served(self, files: tuple[Path, Path]) -> None:
        given = GivenCertificate(*files, settings=("API.TLS.CertFile", "API.TLS.KeyFile"))
        assert given.load(now=NOW).certificate == files[0].read_bytes()

    def test_words_of_any_language_may_stand_around_a_certificate(self, files: tuple[Path, Path]) -> None:
        """As `openssl pkcs12` writes them."""
        given = GivenCertificate(*files, settings=("API.TLS.CertFile", "API.TLS.KeyFile"))
        plain = given.load(now=NOW)
        files[0].write_bytes("Bag Attributes\n    friendlyName: Büro\n".encode() + plain.certificate)
        assert given.load(now=NOW).der == plain.der

    def test_a_file_that_cannot_be_read_is_told(self, files: tuple[Path, Path]) -> None:
        files[0].unlink()
        assert self.problem(files) == f"API.TLS.CertFile: {files[0]} cannot be read: No such file or directory."

    def test_a_key_that_is_open_to_others_is_refused(self, files: tuple[Path, Path]) -> None:
        files[1].chmod(0o644)
        assert "is open to other users (mode 0644)" in self.problem(files)

    def test_a_key_that_does_not_fit_is_told(self, files: tuple[Path, Path]) -> None:
        files[1].write_bytes(a_pair(an_authority()).key)
        assert self.problem(files).startswith("The key does not fit the certificate in")

    def test_what_is_no_certificate_or_key_is_told_and_not_shown(self, files: tuple[Path, Path]) -> None:
        good = files[1].read_bytes()
        files[1].write_text("hunter2")
        assert "is none, or has a password" in self.problem(files)
        assert "hunter2" not in self.problem(files)
        files[1].write_bytes(good)
        files[0].write_text("nothing")
        assert "is none." in self.problem(files)

    def test_one_that_has_expired_is_told_with_its_day(self, files: tuple[Path, Path]) -> None:
        assert "has expired, on 20" in self.problem(files, now=NOW + 1.1 * YEAR)


def test_a_pair_with_its_chain_is_taken() -> None:
    authority = an_authority()
    pair = a_pair(authority)
    chain = "".join(map(ssl.DER_cert_to_PEM_cert, told(authority, CertificateUse.SERVERS, now=NOW))).encode()
    check_pair(Pair(pair.certificate + chain, pair.key), "here", now=NOW)
    assert Pair(pair.certificate + chain, pair.key).der == pair.der


class TestAuthoritiesAsText:
    def test_they_come_back_as_they_were(self) -> None:
        authority = an_authority(made=NOW - 6 * YEAR)
        both = told(authority, CertificateUse.SERVERS, now=NOW)
        assert len(both) == 2
        assert authorities_from_text(authorities_as_text(both)) == both

    @pytest.mark.parametrize("spoil", [lambda text: text[:-5], lambda text: "", lambda text: text.replace("M", "?", 1)])
    def test_a_text_that_is_cut_off_or_mistyped_is_told(self, spoil: object) -> None:
        assert callable(spoil)
        text = spoil(authorities_as_text(told(an_authority(), CertificateUse.SERVERS, now=NOW)))
        with pytest.raises(AuthorityUnreadable):
            trusting(authorities_from_text(text))

    def test_a_file_without_a_certificate_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "empty.pem").touch()
        for file in (tmp_path / "empty.pem", tmp_path / "absent.pem"):
            with pytest.raises(AuthorityUnreadable, match=str(file)):
                trusting_file(file)

    def test_a_file_may_hold_several(self, tmp_path: Path) -> None:
        both = told(an_authority(made=NOW - 6 * YEAR), CertificateUse.SERVERS, now=NOW)
        (tmp_path / "both.pem").write_text("".join(map(ssl.DER_cert_to_PEM_cert, both)))
        assert authorities_in(tmp_path / "both.pem") == both
