"""A connection that cannot be closed in time harms nobody: a node of a busy machine must not end for it."""

import asyncio

import nats.errors
import pytest

from shared.messaging import transport
from shared.runtime.network_problems import REFUSED


async def test_a_client_that_does_not_close_in_time_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CLOSE_SECONDS", 0.01)
    ended = asyncio.Event()

    async def close() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await transport._put_away(close())
    assert ended.is_set()


async def test_what_closing_fails_with_is_told() -> None:
    async def close() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await transport._put_away(close())


def test_a_server_that_hangs_up_before_it_is_heard_does_not_take_back_what_it_said() -> None:
    connection = transport.Connection(["nats://a"], token="t")  # nobody's
    connection._explain(nats.errors.Error("nats: 'Authorization Violation'"))
    connection._explain(ConnectionResetError())
    assert (
        connection.problem == "NATS at nats://a:4222 is refused: wrong join token or secret, or no orchestrator ready"
    )
    connection._explain(ConnectionRefusedError())
    assert connection.problem == f"NATS at nats://a:4222 is not reachable: {REFUSED}"
