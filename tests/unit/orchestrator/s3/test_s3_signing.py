import logging
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import botocore.auth
import botocore.session
import pytest
from botocore.config import Config

from orchestrator.rules.location import Location
from orchestrator.s3.credentials.chain import Snapshot
from orchestrator.s3.credentials.rotation import refresh_due_seconds
from orchestrator.s3.signing import MAX_LIFETIME_SECONDS, UrlSigner, signers
from orchestrator.s3.verification import ObjectFacts, Verdict, matches
from shared.errors import ConfigurationInvalid, CredentialsExpiring

NOW = datetime(2026, 5, 17, 12, 30, 45, 600000, tzinfo=UTC)
MD5 = "5d41402abc4b2a76b9719d911017c592"
OTHER_MD5 = "7d793037a0760186574b0282f2f435e7"
EXPIRATION_SECONDS = 900


def facts(size_bytes: int, etag: str, *, is_encrypted: bool = False) -> ObjectFacts:
    return ObjectFacts(size_bytes=size_bytes, etag=etag, is_encrypted=is_encrypted)


@pytest.fixture(autouse=True)
def frozen_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: NOW.replace(tzinfo=None))


@pytest.fixture(autouse=True)
def one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading botocore's service models takes most of the time."""
    monkeypatch.setattr(botocore.session, "Session", botocore_session)


def keys(*, token: str | None = None, life_seconds: float | None = None, at: datetime | None = None) -> Snapshot:
    now = at or NOW
    return Snapshot(
        access_key="AKIDEXAMPLE",
        secret_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        token=token,
        expires_at=None if life_seconds is None else now + timedelta(seconds=life_seconds),
        loaded_at=now,
        source="env",
    )


@cache
def internal_signer(settings: Location) -> UrlSigner:
    return signers(settings, expiration_seconds=EXPIRATION_SECONDS).internal


NEW_SESSION = botocore.session.Session


@cache
def botocore_session() -> Any:
    return NEW_SESSION()


@cache
def botocore_client(settings: Location, with_keys: Snapshot) -> Any:
    style = "path" if settings.endpoint else "virtual"
    return botocore_session().create_client(
        "s3",
        region_name=settings.region,
        endpoint_url=settings.endpoint or None,
        aws_access_key_id=with_keys.access_key,
        aws_secret_access_key=with_keys.secret_key,
        aws_session_token=with_keys.token,
        config=Config(
            signature_version="s3v4", s3={"addressing_style": style, "us_east_1_regional_endpoint": "regional"}
        ),
    )


def botocore_url(settings: Location, with_keys: Snapshot, operation: str, key: str, **params: Any) -> str:
    client = botocore_client(settings, with_keys)
    wanted = {"Bucket": settings.bucket, "Key": key, **params}
    return str(client.generate_presigned_url(operation, Params=wanted, ExpiresIn=EXPIRATION_SECONDS))


@pytest.mark.parametrize(
    ("region", "bucket", "endpoint", "base"),
    [
        ("us-east-1", "results", "", "https://results.s3.us-east-1.amazonaws.com/"),
        ("eu-west-1", "results", "", "https://results.s3.eu-west-1.amazonaws.com/"),
        ("cn-north-1", "results", "", "https://results.s3.cn-north-1.amazonaws.com.cn/"),
        ("us-gov-west-1", "results", "", "https://results.s3.us-gov-west-1.amazonaws.com/"),
        ("us-east-1", "my.results", "", "https://s3.us-east-1.amazonaws.com/my.results/"),
        ("us-east-1", "results", "http://minio.local:9000", "http://minio.local:9000/results/"),
        ("auto", "results", "https://s3.example.com/base/", "https://s3.example.com/base/results/"),
    ],
)
def test_the_url_is_the_one_that_botocore_signs_in_the_same_second(
    region: str, bucket: str, endpoint: str, base: str
) -> None:
    settings = Location(bucket=bucket, region=region, endpoint=endpoint)
    signer = internal_signer(settings)
    assert signer.base_url == base
    for token in (None, "session/token+=="):
        signed = signer.sign("GET", "job/e.tar.gz", keys=keys(token=token), now=NOW)
        assert signed.url == botocore_url(settings, keys(token=token), "get_object", "job/e.tar.gz")
        assert "X-Amz-Signature=" in signed.url
    put = signer.sign("PUT", "job/e.tar.gz", keys=keys(), headers={"if-none-match": "*"}, now=NOW)
    assert put.url == botocore_url(settings, keys(), "put_object", "job/e.tar.gz", IfNoneMatch="*")
    assert put.headers == {"if-none-match": "*"}
    assert "X-Amz-SignedHeaders=host%3Bif-none-match" in put.url
    head = signer.sign("HEAD", "job/e.tar.gz", keys=keys(), now=NOW)
    assert head.url == botocore_url(settings, keys(), "head_object", "job/e.tar.gz")


