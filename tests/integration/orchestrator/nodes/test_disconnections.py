"""Where NATS servers do not let the orchestrator end connections, it says so, and goes on trying."""

import asyncio
import logging

import pytest

from orchestrator.admission.budgets import Budgets
from orchestrator.admission.nats_accounts import KnownAccounts
from orchestrator.nodes import disconnections
from orchestrator.nodes.disconnections import Disconnections
from shared.messaging.transport import connect
from shared.runtime.aio import background
from tests.nats_bus import new_user_seed
from tests.servers import HOST
from tests.waiting import eventually


async def test_that_revoked_users_cannot_be_cut_off_is_a_warning_once_and_not_at_each_try(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(disconnections, "CONNECT_SECONDS", 0.01)
    monkeypatch.setattr(disconnections, "AGAIN_SECONDS", 0.01)
    ended: asyncio.Queue[str] = asyncio.Queue()

    def told(*levels: int) -> list[str]:
        found = [each for each in caplog.records if each.levelno in levels]
        return [text for each in found if "may be connected to NATS still" in (text := each.getMessage())]

    with caplog.at_level(logging.DEBUG):
        async with connect([f"nats://{HOST}:1"], name="o", nkey_seed=new_user_seed(), after=asyncio.Event()) as system:
            ending = Disconnections(system, system, Budgets(), KnownAccounts(), ended)
            async with background(disconnections=ending.run()):
                ended.put_nowait("maria")
                await eventually(lambda: len(told(logging.DEBUG)) >= 3)
                assert len(told(logging.WARNING)) == 1
                ended.put_nowait("jo")
                await eventually(lambda: "jo, maria" in told(logging.DEBUG)[-1])
    first, second = told(logging.WARNING)
    assert first.startswith("Users maria may be connected")
    assert "tarpon agent nats-check" in first
    assert second.startswith("Users jo, maria may")
