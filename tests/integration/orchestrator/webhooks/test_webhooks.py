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


def sets(folder: Path, receivers: Sequence[WebhookReceiver], *more: str) -> tuple[str, ...]:
    urls, file = ",".join(each.url for each in receivers), folder / "webhooks.secret"
    file.touch(mode=0o600)
    file.write_text(SECRET)
    return (f"Orchestrator.Webhooks.URLs={urls}", f"Orchestrator.Webhooks.SecretFile={file}", *more)


async def run_to_the_end(running: Running, *names: str) -> list[str]:
    """Jobs of these names without a result, one after the other, on a node of their own."""
    jobs = []
    async with running.node(f"node-{names[0]}") as node:
        await node.register()
        for name in names:
            task = {"Name": "main", "Engine": {"Type": "process", "Params": {"Entrypoint": ["true"]}}}
            jobs.append(await running.submit(Name=name, Tasks=[task]))
            assignment = await node.accept_assignment()
            ended = TaskEnded(output=RunOutput(exit_code=0), run_seconds=0.1)
            await node.report(assignment.execution_id, ExecutionStarted(), ended)
            await running.wait_state(jobs[-1], "Completed")
    return jobs


async def test_the_end_of_a_job_is_told_once_with_what_it_was(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = WebhookReceiver(SECRET)
    async with (
        receiver.serving(),
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets(tmp_path, [receiver], ON_LOOPBACK)) as running,
    ):
        job, other = await run_to_the_end(running, "a", "b")
        await eventually(lambda: len(receiver.seen) > 1, what="both are told")
        told = (await running.ask("/metrics")).body.decode()
    assert receiver.ids == [f"{job}.1.completed", f"{other}.1.completed"]
    body = receiver.seen[0][1]
    assert (body["type"], body["data"]["JobID"], body["data"]["State"]) == ("job.completed", job, "Completed")
    assert (body["data"]["Name"], body["data"]["Namespace"]) == ("a", "default")
    assert 'tarpon_webhooks_total{outcome="delivered"} 2' in told


async def test_what_a_receiver_does_not_take_is_tried_again_under_the_same_id(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.webhooks.receiver.FIRST_PAUSE_SECONDS", 0.01)
    receiver = WebhookReceiver(SECRET, answers=lambda before: 503 if before < 3 else 200)
    async with (
        receiver.serving(),
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets(tmp_path, [receiver], ON_LOOPBACK)) as running,
    ):
        (job,) = await run_to_the_end(running, "a")
        await eventually(lambda: len(receiver.seen) == 4, what="it is taken at last")
    assert set(receiver.ids) == {f"{job}.1.completed"}


async def test_a_receiver_that_hangs_holds_up_neither_another_one_nor_any_job(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, good = WebhookReceiver(SECRET, answers=lambda _: 0), WebhookReceiver(SECRET)
    async with AsyncExitStack() as stack:
        for each in (hanging, good):
            await stack.enter_async_context(each.serving())
        configured = sets(tmp_path, [hanging, good], ON_LOOPBACK)
        running = await stack.enter_async_context(
            running_orchestrator(tmp_path, s3_server, monkeypatch, sets=configured)
        )
        jobs = await run_to_the_end(running, "a", "b", "c")
        await eventually(lambda: len(good.seen) == 3, what="the other has heard all")
    assert good.ids == [f"{job}.1.completed" for job in jobs]
    assert hanging.seen


async def test_an_address_that_is_not_allowed_is_not_asked(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = WebhookReceiver(SECRET)
    async with (
        receiver.serving(),
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets(tmp_path, [receiver])) as running,
    ):
        await run_to_the_end(running, "a")
        await eventually(
            lambda: "a loopback address, which Orchestrator.Webhooks" in caplog.text, what="it is told why"
        )
    assert receiver.seen == []
    assert "token-of-the-path" not in caplog.text


async def test_only_what_is_asked_for_is_told(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = WebhookReceiver(SECRET)
    configured = sets(tmp_path, [receiver], ON_LOOPBACK, "Orchestrator.Webhooks.Events=job.failed,job.stopped")
    async with (
        receiver.serving(),
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=configured) as running,
    ):
        await run_to_the_end(running, "a")
        stopped = await running.submit()
        await running.api(f"/jobs/{stopped}", method="DELETE")
        await eventually(lambda: receiver.seen, what="the stopped one is told")
    assert receiver.ids == [f"{stopped}.1.stopped"]


async def test_who_leads_next_begins_where_the_last_one_stopped(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = WebhookReceiver(SECRET)
    configured = sets(tmp_path, [receiver], ON_LOOPBACK)
    async with receiver.serving():
        async with running_orchestrator(tmp_path, s3_server, monkeypatch, sets=configured) as running:
            (first,) = await run_to_the_end(running, "a")
            await eventually(lambda: receiver.seen, what="the first is told")
        async with running_orchestrator(tmp_path, s3_server, monkeypatch, sets=configured) as running:
            (second,) = await run_to_the_end(running, "b")
            await eventually(lambda: f"{second}.1.completed" in receiver.ids, what="the second is told")
    assert receiver.ids == [f"{first}.1.completed", f"{second}.1.completed"]


async def test_what_ended_before_there_was_a_receiver_is_not_told(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = WebhookReceiver(SECRET)
    async with running_orchestrator(tmp_path, s3_server, monkeypatch) as running:
        await run_to_the_end(running, "a")
    async with (
        receiver.serving(),
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets(tmp_path, [receiver], ON_LOOPBACK)) as running,
    ):
        (second,) = await run_to_the_end(running, "b")
        await eventually(lambda: receiver.seen, what="the second is told")
    assert receiver.ids == [f"{second}.1.completed"]
