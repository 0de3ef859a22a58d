"""Strangers at the API: what those who show no valid key take up, and that others get through meanwhile."""

import asyncio
import base64
import json
import logging
import ssl
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from orchestrator.admission.bounds import guesses, shares
from orchestrator.admission.bounds.held_back import Bound
from orchestrator.api import bodies
from orchestrator.api.access import connections
from shared.jobs.durations import Duration
from shared.protocol.request_signature import Signer, key_id_of
from shared.settings.api_limits import ApiLimits
from shared.settings.api_users import ApiUsers
from shared.settings.config import ApiAuth, ApiSettings, Config
from tests.api_keys import Keyed, basic, keyed
from tests.certificates import make_certificate
from tests.integration.fed_api import JOBS, FedApi
from tests.servers import HOST
from tests.waiting import eventually

OTHER = "127.0.0.2"
ALIVE = "/api/v1/agent/alive"
USERS = [
    {"Username": "snoopy", "Password": "doghouse-1950", "Capabilities": [{"Actions": ["read:*"]}]},
    {"Username": "woodstock", "Password": "birdbath-1967", "Capabilities": [{"Actions": ["read:*"]}]},
]


@asynccontextmanager
async def api_with(
    *, proxies: tuple[str, ...] = (), tls: ssl.SSLContext | None = None, **limits: Any
) -> AsyncIterator[tuple[FedApi, Keyed]]:
    """An API that asks for keys, and somebody who has one."""
    users = ApiAuth(users=ApiUsers.read("API.Auth.Users", USERS))
    settings = ApiSettings(auth=users, limits=replace(ApiLimits(), **limits), trusted_proxies=proxies)
    async with FedApi(Config(api=settings)).serving(tls) as fed:
        user = keyed("maria", "*")
        fed.feed(user.record.key, user.record)
        yield fed, user


