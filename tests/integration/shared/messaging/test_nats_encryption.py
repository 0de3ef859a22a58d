"""What `tls://` promises: nobody on the way hears who this is, or anything else."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.messaging.transport import Connection, connect
from tests.certificates import make_certificate
from tests.nats_bus import new_user_seed
from tests.own_nats import own_nats
from tests.servers import HOST, free_ports
from tests.waiting import eventually

SECRET = "the-join-secret"  # what must not be heard
BEGINNING_OF_TLS = b"\x16\x03"  # in which a client names itself by nothing but what it can encrypt
NO_TLS = {"server_id": "X", "version": "2.15.1", "max_payload": 1 << 20, "headers": True, "nonce": "abc"}


@asynccontextmanager
async def joining(url: str) -> AsyncIterator[Connection]:
    async with connect((url,), name="node-1", nkey_seed=new_user_seed(), token=SECRET) as connection:
        yield connection


async def test_a_server_without_tls_hears_nothing_of_who_would_join() -> None:
    heard: list[bytearray] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(bytearray())
        heard_here = heard[-1]
        writer.write(b"INFO " + json.dumps(NO_TLS).encode() + b" \r\n")
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(4096):
                heard_here.extend(data)
        writer.close()

    port = free_ports(1)[0]
    async with await asyncio.start_server(listen, HOST, port), joining(f"tls://{HOST}:{port}") as connection:
        await eventually(lambda: len(heard) >= 4, what="it tries again")
        assert not connection.connected
    assert all(bytes(each[:2]) in {b"", BEGINNING_OF_TLS} for each in heard)
    assert not any(what in each for each in heard for what in (b"CONNECT", SECRET.encode(), b"node-1"))


async def test_a_server_without_tls_is_told_of_with_what_to_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with own_nats(tmp_path) as server, joining(server.tls_url):
        await eventually(lambda: "it does not encrypt, though its address begins with tls://" in caplog.text)
    assert SECRET not in caplog.text


async def test_a_server_that_encrypts_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
    config = certificate.tls_block + f"authorization {{ token: {SECRET} }}\n"
    async with (
        asyncio.timeout(20),
        own_nats(tmp_path, config) as server,
        joining(server.tls_url) as connection,
        connection.subscribe("a") as received,
    ):
        await connection.wait_connected()
        await connection.publish("a", b"hello")
        assert (await anext(received)).payload == b"hello"


async def test_a_certificate_that_nobody_vouches_for_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with own_nats(tmp_path, make_certificate(tmp_path).tls_block) as server, joining(server.tls_url):
        await eventually(lambda: "is not trusted: self-signed certificate" in caplog.text)
    assert "SSL_CERT_FILE" in caplog.text
