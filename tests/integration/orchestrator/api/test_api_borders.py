"""What the HTTP API refuses and how, what it tells of itself, and how it stands clients that misbehave."""

import asyncio
import gzip
import io
import itertools
import json
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from orchestrator.api import app, bodies
from orchestrator.api import errors as api_errors
from orchestrator.api.routes import Handler
from shared.errors import RemoteError
from shared.jobs.states import ExecutionState
from shared.protocol.rest import BASE_PATH
from shared.settings.config import ApiAuth, ApiSettings, Auth, Config, Nats, Orchestrator
from shared.settings.secret import Secret
from tarpon.client import Client
from tests.integration.fed_api import JOBS, NODES, FedApi
from tests.servers import HOST
from tests.waiting import eventually

CODES: list[tuple[str, str, Any, tuple[int, str]]] = [
    ("GET", f"{JOBS}/j-none", None, (404, "NotFound")),
    ("GET", f"{JOBS}/j-0001?include=colours", None, (400, "InvalidInput")),
    ("GET", f"{JOBS}/j-0001?job_version=2", None, (404, "NotFound")),
    ("GET", f"{JOBS}/j-0001?job_version=first", None, (400, "InvalidDocument")),
    ("GET", f"{JOBS}/j-0001/history?event_type=loud", None, (400, "InvalidDocument")),
    ("GET", f"{JOBS}/j-0001/history?next_token=x", None, (400, "InvalidInput")),
    ("GET", f"{JOBS}/j-0001/executions?partitions=1-x", None, (400, "InvalidInput")),
    ("GET", f"{JOBS}/j-0001/executions?partitions={'1,' * 1001}", None, (400, "InvalidInput")),
    ("GET", f"{JOBS}/j-0001/logs?stdout_from=-1", None, (400, "InvalidDocument")),
    ("GET", f"{JOBS}/j-0001/logs?stderr_from={2**64 - 1}", None, (400, "InvalidDocument")),
    ("GET", f"{NODES}/n-none", None, (404, "NotFound")),
    ("GET", f"{BASE_PATH}/nothing", None, (404, "NotFound")),
    ("GET", "/nothing", None, (404, "NotFound")),
    ("PATCH", JOBS, None, (405, "MethodNotAllowed")),
    ("PUT", f"{JOBS}/j-0001", {}, (405, "MethodNotAllowed")),
    ("PUT", JOBS, {}, (400, "InvalidDocument")),
    ("PUT", JOBS, {"Job": None}, (400, "InvalidDocument")),
    ("PUT", JOBS, [], (400, "InvalidDocument")),
    ("PUT", JOBS, {"Job": {"Type": "batch"}}, (400, "InvalidJob")),
    ("PUT", JOBS, {"Job": {"Type": "batch", "Tasks": "none"}}, (400, "InvalidDocument")),
    ("PUT", JOBS, {"Job": {"Name": "a", "name": "b"}}, (400, "InvalidDocument")),
    ("PUT", JOBS, {"Job": {"Type": "batch", "Tasks": [{"Name": "x" * 300_000}]}}, (413, "PayloadTooLarge")),
    ("PUT", JOBS, {"Job": {f"x{number}": number for number in range(90_000)}}, (413, "PayloadTooLarge")),
    ("PUT", f"{JOBS}/diff", {"Job": {"Type": "service"}}, (400, "InvalidJob")),
    ("DELETE", f"{JOBS}/j-0001", {"Reason": "there is no NATS"}, (503, "MessagingUnavailable")),
]


