"""How one receiver is told: what waits is bounded, what is too old is dropped, and who fails is not flooded."""

import secrets
import time
from base64 import b64encode
from collections.abc import AsyncIterator

import aiohttp
import pytest

from orchestrator.webhooks.events import WebhookEvent
from orchestrator.webhooks.receiver import AT_ONCE, Receiver
from orchestrator.webhooks.secret import secret_bytes
from orchestrator.webhooks.totals import WebhookTotals
from shared.runtime.aio import background
from shared.settings.secret import Secret
from tests.waiting import eventually
from tests.webhook_receiver import WebhookReceiver

SECRET = f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def event(number: int, *, age: float = 0.0) -> WebhookEvent:
    return WebhookEvent(number=number, id=f"j-{number}.1.completed", body=b"{}", made=time.time() - age)


def told_by(http: aiohttp.ClientSession, played: WebhookReceiver, totals: WebhookTotals) -> Receiver:
    return Receiver(played.url, http, secret_bytes(Secret(SECRET)), max_age_seconds=60.0, totals=totals)


async def test_beyond_the_bound_the_oldest_is_dropped(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.webhooks.receiver.MOST_WAITING", 3)
    played, totals = WebhookReceiver(SECRET), WebhookTotals()
    receiver = told_by(http, played, totals)
    for number in (1, 2, 3, 4, 5):
        receiver.put(event(number))
    async with played.serving(), background(sending=receiver.run()):
        await eventually(lambda: totals.counts["delivered"] == 3)
    assert sorted(played.ids) == [event(number).id for number in (3, 4, 5)]
    assert totals.counts["dropped"] == 2


async def test_what_is_too_old_is_given_up_and_not_held_against_what_follows(http: aiohttp.ClientSession) -> None:
    played, totals = WebhookReceiver(SECRET, answers=lambda before: 500 if not before else 200), WebhookTotals()
    receiver = told_by(http, played, totals)
    receiver.put(event(1, age=61.0))
    async with played.serving(), background(sending=receiver.run()):
        await eventually(lambda: totals.counts["dropped"] == 1)
        receiver.reach(1)
        assert receiver.sent_up_to == 1
        receiver.put(event(2))
        await eventually(lambda: totals.counts["delivered"] == 1)
    assert played.ids == [event(1).id, event(2).id]


async def test_how_far_it_has_come_is_before_what_waits(http: aiohttp.ClientSession) -> None:
    played, totals = WebhookReceiver(SECRET, answers=lambda before: 0 if not before else 200), WebhookTotals()
    receiver = told_by(http, played, totals)
    async with played.serving(), background(sending=receiver.run()):
        receiver.put(event(7))  # hangs
        await eventually(lambda: played.seen)
        receiver.put(event(9))
        receiver.reach(9)
        await eventually(lambda: totals.counts["delivered"] == 1)
        assert receiver.sent_up_to == 6
        receiver.put(event(7))
        assert receiver.waiting == 1, "it is on its way already"


async def test_one_that_fails_gets_one_event_at_a_time_until_it_takes_one(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.webhooks.receiver.FIRST_PAUSE_SECONDS", 0.01)
    played, totals = WebhookReceiver(SECRET, answers=lambda before: 503 if before < 4 else 200), WebhookTotals()
    receiver = told_by(http, played, totals)
    async with played.serving(), background(sending=receiver.run()):
        receiver.put(event(1))
        await eventually(lambda: totals.counts["failed"] >= 1)
        for number in range(2, 2 + 3 * AT_ONCE):
            receiver.put(event(number))
        await eventually(lambda: totals.counts["delivered"] == 1 + 3 * AT_ONCE)
    assert totals.counts["failed"] == 4, "nobody was sent in vain meanwhile but to try"


async def test_those_that_fail_together_are_one_failure(http: aiohttp.ClientSession) -> None:
    played, totals = WebhookReceiver(SECRET, answers=lambda before: 503 if before < AT_ONCE else 200), WebhookTotals()
    receiver = told_by(http, played, totals)
    for number in range(1, AT_ONCE + 1):
        receiver.put(event(number))
    async with played.serving(), background(sending=receiver.run()):
        await eventually(lambda: totals.counts["delivered"] == AT_ONCE, within=10)
    assert totals.counts["failed"] == AT_ONCE
