"""What becomes of data that was deleted or is too old, and of the contents that other data has too."""

import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from orchestrator.inputs.data_sweep import DataSweep
from orchestrator.inputs.manifests import Manifests
from orchestrator.rules.records import SweepRecord
from orchestrator.s3.locations import Locations
from shared.protocol import subjects
from shared.runtime.aio import background
from tests.integration.orchestrator.test_several_orchestrators import following
from tests.integration.running import Running, running_orchestrator
from tests.integration.sent_trees import SentTree
from tests.nats_bus import Bus
from tests.servers import S3Server
from tests.waiting import answered, eventually


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.inputs.data_sweep.TICK_SECONDS", 0.05)
    monkeypatch.setattr("orchestrator.inputs.data_sweep.GRACE_SECONDS", 0.3)
    monkeypatch.setattr("orchestrator.s3.probe.SPACING_SECONDS", 0.0)


@pytest.fixture
async def sweeping(running: Running, s3_server: S3Server) -> Running:
    """An orchestrator that may delete."""
    allow_deletion(running, s3_server)
    return running


def allow_deletion(running: Running, s3_server: S3Server) -> None:
    client, bucket = s3_server.client(), running.config.publishers.types.s3managed.bucket
    policy = json.loads(client.get_bucket_policy(Bucket=bucket)["Policy"])
    allowed = next(each for each in policy["Statement"] if each["Effect"] == "Allow")
    policy["Statement"].append(allowed | {"Action": ["s3:DeleteObject"]})
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def objects(running: Running, s3_server: S3Server) -> set[str]:
    """Their names below the folder of the inputs."""
    bucket = running.config.publishers.types.s3managed.bucket
    listed = s3_server.client().list_objects_v2(Bucket=bucket, Prefix="results/inputs/")
    return {each["Key"].rpartition("/")[2] for each in listed.get("Contents", [])}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def test_of_deleted_data_the_contents_go_that_no_other_data_has(sweeping: Running, s3_server: S3Server) -> None:
    one = SentTree(sweeping, {"a": b"only here", "b": b"shared"})
    other = SentTree(sweeping, {"b": b"shared"})
    await one.send_all("one")
    await other.send_all("other")
    assert objects(sweeping, s3_server) >= {digest(b"only here"), digest(b"shared")}
    await sweeping.api("/data/one", method="DELETE")
    left = {digest(b"shared"), other.digest}
    await eventually(lambda: objects(sweeping, s3_server) == left, within=20, what="the rest is swept")
    again = SentTree(sweeping, {"a": b"only here", "b": b"shared"})
    assert (await again.send_all("one"))["Ready"]
    assert again.sent == len(again.manifest) + len(b"only here")


async def test_data_that_is_being_sent_keeps_what_it_names(sweeping: Running, s3_server: S3Server) -> None:
    old = SentTree(sweeping, {"a": b"x", "b": b"y"})
    await old.send_all("old")
    new = SentTree(sweeping, {"b": b"y", "c": b"z"})
    begun = await new.begin()
    await new.send(begun["Manifest"], new.manifest)
    assert [each["SHA256"] for each in (await new.missing())["Missing"]] == [digest(b"z")]
    await sweeping.api("/data/old", method="DELETE")
    await eventually(lambda: digest(b"x") not in objects(sweeping, s3_server), within=20, what="it is swept")
    later = SentTree(sweeping, {"b": b"y", "c": b"z"})
    await later.send_all()
    assert later.sent == 1


