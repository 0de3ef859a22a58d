import asyncio
import logging
import math
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from yarl import URL

from orchestrator.rules.location import Location
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.credentials.chain import Snapshot, load_snapshot
from orchestrator.s3.credentials.rotation import SPACING_SECONDS, CredentialSource
from shared.errors import CredentialsExpiring, CredentialsMissing, StorageUnavailable
from shared.protocol.signed_url import SignedUrl
from tests.instance_role import instance_role
from tests.servers import Keys, S3Server, aws_environment

KEYS = Keys("AKIDFROMCHAIN", "secret-from-chain")


def use_environment(patch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        patch.setenv(name, value)


def snapshot(*, life_seconds: float) -> Snapshot:
    now = datetime.now(UTC)
    until = now + timedelta(seconds=life_seconds)
    return Snapshot(access_key="A", secret_key="S", token=None, expires_at=until, loaded_at=now, source="test")


def dies_at(url: SignedUrl) -> datetime:
    query = parse_qs(urlsplit(url.url).query)
    signed_at = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return signed_at + timedelta(seconds=int(query["X-Amz-Expires"][0]))


def test_keys_of_the_environment_have_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    use_environment(monkeypatch, aws_environment(KEYS))
    found = load_snapshot()
    assert (found.access_key, found.secret_key, found.token) == (KEYS.access, KEYS.secret, None)
    assert (found.expires_at, found.source) == (None, "env")


def test_a_session_token_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    use_environment(monkeypatch, aws_environment(KEYS) | {"AWS_SESSION_TOKEN": "session-token"})
    assert load_snapshot().token == "session-token"


def write_credentials(path: Path, keys: Keys, profile: str = "default") -> None:
    path.write_text(f"[{profile}]\naws_access_key_id = {keys.access}\naws_secret_access_key = {keys.secret}\n")


def test_a_credentials_file_and_a_profile_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    write_credentials(path, KEYS, profile="tarpon")
    use_environment(monkeypatch, {"AWS_SHARED_CREDENTIALS_FILE": str(path), "AWS_PROFILE": "tarpon"})
    found = load_snapshot()
    assert (found.access_key, found.source) == (KEYS.access, "shared-credentials-file")


async def test_a_rotated_credentials_file_is_read_after_a_refusal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "credentials"
    write_credentials(path, Keys("OLD", "old"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    source = CredentialSource()
    assert (await source.usable(least_seconds=10)).access_key == "OLD"
    write_credentials(path, KEYS)
    assert (await source.usable(least_seconds=10)).access_key == "OLD"
    source.invalidate()
    assert (await source.usable(least_seconds=10)).access_key == "OLD"  # the file was read less than a second ago
    source._attempted_at = -math.inf
    assert (await source.usable(least_seconds=10)).access_key == KEYS.access


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({}, "AWS_ACCESS_KEY_ID is not set"),
        ({"AWS_ACCESS_KEY_ID": KEYS.access}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_PROFILE": "no-such-profile"}, "no-such-profile"),
    ],
)
def test_missing_credentials_are_told_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], word: str
) -> None:
    use_environment(monkeypatch, environment)
    with pytest.raises(CredentialsMissing) as caught:
        load_snapshot()
    assert word in caught.value.message
    assert caught.value.hint
    assert KEYS.access not in str(caught.value)
    assert caught.value.retryable


def test_what_a_failing_credential_process_prints_is_not_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho printed-secret >&2\nexit 1\n")
    program.chmod(0o700)
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    with pytest.raises(CredentialsMissing) as caught:
        load_snapshot()
    assert "the program of credential_process ended with exit code 1" in caught.value.message
    assert "printed-secret" not in "".join(traceback.format_exception(caught.value))


async def test_the_true_expiry_of_an_instance_role_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    async with instance_role(KEYS, life_seconds=20) as role:
        use_environment(monkeypatch, role.environment())
        found = await asyncio.to_thread(load_snapshot)
        assert found.source == "iam-role"
        assert found.expires_at == role.expirations[-1]
        assert found.token is None
        assert len(role.handed_out_at) == 1


