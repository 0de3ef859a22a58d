"""Webhooks outlive the orchestrator: what was not taken before it was killed comes afterwards, under the same id."""

import asyncio
import secrets
import sys
import urllib.error
import urllib.request
from base64 import b64encode

import pytest

from tests.e2e.stack import Service, Stack, process_job, wait_until
from tests.e2e.test_documented_programs import _program
from tests.servers import HOST, free_ports
from tests.waiting import eventually
from tests.webhook_receiver import WebhookReceiver

SECRET = f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"


async def test_what_a_receiver_has_missed_comes_after_the_orchestrator_was_killed(stack: Stack) -> None:
    receiver, late = WebhookReceiver(SECRET), WebhookReceiver(SECRET)
    (stack.root / "webhooks.secret").touch(mode=0o600)
    (stack.root / "webhooks.secret").write_text(SECRET)
    async with receiver.serving():
        orchestrator = await asyncio.to_thread(
            stack.start_orchestrator,
            Orchestrator_Webhooks_URLs=f"{receiver.url},{late.url}",
            Orchestrator_Webhooks_SecretFile=str(stack.root / "webhooks.secret"),
            Orchestrator_Webhooks_AllowedAddresses="127.0.0.0/8",
        )
        await asyncio.to_thread(stack.start_compute, "node-a")
        first = await asyncio.to_thread(_run, stack)
        await eventually(lambda: receiver.seen, what="one has heard of it")
        async with late.serving():
            await eventually(lambda: late.seen, within=60, what="the other hears of it when it is there")
        second = await asyncio.to_thread(_run, stack)
        await eventually(lambda: len(receiver.seen) == 2, what="one has heard of the second")
        orchestrator.kill()
        orchestrator.start()
        async with late.serving():
            await eventually(lambda: len(set(late.ids)) == 2, within=60, what="the other hears of the second too")
    assert set(late.ids) == set(receiver.ids) == {f"{first}.1.completed", f"{second}.1.completed"}
    (stack.root / "webhooks.secret").unlink()


def _run(stack: Stack) -> str:
    job = stack.submit(process_job("true"))
    stack.wait_ended(job)
    return job


def test_the_documented_receiver_takes_what_is_ours_and_nothing_else(stack: Stack) -> None:
    (port,) = free_ports(1)
    secret = stack.root / "webhooks.secret"
    secret.touch(mode=0o600)
    secret.write_text(SECRET)
    receiver = Service(
        [sys.executable, "-c", _program("webhook-signature").replace("8000", str(port))],
        {"WEBHOOK_SECRET": SECRET},
        stack.root / "receiver-output",
    )
    receiver.start()
    try:
        stack.start_orchestrator(
            Orchestrator_Webhooks_URLs=f"http://{HOST}:{port}/hooks",
            Orchestrator_Webhooks_SecretFile=str(secret),
            Orchestrator_Webhooks_AllowedAddresses=HOST,
        )
        stack.start_compute("node-a")
        stack.wait_ended(stack.submit(process_job("exit 3") | {"Name": "nightly"}))
        wait_until(lambda: "job.completed nightly {'3': 1}" in receiver.text(), within=30, what="it is told")
        request = urllib.request.Request(
            f"http://{HOST}:{port}/hooks",
            b"{}",
            {"webhook-id": "e", "webhook-timestamp": "1", "webhook-signature": "v1,bm9uZQ=="},
        )
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(request, timeout=10)
    finally:
        receiver.kill()
        secret.unlink()
