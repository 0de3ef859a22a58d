"""What an orchestrator says of its bucket in the log: each thing once."""

import logging

import pytest

from orchestrator.s3.probe import BucketHealth, ProbeOutcome


async def test_a_wrong_clock_that_s3_bears_with_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def probe() -> ProbeOutcome:
        return ProbeOutcome(ready=True, create_only=True, clock_skew_seconds=300.0)

    health = BucketHealth(probe, "s3://bucket", interval_seconds=1.0)
    for _ in range(2):
        await health.check()
    (told,) = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert told.startswith("The clock of this machine is wrong: ")