@pytest.mark.parametrize(("method", "path", "body", "code"), CODES, ids=range(len(CODES)))
async def test_every_error_has_its_status_and_the_documented_body(
    fed: FedApi, method: str, path: str, body: Any, code: tuple[int, str]
) -> None:
    fed.job(1)
    answer = await fed.ask(path, method, data=None if body is None else io.BytesIO(json.dumps(body).encode()))
    assert (answer.status, answer.json["Code"]) == code
    assert answer.json["Status"] == answer.status
    assert answer.json["Message"]
    assert answer.json["Component"] in {"Orchestrator", "APIServer"}
    assert answer.json["RequestID"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("path", "own"),
    [
        (f"{JOBS}/j-none", "JobNotFound"),
        (f"{JOBS}/j-none/history", "JobNotFound"),
        (f"{JOBS}/j-none/executions", "JobNotFound"),
        (f"{JOBS}/j-none/versions", "JobNotFound"),
        (f"{JOBS}/j-none/results", "JobNotFound"),
        (f"{JOBS}/j-none/logs", "JobNotFound"),
        (f"{JOBS}/j-0001/executions?job_version=9", None),
        (f"{JOBS}/j-0001/results?execution_id=e-none", None),
        (f"{NODES}/n-none", "NodeNotFound"),
    ],
)
async def test_what_is_not_there_has_one_code_and_its_own_among_the_details(
    fed: FedApi, path: str, own: str | None
) -> None:
    fed.job(1)
    answer = await fed.ask(path)
    assert (answer.status, answer.json["Code"]) == (404, "NotFound")
    assert answer.json["Details"].get("TarponCode") == own


async def test_the_client_is_told_the_own_code_of_what_is_not_there(fed: FedApi) -> None:
    async with Client(HOST, fed.port) as client:
        for asking, own in ((client.get("j-none"), "JobNotFound"), (client.node("n-none"), "NodeNotFound")):
            with pytest.raises(RemoteError) as refused:
                await asking
            assert (refused.value.remote_code, refused.value.details) == (own, {})


async def test_a_failure_of_the_program_is_told_without_its_inside(fed: FedApi) -> None:
    job = fed.job(1)
    del fed.model.jobs[job].specs[1]
    answer = await fed.ask(f"{JOBS}/{job}")
    assert (answer.status, answer.json["Code"]) == (500, "InternalError")
    assert "KeyError" not in answer.body.decode()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"Job": NaN}', b"[" * 100_000, b'"text"'])
async def test_a_body_that_is_no_json_object_is_a_bad_request(fed: FedApi, body: bytes) -> None:
    answer = await fed.ask(JOBS, "PUT", data=body)
    assert (answer.status, answer.json["Code"]) == (400, "InvalidDocument")


async def test_a_callers_own_request_id_comes_back_unless_it_is_unsafe(fed: FedApi) -> None:
    for given, same in (("abc-123", True), ("two words", False), ("x" * 65, False)):
        answer = await fed.ask(f"{BASE_PATH}/agent/alive", headers={"X-Request-ID": given})
        assert (answer.headers["X-Request-ID"] == given) is same


async def test_nothing_but_life_is_told_until_the_state_is_read(fed: FedApi) -> None:
    fed.store.ready.clear()
    for path in ("/readyz", JOBS, NODES, f"{JOBS}/j-0001", f"{JOBS}/j-0001/history"):
        answer = await fed.ask(path)
        assert (answer.status, answer.json["Code"]) == (503, "NotReady")
    for path in ("/livez", f"{BASE_PATH}/livez", f"{BASE_PATH}/agent/alive"):
        assert (await fed.ask(path)).json == {"Status": "OK"}
    fed.store.ready.set()
    assert (await fed.ask("/readyz")).status == 200


async def test_a_page_of_another_site_is_refused_and_gets_no_permission(fed: FedApi) -> None:
    answer = await fed.ask(JOBS, headers={"Origin": "https://evil.example"})
    assert (answer.status, answer.json["Code"]) == (403, "Refused")
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    preflight = await fed.ask(JOBS, "OPTIONS", headers={"Origin": "https://evil.example"})
    assert preflight.status == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:1234", 200), ("127.0.0.1", 200), ("[::1]:1234", 200), ("evil.example:1234", 403), ("evil", 403)],
)
async def test_loopback_answers_to_no_name_that_others_can_make_lead_to_it(fed: FedApi, host: str, status: int) -> None:
    assert (await fed.ask(JOBS, headers={"Host": host})).status == status


