"""Downloads from URLs of strangers, with web servers that do what none should."""

import asyncio
import hashlib
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from compute.disk.workspace import Workspace
from compute.engines.task_usage import TaskUsage
from compute.inputs.failures import InputFailed
from compute.inputs.fetching import Inputs
from compute.inputs.local.allowed_paths import AllowedPaths
from compute.inputs.local.source import LocalInputs
from compute.inputs.order import InputOrder
from compute.inputs.web.answers import address_refused
from compute.inputs.web.download import DownloadBounds, FetchedFile
from compute.inputs.web.source import UrlInputs, UrlSource, url_source
from shared.data.addresses import AllowedAddresses, allowed_networks
from shared.ids import ExecutionId
from shared.jobs.spec import InputSource, SpecConfig
from shared.jobs.states import FailureReason as R
from shared.protocol.results.provenance import Resource
from shared.settings.inputs import InputSettings, UrlDownloadSettings
from shared.web.guarded_http import guarded_session, is_own
from tests.builders import new_task
from tests.certificates import make_certificate
from tests.odd_server import Asked, OddServer, Script, answer, redirect

KEY = "key=s3cret"
LOOPBACK = ("127.0.0.0/8",)
STRONG = ('ETag: "v1"', "Accept-Ranges: bytes")


MIB = 1 << 20
CONTENT = os.urandom(3 * MIB)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Broken:
    """The first half of CONTENT, and the end of the connection as soon as a part of it is on the disk."""

    def __init__(self, *headers: str) -> None:
        self._headers = headers
        self._is_here = asyncio.Event()

    def on_bytes(self, done: int, _: int | None) -> None:
        if done:
            self._is_here.set()

    async def begin(self, _: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(CONTENT[: 2 * MIB], *self._headers, length=len(CONTENT)))
        await writer.drain()
        await self._is_here.wait()


def rest(*headers: str, shift: int = 0, total: int | None = len(CONTENT)) -> Script:
    """From the byte on that was asked for, or `shift` from there; without a total it does not say from where."""

    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        start = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-")) + shift
        place = [] if total is None else [f"Content-Range: bytes {start}-{total - 1}/{total}"]
        writer.write(answer(CONTENT[start:], *headers, *place, status=206))
        await writer.drain()

    return script


@pytest.fixture
async def server() -> AsyncIterator[OddServer]:
    async with OddServer(answer()).running() as running:
        yield running


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "part"


@pytest.fixture
async def source() -> AsyncIterator[UrlSource]:
    allowed = AllowedAddresses(allowed_networks(LOOPBACK))
    async with guarded_session(allowed) as http:
        yield UrlSource(http, allowed, DownloadBounds(size_bytes=10 << 20, first_pause_seconds=0.001))


async def failure(source: UrlSource, url: str, to: Path, *, task_bytes: int = 0) -> InputFailed:
    with pytest.raises(InputFailed) as failed:
        await source.fetch(url, to, task_bytes=task_bytes)
    assert "s3cret" not in repr(failed.value)
    assert failed.value.__cause__ is None
    return failed.value