async def test_no_url_outlives_the_role_that_signed_it_and_keys_are_renewed_in_time(
    monkeypatch: pytest.MonkeyPatch, s3_server: S3Server
) -> None:
    name = s3_server.create_bucket(prefix="results")
    settings = Location(bucket=name, key="results", region="us-east-1", endpoint=s3_server.endpoint)
    async with instance_role(s3_server.orchestrator, life_seconds=8) as role:
        use_environment(monkeypatch, role.environment())
        async with (
            asyncio.timeout(60),
            Bucket(settings) as bucket,
            aiohttp.ClientSession() as http,
            asyncio.TaskGroup() as group,
        ):
            run = group.create_task(bucket.run(), name="bucket")
            for count in range(1, 4):
                await role.handed_out(count)
                url = await bucket.sign_put("results/x", create_only=False)
                assert dies_at(url) < role.expirations[-1]
                assert 1 <= url.lifetime_seconds <= 8
                async with http.put(URL(url.url, encoded=True), data=b"x") as response:
                    assert response.status == 200
            run.cancel()
        times = role.handed_out_at
    assert all(later - earlier >= SPACING_SECONDS for earlier, later in pairwise(times))


async def test_many_signers_at_once_ask_the_service_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with instance_role(KEYS, life_seconds=30) as role:
        use_environment(monkeypatch, role.environment())
        source = CredentialSource()
        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(source.usable(least_seconds=5), name=f"signer-{number}")
        assert len(role.handed_out_at) == 1
        await source.usable(least_seconds=5)
        assert len(role.handed_out_at) == 1


async def test_keys_that_live_too_short_are_refused_after_the_service_was_asked_and_it_is_not_hammered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with instance_role(KEYS, life_seconds=3) as role:
        use_environment(monkeypatch, role.environment())
        source = CredentialSource()
        for _ in range(3):
            async with asyncio.TaskGroup() as group:
                for number in range(20):
                    group.create_task(refused(source), name=f"signer-{number}")
        times = role.handed_out_at
        assert len(times) == 3
        assert all(later - earlier >= SPACING_SECONDS for earlier, later in pairwise(times))


async def refused(source: CredentialSource) -> None:
    with pytest.raises(CredentialsExpiring):
        await source.usable(least_seconds=10)


async def test_while_the_service_is_away_the_living_keys_are_used_and_the_log_tells_it_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with instance_role(KEYS, life_seconds=60) as role:
        use_environment(monkeypatch, role.environment())
        source = CredentialSource()
        await source.usable(least_seconds=5)
        role.is_away = True
        for _ in range(2):
            with pytest.raises(StorageUnavailable):
                await source.usable(least_seconds=3600)
        source.invalidate()
        source._attempted_at = -math.inf
        assert (await source.usable(least_seconds=5)).access_key == KEYS.access
        role.is_away = False
    told = [record for record in caplog.records if record.name == "orchestrator.s3.credentials.rotation"]
    assert len(told) == 1
    assert KEYS.access not in caplog.text
    assert KEYS.secret not in caplog.text


async def test_signing_never_waits_while_keys_live() -> None:
    loads = 0

    def load() -> Snapshot:
        nonlocal loads
        loads += 1
        return snapshot(life_seconds=60)

    source = CredentialSource(load)
    await source.usable(least_seconds=5)
    signing = source.usable(least_seconds=5)
    with pytest.raises(StopIteration):  # it has ended without suspending once
        signing.send(None)
    assert loads == 1


async def test_a_cancelled_caller_leaves_the_load_to_the_next_one() -> None:
    entered, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    loads = 0

    def load() -> Snapshot:
        nonlocal loads
        loads += 1
        loop.call_soon_threadsafe(entered.set)
        release.wait()
        return snapshot(life_seconds=60)

    source = CredentialSource(load)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(source.usable(least_seconds=5), name="first")
        await entered.wait()
        first.cancel()
    assert source.snapshot is None
    release.set()
    assert (await source.usable(least_seconds=5)).access_key == "A"
    assert loads == 1


async def test_whoever_comes_at_the_very_end_of_a_load_has_its_keys() -> None:
    source = CredentialSource(lambda: snapshot(life_seconds=60))
    source._loading = asyncio.get_running_loop().create_future()
    source._loading.add_done_callback(source._on_loaded)
    source._loading.set_result(snapshot(life_seconds=60))
    assert (await source.usable(least_seconds=5)).access_key == "A"


async def test_a_failed_load_is_told_to_every_waiting_signer() -> None:
    def load() -> Snapshot:
        raise CredentialsMissing("none.")

    source = CredentialSource(load)
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            await source.usable(least_seconds=5)
    assert time.monotonic() - began >= SPACING_SECONDS
