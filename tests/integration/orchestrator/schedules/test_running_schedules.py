"""Schedules over whole orchestrators: by HTTP, by NATS, after a restart and a restore, and when a key is gone."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import tarpon
from orchestrator.backups.backup import restore, take_backup
from shared.errors import RemoteError
from shared.jobs.spec import JobView
from shared.runtime.local_socket import local_url
from tests.integration.running import Running, running_orchestrator
from tests.late_schedules import set_back
from tests.servers import HOST, S3Server
from tests.waiting import answered

ASKS = ("API.Auth.Anonymous=false",)
NOOP = {"Name": "main", "Engine": {"Type": "noop"}}
HOURLY = {"Name": "hourly", "Type": "batch", "Schedule": {"Cron": "0 * * * *"}, "Tasks": [NOOP]}


def operator(running: Running) -> tarpon.Client:
    return tarpon.Client(local_url(running.config.data_dir))


async def late(running: Running, schedule: str) -> None:
    """As if nobody had decided about it for three hours."""
    await set_back(running.config.data_dir, running.server, schedule)


async def runs_of(client: tarpon.Client, called: str, many: int) -> tuple[JobView, ...]:
    async def found() -> tuple[JobView, ...]:
        return (await client.list(labels=f"tarpon.schedule={called}", namespace="*")).items

    return await answered(found, lambda runs: len(runs) >= many, what=f"{many} runs have begun")


async def metrics_of(running: Running) -> dict[str, float]:
    answer = await running.ask("/metrics")
    families = text_string_to_metric_families(answer.body.decode())
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value for each in families for sample in each.samples
    }


async def test_a_schedule_goes_on_when_the_key_of_who_made_it_is_revoked(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=ASKS) as running,
        operator(running) as client,
    ):
        made = await client.create_user("maria", ["write:job", "read:job"], namespaces=["team-a"])
        async with tarpon.Client(HOST, running.config.api.port, api_key=made.key) as maria:
            schedule = (await maria.submit(HOURLY)).job_id
            await client.revoke_user("maria")
            with pytest.raises(RemoteError, match="was revoked"):
                await maria.run_schedule_now(schedule)
        await late(running, schedule)
        (run,) = await runs_of(client, "hourly", 1)
        assert run.namespace == "team-a"
        assert run.run_of
        assert (run.run_of.job_id, run.run_of.name) == (schedule, "hourly")
        status = (await client.get(schedule)).schedule_status
        assert status
        assert (status.begun, status.missed, len(status.next)) == (1, 2, 3)


async def test_a_restarted_orchestrator_makes_up_for_what_it_missed_and_counts_it(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False) as running:
        schedule = (await running.api("/jobs", {"Job": HOURLY}, "PUT"))["JobID"]
        assert (await metrics_of(running))["tarpon_schedules active"] == 1
        paused = await running.api(f"/jobs/{schedule}/schedule", {"Action": "pause"}, "PUT")
        assert paused == {"JobID": schedule, "Changed": True, "RunID": ""}
        await late(running, schedule)
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False) as running:
        assert (await metrics_of(running))["tarpon_schedules paused"] == 1
        async with operator(running) as client:
            assert (await client.get(schedule)).state.message.startswith("The schedule is paused since ")
            await client.resume_schedule(schedule)
            await late(running, schedule)
            await runs_of(client, "hourly", 1)
            found = await metrics_of(running)
            assert found["tarpon_scheduled_runs_total missed"] == 2
            assert found["tarpon_scheduled_runs_total begun"] == 1
            ended = await answered(
                lambda: metrics_of(running),
                lambda told: told["tarpon_scheduled_runs_ended_total Failed"] == 1,
                what="it is counted that the run fails, as there is no node",
            )
            assert ended["tarpon_schedule_late_seconds"] == 0


async def test_a_schedule_is_restored_from_a_backup_with_how_far_it_has_come(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_orchestrator(tmp_path / "one", s3_server, monkeypatch, publisher=False) as running:
        schedule = (await running.api("/jobs", {"Job": HOURLY}, "PUT"))["JobID"]
        await late(running, schedule)
        async with operator(running) as client:
            (before,) = await runs_of(client, "hourly", 1)
        config = running.config
    await take_backup(config, tmp_path / "state.backup", with_secrets=True, progress=lambda *_: None)
    await asyncio.to_thread((tmp_path / "one").rename, tmp_path / "lost")
    await restore(config, tmp_path / "state.backup", progress=lambda *_: None)
    async with (
        running_orchestrator(tmp_path / "one", s3_server, monkeypatch, publisher=False) as running,
        operator(running) as client,
    ):
        (after,) = await runs_of(client, "hourly", 1)
        assert (after.id, after.run_of) == (before.id, before.run_of)
        status: Any = (await client.get(schedule)).schedule_status
        assert (status.begun, status.missed, status.runs[0].job_id) == (1, 2, before.id)
