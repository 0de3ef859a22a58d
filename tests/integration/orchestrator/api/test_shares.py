"""Users of the API: what one of them takes up, and that others are answered as ever meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

import tarpon
from orchestrator.admission.bounds import shares
from orchestrator.admission.bounds.company import Company
from orchestrator.admission.bounds.held_back import Bound, HeldBack
from orchestrator.admission.bounds.shares import UserShares
from shared.errors import RemoteError
from shared.jobs.states import ExecutionState
from shared.settings.api_limits import ApiLimits
from tarpon.http import held_back
from tests.api_keys import Keyed, keyed
from tests.integration.fed_api import JOBS, FedApi
from tests.integration.orchestrator.api.test_strangers import api_with, opened
from tests.servers import HOST
from tests.waiting import answered


@asynccontextmanager
async def api_of_two(**limits: Any) -> AsyncIterator[tuple[FedApi, Keyed, Keyed]]:
    async with api_with(**limits) as (fed, first):
        second = keyed("second", "*")
        fed.feed(second.record.key, second.record)
        fed.job(1)
        yield fed, first, second


def client_of(fed: FedApi, user: Keyed) -> tarpon.Client:
    return tarpon.Client(f"http://{HOST}:{fed.port}", api_key=user.key.text())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(shares, "REFUSAL_SECONDS", 0.0)


@pytest.mark.usefixtures("impatient")
async def test_too_many_requests_of_a_user_are_refused_in_words_and_others_are_answered() -> None:
    async with api_of_two(requests_per_second=1) as (fed, first, second):
        answers = [await fed.ask(JOBS, headers=first.bearer) for _ in range(5)]
        assert [each.status for each in answers] == [200] * 5
        refused = await answered(lambda: fed.ask(JOBS, headers=first.bearer), lambda each: each.status != 200)
        assert (refused.status, refused.json["Code"]) == (429, "TooManyRequests")
        assert refused.json["Message"].startswith("User maria makes too many requests;")
        assert "Retry-After" in refused.json["Hint"]
        assert float(refused.json["Details"]["RetryAfter"]) <= int(refused.headers["Retry-After"]) <= 3
        assert (await fed.ask(JOBS, headers=second.bearer)).status == 200
        assert fed.held_back(Bound.REQUESTS) == 1


async def test_requests_a_little_too_fast_wait_and_are_answered() -> None:
    async with api_of_two(requests_per_second=10) as (fed, first, _):
        answers = [await fed.ask(JOBS, headers=first.bearer) for _ in range(50)]
        assert {each.status for each in answers} == {200}


@pytest.mark.usefixtures("impatient")
async def test_a_client_that_is_told_to_wait_does_so_and_goes_on() -> None:
    async with api_of_two(requests_per_second=2) as (fed, first, _), client_of(fed, first) as client:
        while not (before := fed.held_back(Bound.REQUESTS)):
            await fed.ask(JOBS, headers=first.bearer)
        assert (await client.list()).items
        assert fed.held_back(Bound.REQUESTS) > before


@pytest.mark.usefixtures("impatient")
async def test_a_client_waits_no_longer_than_its_bound_and_tells_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_back, "IN_ALL_SECONDS", 0.01)
    async with api_of_two(requests_per_second=1) as (fed, first, _), client_of(fed, first) as client:
        while not fed.held_back(Bound.REQUESTS):
            await fed.ask(JOBS, headers=first.bearer)
        with pytest.raises(RemoteError, match="makes too many requests") as caught:
            await client.alive()
    assert caught.value.remote_code == "TooManyRequests"


async def test_no_more_than_so_many_requests_of_a_user_are_dealt_with_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "IN_HAND", 1)
    async with api_of_two() as (fed, first, second), opened(fed) as (slow,):
        told = f"Authorization: {first.bearer['Authorization']}\r\nContent-Length: 10"
        slow.writer.write(f"PUT {JOBS} HTTP/1.1\r\nHost: {HOST}\r\n{told}\r\n\r\n".encode())
        async with asyncio.TaskGroup() as group:
            waits = group.create_task(fed.ask(JOBS, headers=first.bearer))
            assert (await fed.ask(JOBS, headers=second.bearer)).status == 200
            assert not waits.done()
            slow.writer.write(b"not a job!")
            assert (await waits).status == 200


async def test_streams_of_a_user_are_bounded_and_those_of_others_are_theirs() -> None:
    async with api_of_two(streams_per_user=2) as (fed, first, second), aiohttp.ClientSession() as http:

        async def follow(user: Keyed) -> aiohttp.ClientResponse:
            return await http.get(fed.url(f"{JOBS}/j-0001/events"), headers=user.bearer)

        open_ = [await follow(first) for _ in range(2)]
        refused = await follow(first)
        assert (refused.status, json.loads(await refused.read())["Code"]) == (429, "TooManyStreams")
        assert (await fed.ask(JOBS, headers=first.bearer)).status == 200
        other = await follow(second)
        assert other.status == 200
        open_[0].close()
        again = await answered(lambda: follow(first), lambda each: each.status == 200, within=20)
        for each in (*open_, other, again):
            each.close()


@pytest.mark.usefixtures("impatient")
async def test_bytes_that_a_user_reads_are_bounded_and_others_read_on() -> None:
    async with api_of_two(read_bytes_per_second=1000) as (fed, first, second):
        fed.execution(fed.job(2, count=1, text="a" * 20_000), 0, ExecutionState.RUNNING)
        assert (await fed.ask(JOBS, headers=first.bearer)).status == 200
        refused = await fed.ask(JOBS, headers=first.bearer)
        assert (refused.status, refused.json["Code"]) == (429, "TooManyRequests")
        assert "reads too many bytes" in refused.json["Message"]
        assert (await fed.ask(JOBS, headers=second.bearer)).status == 200


@pytest.mark.usefixtures("impatient")
async def test_who_takes_much_of_the_time_has_to_wait_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "LOOP_SHARE", 1e-3)
    monkeypatch.setattr(shares, "LOOP_SECONDS", 1e-3)
    async with api_of_two() as (fed, first, second):
        for number in range(2, 300):
            fed.job(number)
        refused = await answered(lambda: fed.ask(JOBS, headers=first.bearer), lambda each: each.status != 200)
        assert (refused.status, refused.json["Code"]) == (429, "TooManyRequests")
        assert refused.json["Message"].startswith("User maria asks for what takes too long;")
        assert fed.held_back(Bound.TIME) == 1
        assert (await fed.ask("/api/v1/agent/alive", headers=second.bearer)).status == 200


@pytest.mark.usefixtures("impatient")
async def test_changes_count_more_while_others_make_some() -> None:
    async def accepted(fed: FedApi, user: Keyed) -> int:
        """How many bad submits are looked at before one is held back."""
        statuses: list[int] = []
        while 429 not in statuses:
            statuses.append((await fed.ask(JOBS, "PUT", {"Job": {}}, headers=user.bearer)).status)
        return len(statuses) - 1

    async with api_of_two(requests_per_second=5) as (fed, first, second):
        alone = await accepted(fed, first)
        beside = await accepted(fed, second)
        assert (alone, beside) >= (20, 4)
        assert beside < alone / 2


async def test_streams_of_a_user_take_turns() -> None:
    held = HeldBack()
    made = UserShares(ApiLimits(streamed_bytes_per_second=shares.STREAM_BURST_BYTES * 50), held, Company())
    ended: list[int] = []

    async def read(number: int) -> None:
        await made.stream("maria", 2 * shares.STREAM_BURST_BYTES)
        ended.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(read(number))
    assert ended == [0, 1, 2, 3]
    assert held.in_all[Bound.READ_BYTES] == 4
    await made.stream("jens", shares.STREAM_BURST_BYTES // 2)
    assert held.in_all[Bound.READ_BYTES] == 4


@pytest.mark.usefixtures("impatient")
async def test_bytes_that_a_user_sends_are_bounded_and_others_send_on() -> None:
    async with api_of_two(sent_bytes_per_second=1000) as (fed, first, second):
        for user, statuses in ((first, [400, 429]), (second, [400])):
            for status in statuses:
                answer = await fed.ask(JOBS, "PUT", {"Job": {"Name": "a" * 20_000}}, headers=user.bearer)
                assert answer.status == status, answer.body


async def test_large_bodies_of_one_user_are_read_one_after_the_other_with_rests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shares, "THREAD_SECONDS", 1e-3)
    monkeypatch.setattr(shares, "THREAD_SHARE", 1e-4)
    body = {"Job": {"Type": "batch", **{f"name{number}": 1 for number in range(3000)}}}
    async with api_of_two() as (fed, first, second), asyncio.TaskGroup() as group:
        flood = [group.create_task(fed.ask(JOBS, "PUT", body, headers=first.bearer)) for _ in range(3)]
        await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
        assert (await fed.ask(JOBS, "PUT", body, headers=second.bearer)).status == 400
        assert sum(each.done() for each in flood) == 1
        for each in flood:
            each.cancel()


async def test_what_is_held_back_is_counted_in_the_metrics() -> None:
    async with api_of_two(streams_per_user=1) as (fed, first, _), aiohttp.ClientSession() as http:
        held = [await http.get(fed.url(f"{JOBS}/j-0001/events"), headers=first.bearer) for _ in range(3)]
        told = (await fed.ask("/metrics", headers=first.bearer)).body.decode()
        for each in held:
            each.close()
    assert 'tarpon_held_back_total{bound="streams"} 2' in told
    assert 'tarpon_held_back_total{bound="requests"} 0' in told
