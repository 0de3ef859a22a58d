"""Strangers who connect to NATS again and again: nobody who is known here waits for them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import nats.errors
import pytest
from nats.aio.client import Client

from orchestrator.admission.bounds import attempts
from orchestrator.admission.bounds.held_back import Bound
from orchestrator.admission.secret_files import integration_password
from tests.nats_bus import WITHIN_SECONDS, Bus, new_user_seed
from tests.waiting import eventually


@pytest.fixture
async def strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bus]:
    monkeypatch.setattr(attempts, "REFUSED_AT_ONCE", 3.0)
    monkeypatch.setattr(attempts, "REFUSED_PER_SECOND", 0.01)
    async with Bus(tmp_path).running() as bus:
        yield bus


async def knock(bus: Bus, name: str, *, token: str = "no-such-token") -> None:
    with suppress(nats.errors.Error, OSError, TimeoutError):
        await bus.join(name, token=token)


async def test_strangers_are_judged_so_often_and_then_no_more(strict: Bus) -> None:
    for number in range(4):
        await knock(strict, f"stranger-{number}")
    assert not strict.held_back.in_all
    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(knock(strict, f"other-{number}"))
    assert strict.held_back.in_all[Bound.NATS_CONNECTIONS] >= 5


async def test_a_node_that_comes_back_and_one_that_joins_are_let_in_at_once_beside_strangers(strict: Bus) -> None:
    seed = new_user_seed()
    await strict.join("known", seed=seed)
    for number in range(4):  # so that those of the flood are held back, however soon they come
        await knock(strict, f"first-{number}")
    async with asyncio.TaskGroup() as group:
        flood = [group.create_task(knock(strict, f"stranger-{number}")) for number in range(40)]
        await eventually(lambda: strict.held_back.in_all[Bound.NATS_CONNECTIONS], within=20)
        begun = time.monotonic()
        await strict.join("known", seed=seed, token="")
        await strict.join("new")
        assert time.monotonic() - begun < 10
        assert not all(each.done() for each in flood)


async def test_who_says_that_it_is_another_node_shuts_out_neither_that_nor_others(strict: Bus) -> None:
    await strict.join("first", seed=(seed := new_user_seed()))
    for _ in range(6):
        await knock(strict, "first", token="")  # by another key
    await strict.join("first", seed=seed, token="")
    await strict.join("second")


async def test_wrong_passwords_for_a_name_leave_the_right_one_heard_from_the_same_address(strict: Bus) -> None:
    right = integration_password(strict.secrets.integration_secret, "payroll").reveal()
    for _ in range(6):
        with suppress(nats.errors.Error, OSError, TimeoutError):
            await program(strict, "guessed")
    await (await program(strict, right)).close()
    assert strict.held_back.in_all[Bound.NATS_CONNECTIONS] >= 2


async def test_a_good_token_is_heard_where_its_name_and_key_were_said_without_it(strict: Bus) -> None:
    seed = new_user_seed()
    for _ in range(6):
        with suppress(nats.errors.Error, OSError, TimeoutError):
            await strict.join("first", seed=seed, token="no-such-token")
    await strict.join("first", seed=seed)


async def program(bus: Bus, password: str) -> Client:
    client = Client()
    try:
        await client.connect(
            servers=bus.urls,
            user="payroll",
            password=password,
            allow_reconnect=False,
            connect_timeout=int(WITHIN_SECONDS),
        )
    except BaseException:
        await client.close()
        raise
    return client