async def test_an_old_address_leads_to_the_new_one(fed: FedApi) -> None:
    target = f"{BASE_PATH}/agent/version"
    answer = await fed.ask("/version")
    assert (answer.status, answer.headers["Location"]) == (302, target)
    assert (await fed.ask(target)).status == 200


async def test_a_head_request_has_the_headers_of_the_answer_alone(fed: FedApi) -> None:
    answer = await fed.ask(JOBS, "HEAD")
    assert (answer.status, answer.body) == (200, b"")


async def test_the_settings_are_shown_without_their_secrets() -> None:
    config = Config(
        data_dir=Path("/data"),
        api=ApiSettings(host="0.0.0.0", auth=ApiAuth(anonymous=True)),
        orchestrator=Orchestrator(
            auth=Auth(token=Secret("hush")), nats=Nats(servers=("nats://user:hush@n-1:4222", "nats://n-2:4222"))
        ),
    )
    async with FedApi(config).serving() as fed:
        answer = await fed.ask(f"{BASE_PATH}/agent/config")
    shown = answer.json["config"]
    assert shown["API"] == {"Host": "0.0.0.0", "Port": 1234} | shown["API"]
    assert shown["NameProvider"] == "host"
    assert shown["Orchestrator"]["Auth"]["Token"] == "********"
    assert shown["Orchestrator"]["NATS"]["Servers"] == ["nats://********@n-1:4222", "nats://n-2:4222"]
    assert b"hush" not in answer.body


async def test_no_identity_provider_is_told_of(fed: FedApi) -> None:
    answer = await fed.ask(f"{BASE_PATH}/agent/authconfig")
    assert (answer.status, answer.json["Version"]) == (200, "1.0.0")
    assert answer.json["Config"]["ProviderID"] == ""
    assert not any(answer.json["Config"].values())


async def test_what_there_is_to_do_is_told_in_numbers(fed: FedApi) -> None:
    assert (await fed.ask(f"{BASE_PATH}/agent/debug")).json == {"Jobs": {}, "Executions": {}, "Nodes": {}}
    job = fed.job(1, count=2)
    fed.execution(job, 0, ExecutionState.COMPLETED)
    fed.execution(job, 1, ExecutionState.RUNNING)
    fed.job(2)
    fed.job(3)
    fed.node("n-1")
    assert (await fed.ask(f"{BASE_PATH}/agent/debug")).json == {
        "Jobs": {"Running": 1, "Pending": 2},
        "Executions": {"Running": 1},
        "Nodes": {"DISCONNECTED": 1},
    }


# ---- clients that misbehave -------------------------------------------------------------------------------------


async def slices(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65536):
        yield b" " * 65536
    yield b" " * (size % 65536)


async def test_a_body_beyond_the_limit_is_refused_whether_its_length_is_told_or_not(fed: FedApi) -> None:
    size = bodies.MAX_BODY_BYTES + 1
    for headers in ({"Content-Length": str(size)}, {}):
        answer = await fed.ask(JOBS, "PUT", data=slices(size), headers=headers)
        assert (answer.status, answer.json["Code"]) == (413, "PayloadTooLarge")


async def test_a_small_body_that_unpacks_beyond_the_limit_is_refused(fed: FedApi) -> None:
    packed = gzip.compress(b" " * (bodies.MAX_BODY_BYTES + 1))
    answer = await fed.ask(JOBS, "PUT", data=packed, headers={"Content-Encoding": "gzip"})
    assert answer.status == 413


async def test_a_body_that_comes_too_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "READ_SECONDS", 0.05)
    monkeypatch.setattr(app, "LINGER_SECONDS", 0.05)
    head = f"PUT {JOBS} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100\r\n\r\n".encode()
    async with FedApi().serving() as fed:
        answer = await spoken(fed, head + b'{"Job"')
    assert answer.startswith(b"HTTP/1.1 408")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["Code"] == "RequestTimeout"