@pytest.mark.parametrize(
    "key",
    [
        "a b",
        "ünïcode/日本",
        "~+=&",
        "(1)*!'",
        "a//b",
        "/leading",
        "per%20cent",
        "q?x=1#f",
        "a/../b",
        "trailing/",
        "@:$,;",
    ],
)
@pytest.mark.parametrize("endpoint", ["", "http://localhost:9000"])
def test_odd_keys_are_quoted_as_s3_wants(key: str, endpoint: str) -> None:
    settings = Location(bucket="results", region="eu-west-1", endpoint=endpoint)
    signed = internal_signer(settings).sign("GET", key, keys=keys(), now=NOW)
    assert signed.url == botocore_url(settings, keys(), "get_object", key)


def test_parts_of_a_multipart_upload_can_be_signed() -> None:
    settings = Location(bucket="results", region="eu-west-1")
    signed = internal_signer(settings).sign(
        "PUT", "job/e.tar.gz", keys=keys(), query={"uploadId": "an/id+==", "partNumber": "7"}, now=NOW
    )
    expected = botocore_url(settings, keys(), "upload_part", "job/e.tar.gz", UploadId="an/id+==", PartNumber=7)
    assert parse_qs(urlsplit(signed.url).query).keys() == parse_qs(urlsplit(expected).query).keys()
    assert sorted(signed.url.partition("?")[2].split("&")) == sorted(expected.partition("?")[2].split("&"))


def test_nodes_get_the_public_host_and_the_orchestrator_uses_its_own() -> None:
    settings = Location(
        bucket="results", region="us-east-1", endpoint="http://minio:9000", public_endpoint="https://s3.example.com"
    )
    internal, public = signers(settings)
    assert internal.base_url == "http://minio:9000/results/"
    assert public.base_url == "https://s3.example.com/results/"
    plain = signers(Location(bucket="results", region="us-east-1", endpoint="http://minio:9000"))
    assert plain.public == plain.internal


def test_only_the_own_settings_choose_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://elsewhere:2")
    signer, _ = signers(Location(bucket="results", region="us-east-1"))
    assert signer.base_url == "https://results.s3.us-east-1.amazonaws.com/"


@pytest.mark.parametrize(
    "settings",
    [
        Location(bucket="has space", region="us-east-1"),
        Location(bucket="results", region="not a region"),
        Location(bucket="results", region="us-east-1", endpoint="localhost:9000"),
        Location(bucket="results", region="us-east-1", endpoint="ftp://localhost"),
    ],
)
def test_settings_that_give_no_host_are_a_configuration_error(settings: Location) -> None:
    with pytest.raises(ConfigurationInvalid):
        internal_signer(settings)


def signer(max_lifetime_seconds: float) -> UrlSigner:
    return UrlSigner(base_url="http://s3/b/", region="r", max_lifetime_seconds=max_lifetime_seconds)


@pytest.mark.parametrize(
    ("configured", "life", "expected"),
    [
        (3600, None, 3600),
        (3600, 7200, 3600),
        (3600, 3600, 3598),
        (3600, 100.9, 98),
        (3600, 5, 3),
        (1.5, None, 1),
        (0.2, None, 1),
        (30 * 24 * 3600, None, MAX_LIFETIME_SECONDS),
    ],
)
def test_a_url_lives_no_longer_than_configured_or_than_its_keys(
    configured: float, life: float | None, expected: int
) -> None:
    assert signer(configured).lifetime_seconds(keys(life_seconds=life, at=NOW), now=NOW) == expected