async def test_what_is_not_sent_to_its_end_goes(
    sweeping: Running, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, half = SentTree(sweeping, {"a": b"whole"}), SentTree(sweeping, {"a": b"half"})
    await whole.send_all("whole")
    begun = await half.begin()
    await half.send(begun["Manifest"], half.manifest)
    monkeypatch.setattr("orchestrator.inputs.data_sweep.SENDING_SECONDS", 0.0)
    left = {digest(b"whole"), whole.digest}
    await eventually(lambda: objects(sweeping, s3_server) == left, within=20, what="what was not sent goes")
    assert [each["Names"] for each in (await sweeping.api("/data"))["Data"]] == [["whole"]]


async def test_what_no_job_has_used_for_too_long_goes(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ("Orchestrator.SentData.MaxAge=2s",)
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets) as running:
        allow_deletion(running, s3_server)
        data = await SentTree(running, {"a": b"old"}).send_all("old")
        assert data["ExpireTime"] == data["LastUse"] + 2 * 10**9
        await eventually(lambda: objects(running, s3_server) == set(), within=30, what="what is too old goes")
        assert (await running.api("/data"))["Data"] == []


async def test_data_that_a_job_reads_stays_until_its_end(sweeping: Running, s3_server: S3Server) -> None:
    tree = SentTree(sweeping, {"a": b"read"})
    await tree.send_all("in-use")
    engine = {"Type": "process", "Params": {"Entrypoint": ["true"]}}
    source = {"Source": {"Type": "upload", "Params": {"Data": "in-use"}}, "Target": "/in"}
    task = {"Name": "main", "Engine": engine, "InputSources": [source], "Timeouts": {"QueueTimeout": 600}}
    job = await sweeping.submit(Tasks=[task])
    other = SentTree(sweeping, {"a": b"other"})
    await other.send_all("other")
    for name in ("in-use", "other"):
        assert (await sweeping.api(f"/data/{name}", method="DELETE"))["Deleted"]
    await eventually(lambda: digest(b"other") not in objects(sweeping, s3_server), within=20, what="others go")
    assert {digest(b"read"), tree.digest} <= objects(sweeping, s3_server)
    await sweeping.api(f"/jobs/{job}", method="DELETE")
    await eventually(lambda: objects(sweeping, s3_server) == set(), within=20, what="it goes with the job")


async def test_the_mark_of_a_sweep_that_its_leader_did_not_end_goes(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.inputs.data_sweep.LATE_SECONDS", 0.1)
    key = subjects.SWEEP_RECORD
    async with following(bus.connection) as store, Locations(None) as locations:
        await store.create(key, SweepRecord(number=7, is_on=True))
        sweep = DataSweep(store.model, store, locations, Manifests(locations), max_age_ns=0)
        async with background(sweep=sweep.run()):
            ended = SweepRecord(number=7)
            await answered(lambda: store.read(key), lambda found: found == ended, within=20, what="the mark goes")


async def test_data_of_which_it_is_not_known_what_it_needs_keeps_nothing_of_other_namespaces(
    sweeping: Running, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.inputs.manifests.MOST_FILES_KEPT", 0)
    needed, stays = SentTree(sweeping, {"a": b"needed"}), SentTree(sweeping, {"a": b"stays"})
    await needed.send_all("needed")
    await stays.send_all("stays")
    bucket = sweeping.config.publishers.types.s3managed.bucket
    manifest = f"results/inputs/default/manifests/{needed.digest}"
    await asyncio.to_thread(s3_server.client().delete_object, Bucket=bucket, Key=manifest)
    await sweeping.api("/data/stays", method="DELETE")
    goes = SentTree(sweeping, {"a": b"goes"}, namespace="other")
    await goes.send_all("goes")
    await sweeping.api("/data/goes?namespace=other", method="DELETE")
    left = {digest(b"needed"), digest(b"stays"), stays.digest}
    await eventually(lambda: objects(sweeping, s3_server) == left, within=20, what="what is of others is swept")


async def test_without_the_right_to_delete_it_stays_until_there_is_one(
    running: Running, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("orchestrator.inputs.data_sweep.REFUSED_SECONDS", 0.2)
    tree = SentTree(running, {"a": b"stays"})
    await tree.send_all("stays")
    await running.api("/data/stays", method="DELETE")
    told = "Data that was deleted or is too old stays in the bucket"
    await eventually(lambda: told in caplog.text, within=20, what="the operator is told")
    assert "s3:DeleteObject" in caplog.text
    assert objects(running, s3_server) == {digest(b"stays"), tree.digest}
    assert (await running.api("/data"))["SizeBytes"] == 0
    allow_deletion(running, s3_server)
    await eventually(lambda: objects(running, s3_server) == set(), within=20, what="it is swept")
    assert caplog.text.count(told) == 1
