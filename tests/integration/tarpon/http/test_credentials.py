"""How the user's side shows its key: never to a stranger, and never in the clear."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web

import tarpon
from shared.errors import MessagingUnavailable, RemoteError
from shared.protocol.pasted import PastedTextInvalid, PastedTextMistyped, PastedTextOfOtherKind, PastedTextTruncated
from shared.protocol.request_signature import PROOF
from shared.settings.api_users import ApiUsers
from shared.settings.config import ApiAuth, ApiSettings, Config
from tarpon.errors import KeyNotKnownThere, KeyNotSent, NotAnOrchestrator, OrchestratorUnreachable
from tarpon.http import credentials
from tarpon.http.calls import Calls
from tarpon.http.credentials import credentials_from
from tarpon.http.live_logs import LiveLogs
from tarpon.http.quick_calls import QuickCalls
from tarpon.http.trust import ClientTrust
from tests.api_keys import Keyed, keyed
from tests.integration.fed_api import FedApi
from tests.servers import HOST, free_ports

PEOPLE = [
    {"APIKey": "0123456789abcdefghij", "Capabilities": [{"Actions": ["*"]}]},
    {"Username": "snoopy", "Password": "doghouse-1950", "Capabilities": [{"Actions": ["*"]}]},
]
ASKS = Config(api=ApiSettings(auth=ApiAuth(anonymous=False, users=ApiUsers.read("API.Auth.Users", PEOPLE))))


@pytest.fixture
async def api() -> AsyncIterator[FedApi]:
    async with FedApi(ASKS).serving() as fed:
        fed.job(1)
        yield fed


def known(api: FedApi, *capabilities: str, revoked: int = 0) -> Keyed:
    user = keyed("maria", *capabilities, revoked=revoked)
    api.feed(user.record.key, user.record)
    return user


@asynccontextmanager
async def stranger(answer: Callable[[web.Request], web.StreamResponse]) -> AsyncIterator[tuple[int, list[str]]]:
    """Something else that listens on a port, and all that it was told."""
    told: list[str] = []

    async def take(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        told.append(f"{request.method} {request.raw_path} {dict(request.headers)} {body!r}")
        return answer(request)

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", take)
    async with serving(application) as port:
        yield port, told


@asynccontextmanager
async def serving(application: web.Application) -> AsyncIterator[int]:
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    (port,) = free_ports(1)
    try:
        await web.TCPSite(runner, HOST, port).start()
        yield port
    finally:
        await runner.cleanup()


async def test_a_key_is_shown_by_every_call_and_the_answers_are_proven(api: FedApi) -> None:
    user = known(api, "read:*", "write:job")
    async with tarpon.Client(HOST, api.port, api_key=user.key.text()) as client:
        assert [job.id for job in (await client.list(labels="")).items] == ["j-0001"]
        assert (await client.get("job-1")).id == "j-0001"
        assert (await client.waits("j-0001")).job_id == "j-0001"
        async with aclosing(client.watch("j-0001")) as events:
            assert await anext(events) is not None


@pytest.mark.parametrize("query", [{}, {"limit": "1"}], ids=["without a query", "with one"])
async def test_quick_calls_show_a_key_too(api: FedApi, query: dict[str, str]) -> None:
    shown = credentials_from(known(api, "read:*").key.text(), {})
    calls = QuickCalls([f"http://{HOST}:{api.port}"], ClientTrust(), shown)
    found = await asyncio.to_thread(calls.get, "/orchestrator/jobs", **query)
    assert [each["ID"] for each in found["Items"]] == ["j-0001"]


async def test_what_needs_no_key_is_told_to_who_has_one(api: FedApi) -> None:
    async with tarpon.Client(HOST, api.port, api_key=known(api, "read:job").key.text()) as client:
        assert (await client.alive()).status == "OK"
        assert (await client.version()).git_version.startswith("v")


async def test_whose_clock_is_wrong_is_told(api: FedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    user, now = known(api, "read:job"), time.time
    monkeypatch.setattr(credentials, "time", SimpleNamespace(time=lambda: now() - 3600))
    async with tarpon.Client(HOST, api.port, api_key=user.key.text()) as client:
        with pytest.raises(RemoteError, match="compare the clocks of both machines"):
            await client.get("j-0001")


@pytest.mark.parametrize(
    "env",
    [
        {"TARPON_API_KEY": "0123456789abcdefghij"},
        {"BACALHAU_API_KEY": "0123456789abcdefghij"},
        {"TARPON_API_USERNAME": "Snoopy", "TARPON_API_PASSWORD": "doghouse-1950"},
        {"BACALHAU_API_USERNAME": "snoopy", "BACALHAU_API_PASSWORD": "doghouse-1950"},
    ],
    ids=" ".join,
)
async def test_the_environment_may_have_the_key(
    api: FedApi, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    async with tarpon.Client(HOST, api.port) as client:
        assert (await client.get("j-0001")).id == "j-0001"


async def test_a_key_that_is_not_right_is_not_shown_again_and_again(api: FedApi) -> None:
    async with tarpon.Client(HOST, api.port, api_key=keyed("maria", "*").key.text()) as client:
        with pytest.raises(KeyNotKnownThere, match="does not know the key"):
            await client.get("j-0001")


async def test_that_a_key_was_revoked_is_told_by_who_knows_it(api: FedApi) -> None:
    user = known(api, "*", revoked=1)
    async with tarpon.Client(HOST, api.port, api_key=user.key.text()) as client:
        with pytest.raises(RemoteError, match="was revoked") as refused:
            await client.get("j-0001")
        with pytest.raises(RemoteError, match="was revoked"):
            async for _ in client.watch("j-0001"):
                pass
    assert (refused.value.status, refused.value.remote_code) == (401, "KeyRevoked")


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: web.json_response({"Job": {"ID": "j-1"}}),
        lambda _: web.json_response({}, status=401),
        lambda request: web.json_response({}, headers={PROOF: request.headers["Authorization"][-64:]}),
        lambda _: web.Response(status=403),
    ],
    ids=["an answer", "a 401", "a made up proof", "a 403"],
)
async def test_a_stranger_on_the_port_gets_no_key_and_is_not_believed(
    answer: Callable[[web.Request], web.StreamResponse],
) -> None:
    user = keyed("maria", "*")
    async with stranger(answer) as (port, told), tarpon.Client(HOST, port, api_key=user.key.text()) as client:
        with pytest.raises(KeyNotKnownThere):
            await client.get("j-0001")
        with pytest.raises(KeyNotKnownThere):
            async for _ in client.watch("j-0001"):
                pass
    assert told
    secrets = (user.key.text(), user.key.credential, user.key.credential.partition(".")[2], user.key.digest)
    assert not [secret for secret in secrets for each in told if secret in each]


async def test_no_log_is_believed_of_a_stranger_on_the_port() -> None:
    async def tell(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str('{"value": {"Type": 1, "Line": "made up"}}')
        await socket.close()
        return socket

    application, key = web.Application(), credentials_from(keyed("maria", "*").key.text(), {})
    application.router.add_get("/{rest:.*}", tell)
    async with serving(application) as port, Calls([f"http://{HOST}:{port}"], timeout=10, credentials=key) as calls:
        with pytest.raises(KeyNotKnownThere):
            await anext(LiveLogs(calls, "/orchestrator/jobs/j-1/logs", {}, patience=0).lines())


async def test_logs_are_believed_of_who_knows_the_key(api: FedApi) -> None:
    key = credentials_from(known(api, "*").key.text(), {})
    async with Calls([f"http://{HOST}:{api.port}"], timeout=10, credentials=key) as calls:
        with pytest.raises(MessagingUnavailable, match="has no execution"):  # as its answer says, which is believed
            await anext(LiveLogs(calls, "/orchestrator/jobs/j-0001/logs", {}, patience=0).lines())


async def test_a_stranger_on_the_port_is_told_no_secret_and_no_job() -> None:
    key = keyed("maria", "*").key.text()
    async with (
        stranger(lambda _: web.json_response({"Status": "OK"})) as (port, told),
        tarpon.Client(HOST, port, api_key=key) as client,
    ):
        with pytest.raises(KeyNotKnownThere):
            await client.put_secret("db", "hunter2")
        with pytest.raises(KeyNotKnownThere):
            await client.submit({"Type": "batch", "Name": "hunter2", "Tasks": []})
    assert [each for each in told if each.endswith(" b''")] == told != []
    assert "hunter2" not in str(told)


async def test_what_has_a_body_is_sent_once_what_listens_has_proven_itself(api: FedApi) -> None:
    user = known(api, "*")
    async with tarpon.Client(HOST, api.port, api_key=user.key.text()) as client:
        for _ in range(2):
            with pytest.raises(RemoteError) as refused:
                await client.put_secret("no.name", "hunter2")
            assert refused.value.remote_code == "InvalidId"


async def test_what_a_stranger_was_told_opens_nothing_else(api: FedApi) -> None:
    """It hands on what it got, for another path: the orchestrator does not take it."""
    user = known(api, "*")
    shown: list[str] = []

    def keep(request: web.Request) -> web.StreamResponse:
        shown.append(request.headers["Authorization"])
        return web.json_response({})

    async with stranger(keep) as (port, _), tarpon.Client(HOST, port, api_key=user.key.text()) as client:
        with pytest.raises(KeyNotKnownThere):
            await client.get("j-0001")
    for path, method in (("/api/v1/orchestrator/users", "GET"), ("/api/v1/orchestrator/jobs/j-0001", "DELETE")):
        assert (await api.ask(path, method, headers={"Authorization": shown[0]})).status == 401


@pytest.mark.parametrize("host", ["http://192.0.2.1", "example.com", "10.0.0.7:1234", "http://[2001:db8::1]:1234"])
async def test_a_key_does_not_leave_the_machine_in_the_clear(host: str) -> None:
    async with tarpon.Client(host, 1234, api_key=keyed("maria", "*").key.text(), timeout=5) as client:
        with pytest.raises(KeyNotSent, match="Nothing was sent"):
            await client.alive()


async def test_plain_text_elsewhere_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARPON_API_TLS_PLAINTEXT", "true")
    credentials = credentials_from(keyed("maria", "*").key.text(), os.environ)
    assert credentials is not None
    headers, signed = credentials.shown("http://192.0.2.1", method="GET", target="/")
    assert headers["Authorization"].startswith("Tarpon ")
    assert signed is not None


def test_over_tls_what_is_sent_is_the_key_without_addresses_and_authority() -> None:
    user = keyed("maria", "*", addresses=("https://example.com:1234",))
    credentials = credentials_from(user.key.text(), {})
    assert credentials is not None
    headers, signed = credentials.shown("https://example.com:1234", method="GET", target="/")
    assert headers == {"Authorization": f"Bearer {user.key.credential}"}
    assert signed is None
    assert user.key.credential not in repr(credentials)


async def test_a_key_may_hold_the_address(api: FedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TARPON_API_HOST", "TARPON_API_PORT", "BACALHAU_API_HOST", "BACALHAU_API_PORT"):
        monkeypatch.delenv(name, raising=False)
    user = keyed("maria", "*", addresses=(api.url(""),))
    api.feed(user.record.key, user.record)
    async with tarpon.Client(api_key=user.key.text()) as client:
        assert client.url == api.url("")
        assert (await client.get("j-0001")).id == "j-0001"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda text: text[:-8], PastedTextTruncated),
        (lambda text: text[:30] + ("A" if text[30] != "A" else "B") + text[31:], PastedTextMistyped),
        (lambda text: f"tj1_{text[4:]}", PastedTextOfOtherKind),
    ],
    ids=["cut off", "mistyped", "a join token"],
)
def test_a_key_that_is_no_whole_one_is_told_before_anything_is_asked(
    change: Callable[[str], str], error: type[PastedTextInvalid]
) -> None:
    text = change(keyed("maria", "*").key.text())
    with pytest.raises(error) as told:
        tarpon.Client(HOST, 1, api_key=text)
    assert text not in f"{told.value} {told.value.hint}"


async def test_a_proxy_whose_orchestrator_is_away_is_tried_again() -> None:
    key = keyed("maria", "*").key.text()
    async with (
        stranger(lambda _: web.Response(status=503)) as (port, told),
        tarpon.Client(HOST, port, api_key=key) as client,
    ):
        with pytest.raises(NotAnOrchestrator):
            await client.alive()
    assert len(told) > 1


async def test_the_logs_of_who_may_not_read_them_are_refused(api: FedApi) -> None:
    user = known(api, "write:job")
    async with tarpon.Client(HOST, api.port, api_key=user.key.text()) as client:
        with pytest.raises(RemoteError, match="'read:job'"):
            async for _ in client.logs("j-0001"):
                pass


async def test_no_orchestrator_at_a_local_socket_is_told(tmp_path: Path) -> None:
    async with asyncio.timeout(20):
        for folder in (tmp_path, tmp_path / ("x" * 120)):
            with pytest.raises(OrchestratorUnreachable):
                async with tarpon.Client(f"unix://{folder}/api.sock") as client:
                    await client.alive()


def test_the_clock_of_a_signature_is_this_machines() -> None:
    credentials = credentials_from(keyed("maria", "*").key.text(), {})
    assert credentials is not None
    _, signed = credentials.shown("http://127.0.0.1:1", method="GET", target="/")
    assert signed is not None
    assert abs(signed.at - time.time()) < 60
