import pytest

from shared.errors import ConfigurationInvalid
from shared.settings.input_sources import ALLOW, PLAIN_TEXT, AllowedPlace, read_place
from shared.settings.loading import load


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("s3://data", AllowedPlace(bucket="data")),
        ("s3://data/a/b", AllowedPlace(bucket="data", prefix="a/b")),
        ("team-a=s3://data/a/", AllowedPlace(namespace="team-a", bucket="data", prefix="a/")),
        (
            " s3://data?endpoint=https://s3.example.com&region=eu-west-1 ",
            AllowedPlace(bucket="data", endpoint="https://s3.example.com", region="eu-west-1"),
        ),
        ("s3://data?endpoint=aws", AllowedPlace(bucket="data", endpoint="aws")),
        ("s3://data?endpoint=http://127.0.0.1:8333", AllowedPlace(bucket="data", endpoint="http://127.0.0.1:8333")),
    ],
)
def test_entries_are_read(text: str, place: AllowedPlace) -> None:
    assert read_place(text) == place


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("data", "is not written as"),
        ("a:s3://data", "is not written as"),
        ("a b=s3://data", "cannot be the name of a namespace"),
        ("s3://", "where the name of a bucket belongs"),
        ("s3://da ta", "where the name of a bucket belongs"),
        ("s3://data/a/../b", "a part that is"),
        ("s3://data?acl=x", "where endpoint and region are possible"),
        ("s3://data?region=eu_west", "the name of a region belongs"),
        ("s3://data?endpoint=ftp://x", "an endpoint that is not a URL"),
        ("s3://data?endpoint=https://user:word@x", "an endpoint that is not a URL"),
        ("s3://data?endpoint=http://s3.example.com", "use https://"),
    ],
)
def test_what_is_wrong_with_an_entry_is_told_with_the_setting(text: str, why: str) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        load(sets=[f"{ALLOW}=s3://fine,{text}"], env={"HOME": "/nowhere"}, default_file=False)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{ALLOW}: the entry 2 ")
    assert why in problem
    assert "word" not in problem


def test_an_endpoint_without_tls_is_taken_where_that_is_asked_for() -> None:
    entry = "s3://data?endpoint=http://s3.example.com"
    config = load(sets=[f"{ALLOW}={entry}", f"{PLAIN_TEXT}=true"], env={"HOME": "/nowhere"}, default_file=False).config
    assert config.input_sources.types.s3.allow == (entry,)


@pytest.mark.parametrize(
    ("prefix", "covered", "others"),
    [
        ("", ["", "a", "a/b"], []),
        ("a", ["a", "a/", "a/b"], ["", "ab", "ab/c", "b"]),
        ("a/", ["a/", "a/b"], ["a", "ab"]),
        ("a/b*", ["a/b", "a/bc", "a/b/c"], ["a/", "a/c"]),
    ],
)
def test_a_prefix_ends_where_a_part_of_a_key_does(prefix: str, covered: list[str], others: list[str]) -> None:
    place = AllowedPlace(bucket="data", prefix=prefix)
    assert [key for key in (*covered, *others) if place.covers(key)] == covered
