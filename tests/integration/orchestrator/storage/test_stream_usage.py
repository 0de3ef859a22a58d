"""How full the streams are, and on how many servers, as NATS has it: on one server, and on three."""

import pytest

from orchestrator.storage.stream_usage import StreamUsage
from orchestrator.storage.streams import REPORTS_BYTES, STREAMS, set_up_streams
from orchestrator.telemetry.surroundings import stream_metrics
from shared.protocol import subjects
from shared.runtime.aio import background
from tests.nats_bus import Bus
from tests.waiting import eventually


async def test_streams_tell_their_bytes_limits_and_servers(any_bus: Bus) -> None:
    await set_up_streams(any_bus.jetstream, any_bus.replicas)
    await any_bus.jetstream.publish(f"$KV.{subjects.STATE_BUCKET}.filler", b"x" * 1000)
    usage = StreamUsage(any_bus.connection)
    async with background(usage=usage.run()):
        await eventually(lambda: set(usage.streams) == set(STREAMS), within=20, what="all streams are known")
    state, reports = usage.streams[STREAMS[0]], usage.streams[subjects.REPORTS_STREAM]
    assert state.bytes > 1000
    assert state.messages == 1
    assert (state.limit_bytes, reports.limit_bytes) == (0, REPORTS_BYTES)
    assert state.replicas == any_bus.replicas
    names = [metric.name for metric in stream_metrics(usage.streams)]
    assert "tarpon_stream_replicas_current" in names


async def test_a_stream_that_cannot_be_asked_about_is_not_told_as_it_was(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.storage.stream_usage.EVERY_SECONDS", 0.02)
    await set_up_streams(bus.jetstream, 1)
    usage = StreamUsage(bus.connection)
    async with background(usage=usage.run()):
        await eventually(lambda: set(usage.streams) == set(STREAMS), what="all streams are known")
        await bus.jetstream.delete_stream(STREAMS[0])
        await eventually(lambda: STREAMS[0] not in usage.streams, what="it is told no more")
