"""Where an input is looked for, by what its author and the orchestrator's operator have written."""

from typing import Any

import pytest

from orchestrator.inputs.allowed import MOST_REGIONS, Allowed
from orchestrator.inputs.problems import InputNotAllowed
from orchestrator.rules.location import Location
from shared.jobs.inputs.kinds import ManagedInputParams, S3InputParams

OWN = Location(bucket="results", key="tarpon", region="eu-west-1", endpoint="https://s3.example.com")
AT_AWS = Location(bucket="results", key="tarpon", region="eu-west-1")


def located(entry: str, managed: Location | None, **params: Any) -> tuple[str, str]:
    location = Allowed([entry], managed).location_of("default", S3InputParams(bucket="data", key="a/b", **params))
    assert (location.bucket, location.key) == ("data", "a/b")
    return location.endpoint, location.region


@pytest.mark.parametrize(
    ("entry", "managed", "params", "found"),
    [
        ("s3://data", OWN, {}, ("https://s3.example.com", "eu-west-1")),
        ("s3://data", OWN, {"region": "us-west-2"}, ("https://s3.example.com", "eu-west-1")),
        ("s3://data", OWN, {"endpoint": "https://S3.example.com/"}, ("https://s3.example.com", "eu-west-1")),
        ("s3://data?endpoint=aws", OWN, {}, ("", "us-east-1")),
        ("s3://data?endpoint=aws", OWN, {"region": "us-west-2"}, ("", "us-west-2")),
        ("s3://data?endpoint=aws&region=eu-north-1", OWN, {"region": "us-west-2"}, ("", "eu-north-1")),
        ("s3://data", AT_AWS, {}, ("", "eu-west-1")),
        ("s3://data", AT_AWS, {"region": "us-west-2"}, ("", "us-west-2")),
        ("s3://data", AT_AWS, {"region": "evil.example.com/"}, ("", "eu-west-1")),
        ("s3://data", None, {}, ("", "us-east-1")),
        ("s3://data?endpoint=https://other.example.com", AT_AWS, {}, ("https://other.example.com", "us-east-1")),
    ],
)
def test_a_bucket_is_reached_where_its_operator_says(
    entry: str, managed: Location | None, params: dict[str, str], found: tuple[str, str]
) -> None:
    assert located(entry, managed, **params) == found


@pytest.mark.parametrize(
    "endpoint", ["http://169.254.169.254", "https://evil.example.com", "https://s3.example.com:444"]
)
def test_no_service_is_asked_that_an_author_alone_has_named(endpoint: str) -> None:
    for managed in (OWN, AT_AWS, None):
        with pytest.raises(InputNotAllowed, match="Endpoint is not the one"):
            located("s3://data", managed, endpoint=endpoint)


def test_regions_that_are_made_up_are_bounded() -> None:
    allowed = Allowed(["s3://data"], AT_AWS)

    def region_of(region: str) -> str:
        return allowed.location_of("default", S3InputParams(bucket="data", key="a", region=region)).region

    made_up = [f"{chr(97 + number % 26)}{chr(97 + number // 26)}-east-1" for number in range(500)]
    assert len({region_of(each) for each in made_up}) == MOST_REGIONS + 1
    assert region_of(made_up[0]) == made_up[0]


def test_without_a_bucket_of_its_own_there_is_none_to_read_from() -> None:
    with pytest.raises(InputNotAllowed, match="no bucket of its own"):
        Allowed(["s3://data"], None).location_of("default", ManagedInputParams(key="a"))