@pytest.mark.parametrize("life", [4.9, 0, -100])
def test_keys_that_are_nearly_dead_sign_nothing(life: float) -> None:
    with pytest.raises(CredentialsExpiring) as caught:
        signer(3600).sign("GET", "k", keys=keys(life_seconds=life, at=datetime.now(UTC)))
    assert caught.value.retryable


def test_the_signed_lifetime_is_the_one_that_is_told() -> None:
    signed = signer(3600).sign("GET", "k", keys=keys(life_seconds=60, at=datetime.now(UTC)))
    assert parse_qs(urlsplit(signed.url).query)["X-Amz-Expires"] == [str(signed.lifetime_seconds)]
    assert 55 <= signed.lifetime_seconds <= 58


def test_neither_text_nor_log_shows_keys_or_a_signature(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = keys(token="TOKENVALUE", life_seconds=60, at=datetime.now(UTC))
    signed = internal_signer(Location(bucket="results", region="eu-west-1")).sign("GET", "k", keys=secret)
    shown = f"{secret!r} {secret} {signed!r} {signed} {caplog.text}"
    signature = parse_qs(urlsplit(signed.url).query)["X-Amz-Signature"][0]
    for hidden in (secret.access_key, secret.secret_key, "TOKENVALUE", signature):
        assert hidden not in shown


@pytest.mark.parametrize(
    ("life", "elapsed", "since_attempt", "due"),
    [
        (6 * 3600, 0, 0, 6 * 3600 - 900),  # the usual role: a quarter of an hour before the end
        (6 * 3600, 6 * 3600 - 600, 600, 0),
        (6 * 3600, 6 * 3600 - 600, 10, 50),  # the service had no new ones yet: not again within the minute
        (12, 0, 0, 6),  # short-lived: at half of its life
        (12, 8, 8, 0),
        (12, 8, 0.25, 0.75),  # never twice within a second
        (12, 13, 1, 5),  # dead: slowly, because nothing else can be done
    ],
)
def test_keys_are_renewed_in_time_and_never_in_a_hurry(
    life: float, elapsed: float, since_attempt: float, due: float
) -> None:
    now = NOW + timedelta(seconds=elapsed)
    found = refresh_due_seconds(keys(life_seconds=life, at=NOW), now=now, since_attempt=since_attempt)
    assert found == pytest.approx(due)


def test_keys_without_an_end_are_not_renewed_and_missing_ones_are_looked_for() -> None:
    assert refresh_due_seconds(keys(at=NOW), now=NOW, since_attempt=1e6) is None
    assert refresh_due_seconds(None, now=NOW, since_attempt=10) == pytest.approx(20)


@pytest.mark.parametrize(
    ("facts", "reported", "verdict"),
    [
        (facts(5, MD5), MD5, Verdict.VERIFIED),
        (facts(5, MD5), MD5.upper(), Verdict.VERIFIED),
        (facts(6, MD5), MD5, Verdict.MISMATCH),
        (facts(5, OTHER_MD5), MD5, Verdict.MISMATCH),
        (facts(5, OTHER_MD5, is_encrypted=True), MD5, Verdict.ETAG_OPAQUE),
        (facts(6, OTHER_MD5, is_encrypted=True), MD5, Verdict.MISMATCH),
        (facts(5, f"{MD5}-3"), MD5, Verdict.ETAG_OPAQUE),
        (facts(5, f"{MD5}-3"), f"{MD5}-3", Verdict.VERIFIED),
        (facts(5, f"{OTHER_MD5}-3"), f"{MD5}-3", Verdict.MISMATCH),
        (facts(5, "0x8DC"), MD5, Verdict.ETAG_OPAQUE),
        (facts(5, ""), MD5, Verdict.ETAG_OPAQUE),
        (facts(6, ""), MD5, Verdict.MISMATCH),
    ],
)
def test_an_object_is_what_was_reported_by_size_and_digest(facts: ObjectFacts, reported: str, verdict: Verdict) -> None:
    assert matches(facts, 5, reported) is verdict
