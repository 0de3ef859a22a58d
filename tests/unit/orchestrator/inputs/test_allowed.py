"""What no input reads from the bucket of the managed publisher, however its key is written."""

import pytest

from orchestrator.inputs.allowed import Allowed
from orchestrator.inputs.problems import InputNotAllowed
from orchestrator.rules.location import Location
from shared.jobs.inputs.kinds import S3InputParams

JOB, EXECUTION = "j-" + "a" * 36, "e-" + "b" * 36
DIGEST = "c" * 64


def allowed(key: str = "") -> Allowed:
    return Allowed(["s3://bucket"], Location(bucket="bucket", key=key, region="us-east-1"))


@pytest.mark.parametrize("root", ["", "results"])
@pytest.mark.parametrize(
    "key",
    [
        f"{JOB}/{EXECUTION}.tar.gz",
        f"inputs/theirs/{DIGEST}",
        f"inputs/theirs/manifests/{DIGEST}",
        "namespaces/theirs/x",
    ],
)
def test_what_others_have_is_not_read_with_slashes_that_some_services_leave_out(root: str, key: str) -> None:
    place = f"{root}/{key}" if root else key
    for written in (place, f"/{place}", f"//{place}", place.replace("/", "//"), place.replace("/", "///", 1)):
        with pytest.raises(InputNotAllowed, match="results of jobs, or what was sent"):
            allowed(root).location_of("mine", S3InputParams(bucket="bucket", key=written))


@pytest.mark.parametrize("key", [f"inputs/theirs/{DIGEST}", f"inputs/theirs/listings/{DIGEST}-0011223344556677"])
def test_what_was_sent_where_earlier_settings_had_it_is_not_read(key: str) -> None:
    with pytest.raises(InputNotAllowed, match="results of jobs, or what was sent"):
        allowed("new").location_of("mine", S3InputParams(bucket="bucket", key=f"old/{key}"))


@pytest.mark.parametrize("key", ["data//a", "/data/a", f"inputs/mine/{DIGEST}", "inputs.csv"])
def test_other_objects_are_read_as_their_keys_are_written(key: str) -> None:
    assert allowed().location_of("mine", S3InputParams(bucket="bucket", key=key)).key == key
