"""Users over a whole orchestrator: made over the local socket, known and revoked on every orchestrator."""

import asyncio
import json
import logging
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import tarpon
from orchestrator.api.access.local_listener import local_listener
from shared.errors import ConfigurationInvalid, RemoteError
from shared.protocol.messages import ExecutionStarted
from shared.protocol.pasted import ApiKey, read
from shared.runtime.local_socket import local_url, socket_path
from tarpon.errors import OrchestratorUnreachable
from tests.integration.fed_api import JOBS
from tests.integration.running import Running, running_orchestrator
from tests.servers import HOST, S3Server
from tests.waiting import answered

ASKS = ("API.Auth.Anonymous=false",)
NOBODY = 65534
SESSION = "/api/v1/auth/session"
NOOP = {"Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "noop"}}]}


@pytest.fixture
async def asking(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """An orchestrator that asks for a key over TCP."""
    for name in ("TARPON_API_HOST", "TARPON_API_PORT", "TARPON_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=ASKS) as running:
        yield running


def operator(running: Running) -> tarpon.Client:
    url = local_url(running.config.data_dir)
    assert url
    return tarpon.Client(url)


def holder(running: Running, key: str) -> tarpon.Client:
    return tarpon.Client(HOST, running.config.api.port, api_key=key)


async def test_the_local_socket_needs_no_key_and_tcp_does(asking: Running) -> None:
    assert (await asking.ask(JOBS)).status == 401
    async with operator(asking) as client:
        made = await client.submit(NOOP)
        assert (await client.get(made.job_id)).id == made.job_id
        async with aclosing(client.watch(made.job_id)) as events:
            assert await anext(events) is not None


async def test_a_program_finds_the_local_socket_of_its_data_dir(
    asking: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TARPON_DIR", str(asking.config.data_dir))
    async with tarpon.Client() as client:
        assert client.url.startswith("unix://")
        assert (await client.nodes()).nodes
    monkeypatch.setenv("TARPON_API_PORT", "1")
    assert tarpon.Client().url == "http://127.0.0.1:1"


async def test_the_local_socket_is_its_owners_alone(asking: Running) -> None:
    path = socket_path(asking.config.data_dir)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_ISSOCK(path.stat().st_mode)


ASK_AS_NOBODY = """
import os, socket, sys
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
with socket.socket(socket.AF_UNIX) as s:
    s.connect(sys.argv[1])
    s.sendall(b"GET /api/v1/orchestrator/jobs HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
    while data := s.recv(65536):
        sys.stdout.buffer.write(data)
"""


async def test_another_user_who_gets_at_the_local_socket_is_refused(
    asking: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is not root cannot be somebody else: then it is the orchestrator that takes itself for another."""
    path = socket_path(asking.config.data_dir)
    if os.geteuid():
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    path.chmod(0o666)
    for folder in path.parents:
        folder.chmod(folder.stat().st_mode | 0o001)
    done = await run_as_nobody(path)
    assert "401 Unauthorized" in done
    assert json.loads(done.rpartition("\n\n")[2])["Details"]["TarponCode"] == "PeerRefused"


async def run_as_nobody(path: Path) -> str:
    command = [sys.executable, "-I", "-c", ASK_AS_NOBODY, str(path)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True, timeout=30)
    return str(done.stdout)


@pytest.mark.parametrize("depth", [0, 12], ids=["short", "long"])
def test_a_socket_that_was_left_is_replaced_and_goes_with_its_listener(tmp_path: Path, depth: int) -> None:
    data_dir = tmp_path.joinpath(*["folder-of-16-char"] * depth)
    (data_dir / "orchestrator").mkdir(parents=True)
    path = socket_path(data_dir)
    with local_listener(data_dir):
        os.link(path, path.with_name("left"), follow_symlinks=False)
        assert local_url(data_dir) == f"unix://{path}"
    assert not path.exists()
    path.with_name("left").rename(path)
    assert local_url(data_dir) == ""  # nobody listens there any more
    with local_listener(data_dir):
        assert local_url(data_dir)


def test_where_no_socket_can_be_made_the_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="DataDir: a Unix socket cannot be made"), local_listener(tmp_path):
        pass


async def test_a_key_has_the_address_and_the_authority_of_an_api_with_tls(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TARPON_API_HOST", "TARPON_API_PORT", "TARPON_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    tls = (*ASKS, "API.TLS.SelfSigned=true")
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=tls) as running:
        async with operator(running) as client:
            made = await client.create_user("maria", ["read:job"])
        key = read(made.key, ApiKey)
        assert key.addresses == (f"https://127.0.0.1:{running.config.api.port}",)
        assert key.authority
        async with tarpon.Client(api_key=made.key) as holding:
            assert (await holding.list()).items == ()


# ---- users ----------------------------------------------------------------------------------------------------------


async def test_a_user_is_made_known_and_revoked(asking: Running) -> None:
    async with operator(asking) as client:
        made = await client.create_user(
            "maria", ["read:job"], namespaces=["a"], expires_in="1h", addresses=["http://x/"]
        )
        assert (made.user.name, made.user.capabilities, made.user.namespaces) == ("maria", ("read:job",), ("a",))
        assert read(made.key, ApiKey).addresses == ("http://x",)
        assert [each.name for each in await client.users()] == ["maria"]
        async with holder(asking, made.key) as holding:
            assert (await holding.list()).items == ()
            revoked = await client.revoke_user("maria")
            assert revoked.revoked
            with pytest.raises(RemoteError, match="was revoked"):
                await holding.list()
        again = await client.create_user("maria", ["*"])
    async with holder(asking, again.key) as holding:
        assert len(await holding.users()) == 1


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"name": "taken"}, "UserExists"),
        ({"capabilities": ["read:jobs"]}, "CapabilityUnknown"),
        ({"namespaces": ["a.b"]}, "NamespaceInvalid"),
        ({"name": "a b"}, "UserNameInvalid"),
        ({"expires_in": "soon"}, "InvalidDuration"),
        ({"expires_in": "-1h"}, "InvalidInput"),
        ({"expires_in": "0s"}, "InvalidInput"),
        ({"addresses": ["example.com:1234"]}, "UserAddressInvalid"),
        ({"addresses": ["https://example.com:port"]}, "UserAddressInvalid"),
        ({"addresses": [f"https://{'x' * 600}"]}, "UserAddressInvalid"),
        ({"addresses": [f"https://h{number}" for number in range(9)]}, "InvalidInput"),
        ({"capabilities": []}, "InvalidInput"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_a_user_that_cannot_be_is_refused(asking: Running, wanted: dict[str, Any], code: str) -> None:
    async with operator(asking) as client:
        await client.create_user("taken", ["*"])
        with pytest.raises(RemoteError) as refused:
            await client.create_user(**{"name": "maria", "capabilities": ["*"]} | wanted)
        assert refused.value.remote_code == code
        assert refused.value.hint


async def test_a_user_that_is_not_there_cannot_be_revoked(asking: Running) -> None:
    async with operator(asking) as client:
        await client.create_user("maria", ["*"])
        with pytest.raises(RemoteError) as refused:
            await client.revoke_user("mria")
    assert refused.value.remote_code == "UserNotFound"
    assert refused.value.hint.startswith("Did you mean 'maria'?")


async def test_no_key_is_kept_or_logged(asking: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with operator(asking) as client:
        made = await client.create_user("maria", ["*"])
        await client.revoke_user("maria")
    key = read(made.key, ApiKey)
    secrets = (made.key, key.credential.partition(".")[2])
    assert "User maria is made by operator" in caplog.text
    assert "User maria is revoked by operator" in caplog.text
    assert not [secret for secret in secrets if secret in caplog.text]
    stored = [path.read_bytes() for path in asking.config.data_dir.rglob("*") if path.is_file()]
    assert any(key.digest.encode() in content for content in stored)
    assert not [secret for secret in secrets for content in stored if secret.encode() in content]


@pytest.fixture
async def second(
    asking: Running, tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    """Another orchestrator of the same set."""
    secrets = asking.config.data_dir / "orchestrator" / "secrets"
    shared = (
        f"Orchestrator.NATS.Servers={asking.server}",
        f"Orchestrator.NATS.NKeyFile={secrets / 'orchestrator.nkey'}",
        f"Orchestrator.NATS.IssuerSeedFile={secrets / 'issuer.nkey'}",
        f"Orchestrator.NATS.IntegrationSecretFile={secrets / 'integration.secret'}",
    )
    other = running_orchestrator(tmp_path / "other", s3_server, monkeypatch, publisher=False, sets=(*ASKS, *shared))
    async with other as running:
        yield running


async def code_of_answer(running: Running, path: str, method: str = "GET", body: Any = None, **headers: str) -> str:
    answer = await running.ask(path, method, body, headers=headers)
    return "" if answer.status == 200 else str(answer.json["Details"].get("TarponCode", answer.json["Code"]))


async def test_a_link_signs_in_once_and_a_session_is_signed_out_of_on_every_orchestrator(
    asking: Running, second: Running
) -> None:
    async with operator(asking) as client:
        link = (await client.page_link()).link
    used = await asking.ask(SESSION, "POST", {"Link": link})
    assert (used.json["SignedIn"], used.json["Name"]) == (True, "operator")
    for running in (asking, second):
        assert await code_of_answer(running, SESSION, "POST", {"Link": link}) == "LinkUsed"
    (morsel,) = SimpleCookie(used.headers["Set-Cookie"]).values()
    cookie, host = f"{morsel.key}={morsel.value}", f"{HOST}:{asking.config.api.port}"
    assert await code_of_answer(second, JOBS, Cookie=cookie, Host=host) == "", "any orchestrator behind one address"
    assert not await code_of_answer(
        asking, SESSION, "DELETE", **{"Cookie": cookie, "X-Tarpon-CSRF-Token": used.json["CSRFToken"]}
    )
    assert await code_of_answer(asking, JOBS, Cookie=cookie) == "SessionEnded"

    async def elsewhere() -> str:
        return await code_of_answer(second, JOBS, Cookie=cookie, Host=host)

    await answered(elsewhere, lambda code: code == "SessionEnded")


async def test_a_revoked_key_ends_at_once_on_every_orchestrator(asking: Running, second: Running) -> None:
    async with operator(asking) as client:
        job = (await client.submit(NOOP)).job_id
        key = (await client.create_user("maria", ["read:job"])).key
        async with holder(second, key) as reading:

            async def is_known() -> bool:
                try:
                    return (await reading.get(job)).id == job
                except (RemoteError, tarpon.errors.KeyNotKnownThere):
                    return False

            await answered(is_known, what="the second orchestrator knows the user")
            async with aclosing(reading.watch(job)) as events:
                assert await anext(events) is not None
                await client.revoke_user("maria")
                began = time.monotonic()
                with pytest.raises(RemoteError, match="was revoked"):
                    async for _ in events:
                        pass
                assert time.monotonic() - began < 10  # what is aimed at is two seconds; a loaded machine takes longer


async def test_the_logs_of_who_is_revoked_end_at_once(asking: Running) -> None:
    async with asking.node("a") as node, operator(asking) as client:
        await node.register()
        job = (await client.submit(NOOP)).job_id
        await node.report((await node.accept_assignment()).execution_id, ExecutionStarted())
        made = await client.create_user("maria", ["read:job"])
        url = f"http://{HOST}:{asking.config.api.port}{JOBS}/{job}/logs?follow=true"
        shown = {"Authorization": f"Bearer {made.key}"}
        async with aiohttp.ClientSession() as http, http.ws_connect(url, headers=shown) as logs:
            await client.revoke_user("maria")
            async with asyncio.timeout(10):  # of the node, which says nothing, it is waited for longer
                assert (await logs.receive()).type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE}
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(url, headers=shown)
            assert refused.value.status == 401


async def test_an_orchestrator_that_has_ended_is_not_taken_for_one(asking: Running) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        path = asking.config.data_dir / "left.sock"
        left.bind(str(path))
    with pytest.raises(OrchestratorUnreachable):
        async with tarpon.Client(f"unix://{path}", timeout=5) as client:
            await client.alive()
