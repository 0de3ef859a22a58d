"""Webhooks outlive the orchestrator: what was not taken before it was killed comes afterwards, under the same id."""

import asyncio
import json
import secrets
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, Orchestrator
from tests.e2e.failover import noop_job
from tests.e2e.stack import Service, Stack, process_job, wait_until
from tests.e2e.test_documented_programs import _program
from tests.e2e.test_failover import has_completed
from tests.servers import HOST, S3Server, free_ports
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


class TellingCluster(Cluster):
    """Its orchestrators tell a receiver how jobs have ended."""

    def __init__(self, root: Path, s3: S3Server, receiver: WebhookReceiver) -> None:
        super().__init__(root, s3)
        self._receiver = receiver
        self._secret = root / "webhooks.secret"
        self._secret.touch(mode=0o600)
        self._secret.write_text(SECRET)

    def orchestrator_settings(self, name: str) -> dict[str, str]:
        return super().orchestrator_settings(name) | {
            "Orchestrator.Webhooks.URLs": self._receiver.url,
            "Orchestrator.Webhooks.SecretFile": str(self._secret),
            "Orchestrator.Webhooks.AllowedAddresses": "127.0.0.0/8",
        }

    def run(self, leader: Orchestrator) -> str:
        """A job to its end; the id of what a receiver is told of that."""
        job = leader.api("/orchestrator/jobs", {"Job": noop_job()}, "PUT")["JobID"]
        wait_until(partial(has_completed, leader, job), within=30, what="the job has completed")
        return f"{job}.1.completed"


async def test_what_a_leader_has_not_told_when_it_is_killed_the_next_one_tells_under_the_same_id(
    s3_server: S3Server, tmp_path: Path
) -> None:
    receiver = WebhookReceiver(SECRET)
    cluster = TellingCluster(tmp_path, s3_server, receiver)
    try:
        async with receiver.serving():
            await asyncio.to_thread(cluster.start, computes=1)
            leader = await asyncio.to_thread(cluster.wait_leader)
            ids = [await asyncio.to_thread(cluster.run, leader)]
            await eventually(lambda: receiver.ids == ids, what="the first is told")
            receiver.answers = lambda _: 0  # from now on it does not say whether it has taken anything
            ids += [await asyncio.to_thread(cluster.run, leader) for _ in range(3)]
            await eventually(lambda: ids[1] in receiver.ids, what="the next is on its way")
            leader.kill()
            before = len(receiver.seen)
            receiver.answers = lambda _: 204
            await eventually(lambda: set(ids[1:]) <= set(receiver.ids[before:]), within=60, what="all are told")
            assert await asyncio.to_thread(cluster.wait_leader) is not leader
    finally:
        await asyncio.to_thread(cluster.kill)
    assert set(receiver.ids) == set(ids)
    for event in ids:
        assert len({json.dumps(body) for told, body in receiver.seen if told == event}) == 1, "it says the same"


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