async def test_a_connection_without_a_whole_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "IDLE_SECONDS", 0.05)
    async with FedApi().serving() as fed:
        assert await spoken(fed, b"") == b""
        assert await spoken(fed, f"GET {JOBS} HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: ".encode()) == b""


async def test_a_reader_that_does_not_read_its_answer_is_given_up(fed: FedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_errors, "WRITE_SECONDS", 0.05)
    monkeypatch.setattr("orchestrator.api.jobs.MAX_LIST_BYTES", 1 << 30)  # more than sockets take in
    for number in range(500):
        fed.job(number, text="a" * 40_000)
    _, writer = await asyncio.open_connection(HOST, fed.port, limit=1024)
    writer.write(f"GET {JOBS}?limit=500 HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    await eventually(lambda: fed.connections() == 1)
    await eventually(lambda: fed.connections() == 0)
    writer.transport.abort()
    assert (await fed.ask(f"{JOBS}?limit=1")).status == 200


async def test_a_reader_that_goes_before_its_answer_is_no_error(
    fed: FedApi, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[web.Request] = []
    gone, real = asyncio.Event(), api_errors._answered

    async def answered_late(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked.append(request)
        await gone.wait()
        return await real(request, handler)

    monkeypatch.setattr(api_errors, "_answered", answered_late)
    _, writer = await asyncio.open_connection(HOST, fed.port)
    writer.write(f"GET {JOBS} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    await eventually(lambda: asked)
    writer.transport.abort()
    await eventually(lambda: asked[0].transport is None)
    gone.set()
    assert (await fed.ask(f"{JOBS}?limit=1")).status == 200
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []


async def gone(fed: FedApi, request: str) -> None:
    """Send this, and leave when it has been begun with."""
    reader, writer = await asyncio.open_connection(HOST, fed.port)
    writer.write(request.replace("\n", "\r\n").encode())
    if "Content-Length" not in request and "chunked" not in request:
        await reader.readline()
    await eventually(lambda: fed.connections() == 1)
    writer.transport.abort()


HEAD = f"HTTP/1.1\nHost: {HOST}\n"
UPGRADE = (
    "Upgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n"
)


@pytest.mark.parametrize(
    "request_text",
    [
        f"GET {JOBS}/j-0001/events {HEAD}\n",
        f"GET {JOBS}/j-0001/logs?follow=true {HEAD}{UPGRADE}\n",
        f"GET {JOBS}?limit=500 {HEAD}\n",
        f"PUT {JOBS} {HEAD}Content-Length: 1000\n\n{{",
        f"PUT {JOBS} {HEAD}Transfer-Encoding: chunked\n\n5\nab",
    ],
    ids=["events", "logs", "a large answer", "a body", "a body in chunks"],
)
async def test_a_reader_that_goes_away_is_a_line_for_who_debugs_and_no_more(
    fed: FedApi, caplog: pytest.LogCaptureFixture, request_text: str
) -> None:
    caplog.set_level(logging.DEBUG)
    job = fed.job(1)
    for number in range(2, 400):
        fed.job(number, text="a" * 20_000)
    await gone(fed, request_text)
    states = itertools.cycle([ExecutionState.NEW, ExecutionState.RUNNING])

    def is_noticed() -> bool:
        fed.execution(job, 0, next(states))
        return fed.connections() == 0

    await eventually(is_noticed)
    assert (await fed.ask(f"{JOBS}/{job}")).status == 200
    told = [each for each in caplog.records if each.name.startswith(("orchestrator", "aiohttp"))]
    assert [each.getMessage() for each in told if each.levelno > logging.DEBUG or each.exc_info] == []
    assert len([each for each in told if each.name.startswith("orchestrator")]) <= 1


async def test_logs_without_a_websocket_are_refused_in_words(fed: FedApi) -> None:
    answer = await fed.ask(f"{JOBS}/{fed.job(1)}/logs")
    assert (answer.status, answer.json["Code"]) == (400, "InvalidInput")
    assert answer.json["Message"] == "Logs are told over a websocket, and this request does not ask for one."


def put(headers: str, body: bytes) -> bytes:
    return f"PUT {JOBS} HTTP/1.1\r\nHost: {HOST}\r\n{headers}\r\n\r\n".encode() + body


NO_REQUESTS = {
    "a header with an escape": put("traceparent: x\x1b[31m\r\nContent-Length: 2", b"{}"),
    "chunks without a size": put("Transfer-Encoding: chunked", b"ZZZ\r\n{}\r\n0\r\n\r\n"),
    "a chunk without an end": put("Transfer-Encoding: chunked", b"2\r\n{}ZZZ\r\n"),
    "a length below zero": put("Content-Length: -5", b"{}"),
    "no gzip": put("Content-Encoding: gzip\r\nContent-Length: 5", b"abcde"),
    "no deflate": put("Content-Encoding: deflate\r\nContent-Length: 5", b"abcde"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a version that does not exist": f"GET {JOBS} HTTP/9.9\r\nHost: {HOST}\r\n\r\n".encode(),
}


@pytest.mark.parametrize("data", NO_REQUESTS.values(), ids=NO_REQUESTS)
async def test_what_is_no_http_request_is_told_to_its_sender_alone(
    fed: FedApi, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    assert (await spoken(fed, data))[9:12] == b"400"
    assert (await fed.ask(f"{JOBS}?limit=1")).status == 200
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []


@pytest.mark.parametrize("host", ["[::zz]", "[::1", "a b", "[127.0.0.1]:x"])
async def test_a_host_that_is_none_is_refused(fed: FedApi, host: str) -> None:
    request = f"GET {JOBS} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    assert (await spoken(fed, request.encode()))[9:12] in {b"400", b"403"}


async def test_headers_beyond_any_reason_are_refused(fed: FedApi) -> None:
    many = "".join(f"X-{number}: a\r\n" for number in range(1000))
    for headers in (f"X-Long: {'a' * 100_000}\r\n", many):
        request = f"GET {JOBS} HTTP/1.1\r\nHost: {HOST}\r\n{headers}\r\n"
        assert (await spoken(fed, request.encode()))[9:12] == b"400"
    request = f"GET {JOBS}?labels={'a' * 100_000} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    assert (await spoken(fed, request.encode()))[9:12] == b"400"


async def spoken(fed: FedApi, data: bytes) -> bytes:
    """Send this and no more; give what comes back until the server closes the connection."""
    reader, writer = await asyncio.open_connection(HOST, fed.port)
    try:
        async with asyncio.timeout(10):
            writer.write(data)
            await writer.drain()
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_the_api_goes_on_while_a_large_body_is_read(fed: FedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_go_on, decode = threading.Event(), threading.Event(), bodies._decoded

    def decoded(*given: Any) -> Any:
        begun.set()
        assert may_go_on.wait(20), "the API does not go on"
        return decode(*given)

    monkeypatch.setattr(bodies, "_decoded", decoded)
    unknown = {f"name{number}": 1 for number in range(40_000)}
    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
        url = f"http://{HOST}:{fed.port}"
        body = {"Job": {"Type": "batch", **unknown}}
        large = group.create_task(_status(http, f"{url}{JOBS}/diff", body), name="large")
        await eventually(begun.is_set, within=20)
        assert await _status(http, f"{url}/livez") == 200
        may_go_on.set()
    assert large.result() == 400


async def _status(http: aiohttp.ClientSession, url: str, body: Any = None) -> int:
    async with http.request("PUT" if body else "GET", url, json=body) as answer:
        return answer.status
