"""How a bucket is reached is said once: by the settings, and in each record."""

import pytest

from orchestrator.rules.location import Location
from orchestrator.s3.locations import location_of
from shared.settings.config import S3Managed

SETTINGS = S3Managed(
    bucket="results",
    key="mine/",
    region="eu-west-1",
    endpoint="https://s3.example.com",
    public_endpoint="https://public.example.com",
)


def test_a_location_has_all_that_the_settings_say_of_the_way_to_the_bucket() -> None:
    location = location_of(SETTINGS)
    assert {name: getattr(SETTINGS, name) for name in location.__struct_fields__} == {
        "bucket": "results",
        "key": "mine/",
        "region": "eu-west-1",
        "endpoint": "https://s3.example.com",
        "public_endpoint": "https://public.example.com",
    }
    assert location == Location(**{name: getattr(SETTINGS, name) for name in location.__struct_fields__})


def test_another_object_is_reached_in_the_same_way() -> None:
    location = location_of(SETTINGS)
    assert location.at("a").at(location.key) == location
    assert location.at("a") != location.at("b")


@pytest.mark.parametrize(
    ("bucket", "endpoint", "style"),
    [
        ("results", "", "virtual"),
        ("my.results", "", "path"),
        ("results", "http://minio:9000", "path"),
    ],
)
def test_the_bucket_is_in_the_host_only_where_aws_has_a_certificate_for_it(
    bucket: str, endpoint: str, style: str
) -> None:
    assert Location(bucket=bucket, region="us-east-1").finds_bucket_in(endpoint) == style


@pytest.mark.parametrize(("key", "below"), [("", ""), ("mine", "mine/"), ("mine/", "mine/")])
def test_policies_name_all_that_is_below_the_key(key: str, below: str) -> None:
    assert Location(bucket="b", key=key, region="r").resource == f"arn:aws:s3:::b/{below}*"
