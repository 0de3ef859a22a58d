"""Webhooks outlive the orchestrator: what was not taken before a kill comes afterwards, and what was does not again."""

import asyncio
import secrets
from base64 import b64encode

from tests.e2e.stack import Stack, process_job
from tests.waiting import eventually
from tests.webhook_receiver import WebhookReceiver

SECRET = f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"


async def test_what_a_receiver_has_missed_comes_after_the_orchestrator_was_killed(stack: Stack) -> None:
    receiver, late = WebhookReceiver(SECRET), WebhookReceiver(SECRET)
    settings = {
        "Orchestrator_Webhooks_URLs": f"{receiver.url},{late.url}",
        "Orchestrator_Webhooks_SecretFile": str(stack.root / "webhooks.secret"),
        "Orchestrator_Webhooks_AllowedAddresses": "127.0.0.0/8",
    }
    (stack.root / "webhooks.secret").touch(mode=0o600)
    (stack.root / "webhooks.secret").write_text(SECRET)
    async with receiver.serving():
        orchestrator = await asyncio.to_thread(stack.start_orchestrator, **settings)
        await asyncio.to_thread(stack.start_compute, "node-a")
        first = await asyncio.to_thread(_run, stack)
        await eventually(lambda: receiver.seen, what="one has heard of it")
        async with late.serving():
            await eventually(lambda: late.seen, within=60, what="the other hears of it when it is there")
        second = await asyncio.to_thread(_run, stack)
        await eventually(lambda: len(receiver.seen) == 2, what="one has heard of the second")
        await asyncio.sleep(0)
        orchestrator.kill()
        orchestrator.start()
        async with late.serving():
            await eventually(lambda: len(set(late.ids)) == 2, within=60, what="the other hears of the second too")
    assert set(late.ids) == set(receiver.ids) == {f"{first}.1.completed", f"{second}.1.completed"}
    assert late.ids.count(f"{first}.1.completed") == 1, "what was taken long before is not sent again"
    (stack.root / "webhooks.secret").unlink()


def _run(stack: Stack) -> str:
    job = stack.submit(process_job("true"))
    stack.wait_ended(job)
    return job
