"""Links and ended sessions over several orchestrators: each is good once, whoever is asked at the same moment."""

import asyncio
import time

import pytest

from orchestrator.admission.identities import Identities
from orchestrator.admission.sessions import sessions as sessions_module
from orchestrator.admission.sessions.problems import LinkUsed, SessionEnded, TooManySessionsEnded
from orchestrator.admission.sessions.sessions import LINK_SECONDS, KnownBy, Sessions
from orchestrator.storage.store import Store
from shared.settings.config import ApiAuth
from shared.settings.secret import Secret
from tests.integration.orchestrator.test_several_orchestrators import following, other
from tests.nats_bus import Bus
from tests.waiting import eventually

OPERATOR = KnownBy("operator")


def sessions_of(store: Store, *, ahead: float = 0.0) -> Sessions:
    identities = Identities(store.model.users, ApiAuth())
    return Sessions(Secret("of-the-set"), store.model, store, identities, None, clock=lambda: time.time() + ahead)


async def taken(sessions: Sessions, code: str) -> str:
    try:
        return (await sessions.take_link(code)).by
    except LinkUsed as error:
        return error.code


async def test_a_link_that_is_shown_everywhere_at_once_lets_one_in(any_bus: Bus) -> None:
    async with other(any_bus) as connection, following(any_bus.connection) as first, following(connection) as second:
        code, _ = sessions_of(first).link(OPERATOR)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(taken(sessions_of(each), code)) for each in (first, second, first, second)]
        assert sorted(task.result() for task in tasks) == ["LinkUsed", "LinkUsed", "LinkUsed", "operator"]


async def test_a_session_may_be_ended_at_two_orchestrators_at_once(bus: Bus) -> None:
    async with other(bus) as connection, following(bus.connection) as first, following(connection) as second:
        session, text = sessions_of(first).begin(OPERATOR, "host:1")
        async with asyncio.TaskGroup() as group:
            for each in (first, second):
                group.create_task(sessions_of(each).end(session))
        for each in (first, second):
            with pytest.raises(SessionEnded):
                sessions_of(each).read(text, "host:1")


async def test_what_has_expired_is_forgotten_and_so_many_are_remembered_at_most(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "MOST_SPENT", 2)
    async with following(bus.connection) as store:
        now, later = sessions_of(store), sessions_of(store, ahead=2 * LINK_SECONDS)
        for _ in range(2):
            await now.take_link(now.link(OPERATOR)[0])
        with pytest.raises(TooManySessionsEnded):
            await now.take_link(now.link(OPERATOR)[0])
        await later.take_link(later.link(OPERATOR)[0])
        await eventually(lambda: len(store.model.spent) == 1)