async def test_a_file_is_fetched_as_it_is_sent_and_asked_for_without_anything_of_the_node(
    server: OddServer, source: UrlSource, to: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password s3cret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    content = os.urandom(3 << 20)
    server.answer(answer(content, "Content-Encoding: gzip", "Set-Cookie: a=b"))
    progress: list[tuple[int, int | None]] = []
    found = await source.fetch(
        server.url(f"/data/a%20b.csv?{KEY}"), to, on_bytes=lambda done, of: progress.append((done, of))
    )
    assert found == FetchedFile("a b.csv", len(content), sha256(content))
    assert to.read_bytes() == content
    assert progress[-1] == (len(content), len(content))
    assert to.stat().st_mode & 0o077 == 0
    (asked,) = server.asked
    assert asked.target == f"/data/a%20b.csv?{KEY}", "byte for byte, because it may be signed"
    assert asked.headers["accept-encoding"] == "identity"
    assert not asked.headers.keys() & {"authorization", "cookie", "referer", "proxy-authorization"}


async def test_an_empty_file_is_a_file(server: OddServer, source: UrlSource, to: Path) -> None:
    assert (await source.fetch(server.url("/empty"), to)).size_bytes == 0
    assert to.read_bytes() == b""


class TestRedirects:
    async def test_it_is_followed_without_credentials_and_its_end_names_the_file(
        self, server: OddServer, source: UrlSource, to: Path
    ) -> None:
        cookie = redirect("/two?b=2").replace(b"\r\n\r\n", b"\r\nSet-Cookie: session=1\r\n\r\n")
        server.answer(cookie, answer(b"x", 'Content-Disposition: attachment; filename="../named.txt"'))
        assert (await source.fetch(server.url(f"/one?{KEY}"), to)).name == "named.txt"
        assert [each.target for each in server.asked] == [f"/one?{KEY}", "/two?b=2"]
        assert not server.asked[1].headers.keys() & {"cookie", "referer", "authorization"}

    async def test_without_one_the_path_names_the_file_as_in_the_reference(
        self, server: OddServer, source: UrlSource, to: Path
    ) -> None:
        server.answer(answer(b"x", 'Content-Disposition: attachment; filename="other.txt"'))
        assert (await source.fetch(server.url("/path.txt"), to)).name == "path.txt"

    async def test_an_endless_row_of_them_ends(self, server: OddServer, source: UrlSource, to: Path) -> None:
        server.answer(redirect(f"/again?{KEY}"))
        told = await failure(source, server.url(), to)
        assert (told.reason, len(server.asked)) == (R.INPUT_NOT_ALLOWED, 11)
        assert "redirects more than 10 times" in told.detail

    @pytest.mark.parametrize(
        ("host", "kind"),
        [
            ("[::1]", "loopback"),
            ("127.1.1.1", "loopback"),
            ("10.0.0.1", "private"),
            ("169.254.169.254", "metadata"),
            ("[::ffff:169.254.169.254]", "metadata"),
            ("[fd00:ec2::254]", "metadata"),
            ("0.0.0.0", "unspecified"),
            ("[64:ff9b::a00:1]", "private"),
        ],
    )
    async def test_none_leads_to_an_address_that_the_operator_does_not_allow(
        self, server: OddServer, to: Path, host: str, kind: str
    ) -> None:
        server.answer(redirect(f"http://{host}:{server.port}/latest?{KEY}"))
        async with url_source(InputSettings(allowed_addresses=("127.0.0.1",))) as source:
            told = await failure(source, server.url(), to)
        assert told.reason is R.INPUT_NOT_ALLOWED
        assert kind in told.detail
        assert "Compute.Inputs.AllowedAddresses" in told.detail
        assert len(server.asked) == 1
        assert "/latest" not in told.detail

    async def test_none_leads_from_https_to_http(self, server: OddServer, to: Path, tmp_path: Path) -> None:
        certificate = make_certificate(tmp_path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate.certificate, certificate.key)
        allowed = AllowedAddresses(allowed_networks(LOOPBACK))
        trust = ssl.create_default_context(cafile=certificate.certificate)
        async with (
            OddServer(redirect(server.url())).running(context) as secure,
            guarded_session(allowed, trust) as http,
        ):
            told = await failure(UrlSource(http, allowed, DownloadBounds(size_bytes=0)), secure.url(), to)
        assert told.reason is R.INPUT_NOT_ALLOWED
        assert "https:// to http://" in told.detail
        assert server.asked == []

    async def test_a_certificate_that_nobody_signed_is_refused_at_once(
        self, source: UrlSource, to: Path, tmp_path: Path
    ) -> None:
        certificate = make_certificate(tmp_path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate.certificate, certificate.key)
        async with OddServer(answer(b"x")).running(context) as secure:
            told = await failure(source, secure.url(), to)
            assert secure.asked == []
        assert (told.reason, "certificate" in told.detail) == (R.INPUT_UNAVAILABLE, True)


class TestAddresses:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]"])
    async def test_no_connection_is_made_to_this_machine_by_whatever_name(
        self, server: OddServer, to: Path, host: str
    ) -> None:
        async with url_source(InputSettings()) as source:
            told = await failure(source, f"http://{host}:{server.port}/x?{KEY}", to)
        assert told.reason is R.INPUT_NOT_ALLOWED
        assert server.asked == []
        assert "127.0.0.1" not in told.detail or "127.0.0.1" in host, "a name's addresses are for nobody to learn"

    @pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f.0.0.1", "017700000001"])
    async def test_no_number_is_taken_for_an_address_that_is_not_written_as_one(
        self, server: OddServer, to: Path, host: str
    ) -> None:
        async with url_source(InputSettings()) as source:
            told = await failure(source, f"http://{host}:{server.port}/x", to)
        assert told.reason in {R.INPUT_NOT_ALLOWED, R.INPUT_NOT_FOUND}
        assert server.asked == []

    async def test_a_name_that_leads_elsewhere_at_the_second_look_gains_nothing(
        self, server: OddServer, to: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the resolver let through is judged again by the address that the socket is for."""
        monkeypatch.setattr("shared.web.guarded_http._GuardedResolver.resolve", aiohttp.ThreadedResolver().resolve)
        async with url_source(InputSettings()) as source:
            told = await failure(source, f"http://localhost:{server.port}/x", to)
        assert told.reason is R.INPUT_NOT_ALLOWED
        assert server.asked == []

    def test_an_address_of_this_machine_is_known_without_a_list(self) -> None:
        assert is_own(socket.AF_INET, ("127.0.0.1", 80))
        assert is_own(socket.AF_INET, ("127.9.9.9", 80)) is False
        assert not is_own(socket.AF_INET, ("192.0.2.1", 80))

    async def test_a_proxy_is_used_where_a_setting_says_so_and_for_no_refused_address(
        self, server: OddServer, to: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("http_proxy", server.url(""))
        monkeypatch.delenv("no_proxy", raising=False)
        server.answer(answer(b"by proxy"))
        settings = InputSettings(url_download=UrlDownloadSettings(use_proxy=True))
        async with url_source(settings) as source:
            await source.fetch("http://data.invalid/x", to)
            told = await failure(source, f"http://169.254.169.254/x?{KEY}", to)
        assert [each.target for each in server.asked] == ["http://data.invalid/x"]
        assert (told.reason, "metadata" in told.detail) == (R.INPUT_NOT_ALLOWED, True)


class TestBounds:
    @pytest.mark.parametrize("task_bytes", [0, 1 << 20])
    async def test_what_says_to_be_too_large_is_not_begun(
        self, server: OddServer, source: UrlSource, to: Path, task_bytes: int
    ) -> None:
        server.answer(answer(b"x", length=20 << 30))
        told = await failure(source, server.url(f"/big?{KEY}"), to, task_bytes=task_bytes)
        assert told.reason is R.INPUT_TOO_LARGE
        assert ("Resources.Disk" in told.detail) == bool(task_bytes)
        assert ("SizeLimit" in told.detail) == (not task_bytes)
        assert not to.exists()
        assert len(server.asked) == 1

    async def test_what_does_not_fit_on_the_disk_is_not_begun(self, server: OddServer, to: Path) -> None:
        server.answer(answer(b"x", length=1 << 60))
        async with url_source(
            InputSettings(allowed_addresses=LOOPBACK, url_download=UrlDownloadSettings(size_limit="4000PB"))
        ) as source:
            told = await failure(source, server.url(f"/big?{KEY}"), to)
        assert (told.reason, told.reason.retryable) == (R.DISK_FULL, True)
        assert "left on the disk of this node" in told.detail
        assert not to.exists()

    async def test_what_never_ends_is_ended(self, server: OddServer, source: UrlSource, to: Path) -> None:
        async def endless(_: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(answer(length=-1))
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()

        server.answer(endless)
        told = await failure(source, server.url(), to, task_bytes=2 << 20)
        assert told.reason is R.INPUT_TOO_LARGE
        assert to.stat().st_size <= 3 << 20
        assert len(server.asked) == 1

    async def test_what_never_goes_on_is_asked_again_and_then_told(
        self, server: OddServer, source: UrlSource, to: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def slow(_: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(answer(length=1000))
            await writer.drain()
            await asyncio.sleep(3600)

        server.answer(slow)
        monkeypatch.setattr("shared.web.guarded_http.IDLE_SECONDS", 0.1)
        allowed = AllowedAddresses(allowed_networks(LOOPBACK))
        async with guarded_session(allowed) as http:
            quick = UrlSource(http, allowed, DownloadBounds(size_bytes=0, first_pause_seconds=0.001))
            told = await failure(quick, server.url(), to)
        assert (told.reason, len(server.asked)) == (R.INPUT_UNAVAILABLE, 6)
        assert "sends nothing" in told.detail

    async def test_headers_without_end_are_no_file(self, server: OddServer, source: UrlSource, to: Path) -> None:
        server.answer(answer(b"x", "X-Long: " + "a" * 100_000))
        assert (await failure(source, server.url(), to)).reason is R.INPUT_DAMAGED

    async def test_what_sends_more_than_it_said_is_no_file(
        self, server: OddServer, source: UrlSource, to: Path
    ) -> None:
        async def more(_: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(answer(b"head", length=10))
            await writer.drain()
            writer.write(b"123456" + b"and more" * 1000)

        for script in (more, answer(b"head and more" * 100, length=4)):
            server.answer(script)
            told = await failure(source, server.url(), to)
            assert told.reason is R.INPUT_DAMAGED
            assert "sends more than it says" in told.detail
            assert "and more" not in told.detail.replace("sends more", "")

    async def test_what_sends_less_than_it_said_is_asked_again_and_then_told(
        self, server: OddServer, source: UrlSource, to: Path
    ) -> None:
        server.answer(answer(b"short", length=10))
        told = await failure(source, server.url(), to)
        assert (told.reason, told.reason.retryable) == (R.INPUT_UNAVAILABLE, True)
        assert "sends less than it says" in told.detail
        assert len(server.asked) == 6

    async def test_what_is_not_http_is_told_without_a_word_of_it(
        self, server: OddServer, source: UrlSource, to: Path
    ) -> None:
        server.answer(b"SSH-2.0-s3cret\r\n\r\n")
        assert (await failure(source, server.url(), to)).reason is R.INPUT_DAMAGED


class TestAgain:
    async def test_it_goes_on_where_it_broke_off_if_the_server_can_prove_that_it_is_the_same(
        self, server: OddServer, source: UrlSource, to: Path
    ) -> None:
        broken = Broken(*STRONG)
        server.answer(broken.begin, rest(*STRONG))
        found = await source.fetch(server.url(), to, on_bytes=broken.on_bytes)
        assert to.read_bytes() == CONTENT
        assert found.sha256 == sha256(CONTENT)
        first, second = server.asked
        assert (first.headers.get("range"), second.headers["if-range"]) == (None, '"v1"')
        assert MIB <= int(second.headers["range"].removeprefix("bytes=").removesuffix("-")) <= 2 * MIB

    async def test_it_begins_anew_where_the_file_has_changed(
        self, server: OddServer, source: UrlSource, to: Path
    ) -> None:
        broken = Broken(*STRONG)
        server.answer(broken.begin, answer(b"new", 'ETag: "v2"', "Accept-Ranges: bytes"))
        assert (await source.fetch(server.url(), to, on_bytes=broken.on_bytes)).size_bytes == 3
        assert to.read_bytes() == b"new"

    @pytest.mark.parametrize(
        "other",
        [
            rest('ETag: "v2"'),
            rest(*STRONG, shift=-1),
            rest(*STRONG, total=4 * MIB),
            rest(*STRONG, total=None),
            answer(status=416),
        ],
        ids=["another version", "another place", "another size", "no place", "no rest"],
    )
    async def test_a_rest_that_is_of_something_else_is_not_joined_to_what_is_here(
        self, server: OddServer, source: UrlSource, to: Path, other: bytes | Script
    ) -> None:
        broken = Broken(*STRONG)
        server.answer(broken.begin, other, answer(b"abc", *STRONG))
        assert (await source.fetch(server.url(), to, on_bytes=broken.on_bytes)).sha256 == sha256(b"abc")
        assert to.read_bytes() == b"abc"
        assert "range" not in server.asked[2].headers

    async def test_without_a_proof_it_begins_anew(self, server: OddServer, source: UrlSource, to: Path) -> None:
        broken = Broken("Accept-Ranges: bytes")
        server.answer(broken.begin, answer(CONTENT))
        await source.fetch(server.url(), to, on_bytes=broken.on_bytes)
        assert to.read_bytes() == CONTENT
        assert "range" not in server.asked[1].headers

    async def test_a_busy_server_is_asked_again_when_it_says(
        self, server: OddServer, source: UrlSource, to: Path
    ) -> None:
        server.answer(answer(status=503), answer(b"", "Retry-After: 0", status=429), answer(b"here"))
        await source.fetch(server.url(), to)
        assert to.read_bytes() == b"here"

    async def test_one_that_stays_busy_is_given_up(self, server: OddServer, source: UrlSource, to: Path) -> None:
        server.answer(answer(status=503))
        told = await failure(source, server.url(f"/x?{KEY}"), to)
        assert (told.reason, len(server.asked)) == (R.INPUT_UNAVAILABLE, 6)
        assert "status 503" in told.detail

    @pytest.mark.parametrize(("status", "reason"), [(404, R.INPUT_NOT_FOUND), (403, R.INPUT_ACCESS_DENIED)])
    async def test_what_is_not_there_or_for_others_is_not_asked_for_again(
        self, server: OddServer, source: UrlSource, to: Path, status: int, reason: R
    ) -> None:
        server.answer(answer(b"<h1>s3cret</h1>", status=status))
        told = await failure(source, server.url(f"/x.csv?{KEY}"), to)
        assert (told.reason, len(server.asked)) == (reason, 1)
        assert told.detail.startswith(f"http://127.0.0.1:{server.port}/x.csv cannot be fetched: its server ")

    async def test_nobody_there_is_told_so(self, source: UrlSource, to: Path, unused_tcp_port: int) -> None:
        told = await failure(source, f"http://127.0.0.1:{unused_tcp_port}/x?{KEY}", to)
        assert told.reason is R.INPUT_UNAVAILABLE
        assert "refused" in told.detail


async def test_a_download_that_is_cancelled_leaves_nothing_open(server: OddServer, source: UrlSource, to: Path) -> None:
    begun = asyncio.Event()

    async def hang(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"x" * (2 << 20), length=5 << 20))
        await writer.drain()
        await asyncio.sleep(3600)

    server.answer(hang)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(source.fetch(server.url(), to, on_bytes=lambda *_: begun.set()))
        await begun.wait()
        task.cancel()
    assert task.cancelled()
    assert to not in [each.resolve() for each in Path("/proc/self/fd").iterdir() if each.exists()]


async def test_what_a_task_reads_is_known_without_anything_secret_of_its_url(server: OddServer, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    server.answer(redirect(f"/led.csv?{KEY}"), answer(b"content"))
    sources = (
        SpecConfig(type="urlDownload", params={"URL": server.url(f"/one?{KEY}")}),
        SpecConfig(type="localDirectory", params={"SourcePath": str(tmp_path / "data")}),
    )
    usage, workspace = TaskUsage(), Workspace(tmp_path / "execution")
    workspace.create(())
    order = InputOrder(
        execution_id=ExecutionId("e-1"),
        task=new_task(input_sources=tuple(InputSource(source=each, target=f"/in/{each.type}") for each in sources)),
        workspace=workspace,
        on_known=usage.reads,
    )
    of_s3 = Resource(name="inputs/2")
    usage.reads((of_s3,))
    allowed = AllowedPaths([f"{tmp_path}/data:ro"])
    urls = UrlInputs(InputSettings(allowed_addresses=LOOPBACK))
    await Inputs({"urldownload": urls, "localdirectory": LocalInputs(allowed)}).fetch(order)
    assert usage.inputs == (
        of_s3,
        Resource(
            name="inputs/0/led.csv",
            uri=server.url("/one"),
            digest={"sha256": sha256(b"content")},
            annotations={"bytes": "7"},
        ),
        Resource(name="inputs/1", uri=f"file://{tmp_path}/data"),
    )


async def test_no_log_line_has_a_url(
    server: OddServer, source: UrlSource, to: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answer(redirect(f"/two?{KEY}"), answer(status=500), redirect(f"/two?{KEY}"), answer(b"x"))
    await source.fetch(server.url(f"/one?{KEY}"), to)
    assert "s3cret" not in caplog.text


def test_a_refusal_names_the_setting() -> None:
    assert "Compute.Inputs.AllowedAddresses" in address_refused("a private address").why
