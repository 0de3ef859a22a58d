"""Receivers hear of the ends of jobs, signed and under stable ids, whatever other receivers do."""

import secrets
from base64 import b64encode
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from shared.protocol.messages import ExecutionStarted, RunOutput, TaskEnded
from tests.integration.running import Running, running_orchestrator
from tests.servers import S3Server
from tests.waiting import eventually
from tests.webhook_receiver import WebhookReceiver

SECRET = f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"
ON_LOOPBACK = "Orchestrator.Webhooks.AllowedAddresses=127.0.0.0/8"


def sets(receivers: Sequence[WebhookReceiver], *more: str) -> tuple[str, ...]:
    urls = ",".join(each.url for each in receivers)
    return (f"Orchestrator.Webhooks.URLs={urls}", f"Orchestrator.Webhooks.Secret={SECRET}", *more)


async def run_to_the_end(running: Running, node_name: str = "a") -> str:
    """A job without a result."""
    async with running.node(node_name) as node:
        await node.register()
        task = {"Name": "main", "Engine": {"Type": "process", "Params": {"Entrypoint": ["true"]}}}
        job = await running.submit(Name="nightly", Tasks=[task])
        assignment = await node.accept_assignment()
        await node.report(
            assignment.execution_id, ExecutionStarted(), TaskEnded(output=RunOutput(exit_code=0), run_seconds=0.1)
        )
        await running.wait_state(job, "Completed")
    return job


async def test_the_end_of_a_job_is_told_once_with_what_it_was(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = WebhookReceiver(SECRET)
    async with (
        receiver.serving(),
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets([receiver], ON_LOOPBACK)) as running,
    ):
        job = await run_to_the_end(running)
        await eventually(lambda: receiver.seen, what="it is told")
        other = await run_to_the_end(running, "b")
        await eventually(lambda: len(receiver.seen) > 1, what="the other is told")
        told = (await running.ask("/metrics")).body.decode()
    assert receiver.ids == [f"{job}.1.completed", f"{other}.1.completed"]
    body = receiver.seen[0][1]
    assert (body["type"], body["data"]["JobID"], body["data"]["State"]) == ("job.completed", job, "Completed")
    assert (body["data"]["Name"], body["data"]["Namespace"]) == ("nightly", "default")
    assert 'tarpon_webhooks_total{outcome="delivered"} 2' in told


async def test_what_a_receiver_does_not_take_is_tried_again_under_the_same_id(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.webhooks.receiver.FIRST_PAUSE_SECONDS", 0.01)
    receiver = WebhookReceiver(SECRET, answers=lambda before: 503 if before < 3 else 200)
    async with (
        receiver.serving(),
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets([receiver], ON_LOOPBACK)) as running,
    ):
        job = await run_to_the_end(running)
        await eventually(lambda: len(receiver.seen) == 4, what="it is taken at last")
    assert set(receiver.ids) == {f"{job}.1.completed"}


async def test_a_receiver_that_hangs_holds_up_neither_another_one_nor_any_job(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, good = WebhookReceiver(SECRET, answers=lambda _: 0), WebhookReceiver(SECRET)
    async with AsyncExitStack() as stack:
        for each in (hanging, good):
            await stack.enter_async_context(each.serving())
        configured = sets([hanging, good], ON_LOOPBACK)
        running = await stack.enter_async_context(
            running_orchestrator(tmp_path, s3_server, monkeypatch, sets=configured)
        )
        jobs = [await run_to_the_end(running, name) for name in ("a", "b", "c")]
        await eventually(lambda: len(good.seen) == 3, what="the other has heard all")
    assert good.ids == [f"{job}.1.completed" for job in jobs]
    assert hanging.seen


async def test_an_address_that_is_not_allowed_is_not_asked(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = WebhookReceiver(SECRET)
    async with (
        receiver.serving(),
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets([receiver])) as running,
    ):
        await run_to_the_end(running)
        await eventually(
            lambda: "a loopback address, which Orchestrator.Webhooks" in caplog.text, what="it is told why"
        )
    assert receiver.seen == []
    assert "token-of-the-path" not in caplog.text


async def test_only_what_is_asked_for_is_told(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = WebhookReceiver(SECRET)
    configured = sets([receiver], ON_LOOPBACK, "Orchestrator.Webhooks.Events=job.failed,job.stopped")
    async with (
        receiver.serving(),
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=configured) as running,
    ):
        await run_to_the_end(running)
        stopped = await running.submit()
        await running.api(f"/jobs/{stopped}", method="DELETE")
        await eventually(lambda: receiver.seen, what="the stopped one is told")
    assert receiver.ids == [f"{stopped}.1.stopped"]