class Open(NamedTuple):
    """A connection from an address of this machine."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def is_closed(self) -> bool:
        """Waits until it is."""
        with suppress(ConnectionError):
            return not await self.reader.read()
        return True

    async def answer(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return int(first.split()[1]), headers, await self.reader.readexactly(int(headers.get("content-length", "0")))

    async def status(self, headers: dict[str, str], path: str = JOBS) -> int:
        return (await self.answer(get(path, headers)))[0]

    def close(self) -> None:
        self.writer.transport.abort()


def get(path: str, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n".encode()


@asynccontextmanager
async def opened(fed: FedApi, count: int = 1, *, address: str = HOST) -> AsyncIterator[list[Open]]:
    made: list[Open] = []
    try:
        while len(made) < count:
            made.append(Open(*await asyncio.open_connection(HOST, fed.port, local_addr=(address, 0))))
        yield made
    finally:
        for each in made:
            each.close()


async def test_of_too_many_silent_connections_of_an_address_the_oldest_is_closed_and_who_asks_gets_in() -> None:
    async with (
        api_with(strange_connections_per_address=4) as (fed, user),
        opened(fed, 1, address=OTHER) as elsewhere,
        opened(fed, 12) as silent,
    ):
        async with asyncio.timeout(20):
            assert [await each.is_closed() for each in silent[:8]] == [True] * 8
        for address in (HOST, OTHER):
            async with opened(fed, address=address) as (asks,):
                assert await asks.status(user.bearer) == 200
        assert not elsewhere[0].reader.at_eof()
        assert fed.held_back(Bound.CONNECTIONS) == 9  # and one for who asked beside them


async def test_of_too_many_silent_connections_in_all_one_of_the_address_that_has_most_is_closed() -> None:
    async with (
        api_with(strange_connections=6, strange_connections_per_address=6) as (fed, user),
        opened(fed, 2, address=OTHER) as few,
        opened(fed, 6) as many,
    ):
        async with asyncio.timeout(20):
            assert [await each.is_closed() for each in many[:2]] == [True, True]
        async with opened(fed, address="127.0.0.3") as (asks,):
            assert await asks.status(user.bearer) == 200
        assert not any(each.reader.at_eof() for each in few)


async def test_a_connection_over_which_a_key_was_shown_is_not_closed_for_those_of_strangers() -> None:
    async with api_with(strange_connections_per_address=2) as (fed, user), opened(fed) as (known,):
        assert await known.status(user.bearer) == 200
        async with opened(fed, 10):
            assert await known.status(user.bearer) == 200


async def test_of_too_many_connections_of_a_user_the_one_idle_for_longest_is_closed() -> None:
    async with api_with(connections_per_user=3) as (fed, user), opened(fed, 5) as mine:
        assert [await each.status(user.bearer) for each in mine] == [200] * 5
        async with asyncio.timeout(20):
            assert [await each.is_closed() for each in mine[:2]] == [True, True]
        assert [await each.status(user.bearer) for each in mine[2:]] == [200] * 3


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "])
async def test_headers_that_do_not_come_in_time_end_their_connection(begun: bytes) -> None:
    async with api_with(header_timeout=Duration(0.2)) as (fed, user), opened(fed, 2) as (slow, asks):
        slow.writer.write(begun)
        assert await asks.status(user.bearer) == 200
        async with asyncio.timeout(20):
            assert await slow.is_closed()
        assert await asks.status(user.bearer) == 200  # without a request one may wait for longer
        assert fed.held_back(Bound.HEADERS) == 1


async def test_later_headers_that_do_not_come_in_time_end_their_connection_too() -> None:
    async with api_with(header_timeout=Duration(0.2)) as (fed, user), opened(fed) as (slow,):
        assert await slow.status(user.bearer) == 200
        slow.writer.write(b"GET ")
        async with asyncio.timeout(20):
            assert await slow.is_closed()


async def test_a_handshake_of_tls_that_stalls_ends_its_connection(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    serves = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serves.load_cert_chain(made.certificate, made.key)
    trusts = ssl.create_default_context(cafile=made.certificate)
    async with (
        api_with(tls=serves, header_timeout=Duration(2), strange_connections_per_address=3) as (fed, user),
        opened(fed, 2) as stalled,
    ):
        stalled[1].writer.write(b"\x16\x03\x01\x02\x00\x01")  # the beginning of what a client says first
        asks = Open(*await asyncio.open_connection(HOST, fed.port, ssl=trusts))
        assert await asks.status(user.bearer) == 200
        async with asyncio.timeout(20):
            assert [await each.is_closed() for each in stalled] == [True, True]
        assert await asks.status(user.bearer) == 200
        asks.close()


async def test_handshakes_of_tls_count_as_connections(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    serves = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serves.load_cert_chain(made.certificate, made.key)
    async with (
        api_with(tls=serves, header_timeout=Duration(600), strange_connections_per_address=2) as (fed, _),
        opened(fed, 4) as stalled,
        asyncio.timeout(20),
    ):
        assert [await each.is_closed() for each in stalled[:2]] == [True, True]
        assert not any(each.reader.at_eof() for each in stalled[2:])


async def test_large_headers_are_told_so_also_where_they_come_in_pieces() -> None:
    async with api_with() as (fed, _), opened(fed) as (writes,):
        line = b"X-Piece: " + b"a" * 1000 + b"\r\n"
        writes.writer.write(b"GET / HTTP/1.1\r\n")
        with suppress(ConnectionError):
            for _ in range(connections.HEAD_BYTES // len(line) + 1):
                writes.writer.write(line)
                await writes.writer.drain()
        assert (await writes.reader.readline()).startswith(b"HTTP/1.1 400 ")


async def test_who_sends_request_upon_request_without_reading_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "REFUSAL_SECONDS", 30.0)
    async with api_with(strange_requests_per_second=1) as (fed, user), opened(fed) as (writes,):
        with suppress(ConnectionError):
            for _ in range(500):
                writes.writer.write(get(JOBS, {"X-Much": "a" * 7000}))
                await writes.writer.drain()
        async with asyncio.timeout(20), opened(fed) as (asks,):
            with suppress(ConnectionError):
                await writes.reader.read()
            assert await asks.status(user.bearer) == 200


# ---- bodies ---------------------------------------------------------------------------------------------------------


async def test_large_bodies_of_one_user_wait_for_room_and_those_of_others_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shares, "BODY_BYTES_OF_ONE", 300_000)
    monkeypatch.setattr(shares, "PATIENCE_SECONDS", 0.2)
    async with api_with() as (fed, user), opened(fed, 3) as (first, second, third):
        other = keyed("other", "*")
        fed.feed(other.record.key, other.record)

        def head(of: Keyed) -> bytes:
            told = "".join(f"{name}: {value}\r\n" for name, value in of.bearer.items())
            return f"PUT {JOBS} HTTP/1.1\r\nHost: {HOST}\r\n{told}Content-Length: 200000\r\n\r\n".encode()

        first.writer.write(head(user))
        await eventually(lambda: fed.api.shares.large_bodies == 1)
        status, headers, told = await second.answer(head(user))
        assert (status, json.loads(told)["Code"], "retry-after" in headers) == (429, "TooManyRequests", True)
        assert (await third.answer(head(other) + b" " * 200_000))[0] == 400  # it was read, and is no job


async def test_a_large_body_is_not_read_when_its_sender_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on, looked_at = threading.Event(), list[int]()

    def decoded(body: bytes, *more: Any) -> Any:
        looked_at.append(len(body))
        may_go_on.wait(20)
        return decode(body, *more)

    decode = bodies._decoded
    monkeypatch.setattr(bodies, "_decoded", decoded)
    async with api_with() as (fed, user), opened(fed, 2) as (first, second):
        told = "".join(f"{name}: {value}\r\n" for name, value in user.bearer.items())

        def put(size: int) -> bytes:
            return f"PUT {JOBS} HTTP/1.1\r\nHost: {HOST}\r\n{told}Content-Length: {size}\r\n\r\n".encode() + b" " * size

        first.writer.write(put(100_000))
        await eventually(lambda: looked_at == [100_000])
        second.writer.write(put(200_000))
        await eventually(lambda: fed.api.shares.thinking == 2)
        second.writer.transport.abort()
        await eventually(lambda: len(fed.api.listener.peers) == 1)
        may_go_on.set()
        await eventually(lambda: fed.api.shares.thinking == 0)
    assert looked_at == [100_000]


# ---- guesses --------------------------------------------------------------------------------------------------------


async def tried(fed: FedApi, password: str, *, name: str = "snoopy", address: str = HOST) -> int:
    async with opened(fed, address=address) as (asks,):
        return await asks.status(basic(name, password))


async def test_guesses_at_passwords_have_to_wait_and_nobody_else_does() -> None:
    async with api_with() as (fed, user):
        statuses = [await tried(fed, f"wrong-{number}") for number in range(guesses.FREE + 3)]
        assert statuses == [401] * (guesses.FREE + 1) + [429] * 2
        assert await tried(fed, "doghouse-1950") == 429  # a right one is not told from a wrong one there
        assert await tried(fed, "doghouse-1950", address=OTHER) == 200
        assert await tried(fed, "birdbath-1967", name="woodstock") == 200
        async with opened(fed) as (asks,):
            assert await asks.status(user.bearer) == 200
        assert fed.held_back(Bound.GUESSES) == 3


async def test_who_guesses_is_told_for_how_long_to_wait_and_is_let_in_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guesses, "FIRST_WAIT_SECONDS", 50.0)
    async with api_with() as (fed, _), opened(fed) as (asks,):
        for number in range(guesses.FREE + 1):
            await asks.status(basic("snoopy", f"wrong-{number}"))
        status, headers, told = await asks.answer(get(JOBS, basic("snoopy", "doghouse-1950")))
        assert (status, json.loads(told)["Code"]) == (429, "TooManyAttempts")
        assert 0 < int(headers["retry-after"]) <= 50
        monkeypatch.setattr(fed.api._identities._guesses, "_clock", lambda: time.monotonic() + 50.0)
        assert await asks.status(basic("snoopy", "doghouse-1950")) == 200


async def test_a_guess_by_a_signature_counts_like_one_that_is_shown() -> None:
    async with api_with() as (fed, _), opened(fed) as (asks,):
        for number in range(guesses.FREE_OF_ORIGIN + 1):
            assert await asks.status(signed(f"snoopy:wrong-{number}")) == 401
        assert await asks.status(signed("snoopy:doghouse-1950")) == 429


def signed(secret: str) -> dict[str, str]:
    made = Signer(secret.encode()).sign(key_id_of(secret), method="GET", target=JOBS, body=b"", now=time.time())
    return {"Authorization": made.header}


async def test_one_name_that_many_addresses_guess_at_stays_open_to_who_knows_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guesses, "WRONG_AT_ONCE", 10.0)
    async with api_with() as (fed, _):
        for number in range(10, 40):
            assert await tried(fed, "wrong", address=f"127.0.1.{number}") == 401
        assert await tried(fed, "wrong", address="127.0.1.39") == 429  # after its first one already
        assert await tried(fed, "doghouse-1950", address="127.0.2.1") == 200


async def test_a_neighbour_who_was_right_before_is_not_held_back_by_guesses_at_other_names() -> None:
    async with api_with(strange_requests_per_second=1000) as (fed, _):
        assert await tried(fed, "birdbath-1967", name="woodstock") == 200
        statuses = [await tried(fed, "wrong", name=f"name-{number}") for number in range(guesses.FREE_OF_ORIGIN + 2)]
        assert statuses[-1] == 429
        assert await tried(fed, "birdbath-1967", name="woodstock") == 200


# ---- requests -------------------------------------------------------------------------------------------------------


async def test_requests_without_a_valid_key_are_bounded_by_address_and_a_key_gets_through(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shares, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(shares, "REFUSAL_SECONDS", 0.0)
    wrong = {"Authorization": f"Bearer {base64.b64encode(b'nonsense').decode()}"}
    with caplog.at_level(logging.WARNING):
        async with api_with(strange_requests_per_second=1) as (fed, user), opened(fed) as (asks,):
            statuses = [await asks.status(each) for each in [{}, wrong] * 10]
            assert statuses[:5] == [401] * 5
            assert 429 in statuses[5:]
            assert await asks.status({}, ALIVE) == 429
            assert await asks.status(user.bearer) == 200
            assert await asks.status(user.bearer, ALIVE) == 200
            async with opened(fed, address=OTHER) as (elsewhere,):
                assert await elsewhere.status({}) == 401
            assert fed.held_back(Bound.STRANGERS) > 5
    told = [each for each in caplog.messages if "without a valid key" in each]
    assert told == [f"{HOST} asks too much without a valid key, and has to wait (1 times)."]


# ---- proxies --------------------------------------------------------------------------------------------------------


async def test_who_asks_through_a_trusted_proxy_is_told_by_it_and_through_no_other() -> None:
    async with api_with(proxies=("127.0.0.0/31",)) as (fed, _):

        async def through(proxy: str, *told: str) -> int:
            async with opened(fed, address=proxy) as (asks,):
                return await asks.status(basic("snoopy", "wrong") | {"X-Forwarded-For": ", ".join(told)})

        for _ in range(guesses.FREE + 1):
            await through(HOST, "192.0.2.9", "203.0.113.7")
        assert await through(HOST, "203.0.113.7") == 429
        assert await through(HOST, "203.0.113.7", "198.51.100.1") == 401  # the left one was written by who asks
        for number in range(guesses.FREE + 1):
            await through("127.0.0.9", f"198.51.100.{number}")
        assert await through("127.0.0.9", "198.51.100.99") == 429


async def test_connections_of_a_trusted_proxy_are_bounded_by_no_address() -> None:
    async with (
        api_with(proxies=(HOST,), strange_connections_per_address=2) as (fed, _),
        opened(fed, 10) as idle,
    ):
        assert [await each.status({}, ALIVE) for each in idle] == [200] * 10
