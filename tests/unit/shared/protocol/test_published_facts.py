"""What a node tells of a result reaches the record and the user whole, and in bounds."""

from msgspec.structs import asdict, fields

from orchestrator.rules.records import VerifiedResult
from shared.protocol.messages import OutputPublished
from shared.protocol.published_facts import (
    MAX_DIGEST,
    MAX_WARNING,
    MAX_WARNINGS,
    PublishedFacts,
    PublishedParams,
    shown,
)
from shared.protocol.rest import ResultParams

FOR_PROGRAMS = {"md5", "index_bytes", "index_sha256", "manifest_bytes", "manifest_sha256"}
"""What `tarpon job describe` does not show."""
FACT = OutputPublished(
    size_bytes=1,
    md5="0" * 32,
    sha256="f" * 64,
    entries=2,
    raw_bytes=3,
    warnings=("a socket was left out",),
    warnings_count=4,
    publish_seconds=5.5,
    retries=6,
    renewals=7,
    archive_seconds=8.5,
    parts=9,
    index_bytes=10,
    index_sha256="e" * 64,
    left_out_count=11,
    content_digest="d" * 64,
    manifest_bytes=13,
    manifest_sha256="c" * 64,
    manifest_md5="1" * 32,
    provenance="{}",
    was_there=True,
    age_seconds=12.5,
)


def test_the_example_has_something_to_tell_in_each_field() -> None:
    assert [field.name for field in fields(FACT) if getattr(FACT, field.name) == field.default] == []


def test_the_record_has_all_that_the_report_tells() -> None:
    record = VerifiedResult(**FACT.told(), etag="e")
    assert {name: getattr(record, name) for name in PublishedFacts.__struct_fields__} == {
        name: value
        for name, value in asdict(FACT).items()
        if name not in {"was_there", "manifest_md5", "provenance", "age_seconds"}
    }


def test_users_are_shown_each_fact_that_is_not_for_programs_alone() -> None:
    told = {name: value for name, value in FACT.told().items() if name not in FOR_PROGRAMS}
    assert sorted(map(str, shown(FACT, PublishedParams).values())) == sorted(map(str, told.values()))


def test_an_execution_that_is_listed_shows_the_facts_under_their_own_names() -> None:
    others = ("job_id", "execution_id", "bucket", "key", "region", "endpoint", "etag")
    place = {name: f"the {name}" for name in others}
    assert asdict(PublishedParams.of(FACT, **place)) == place | {"encoding": "gzip"} | shown(FACT, PublishedParams)


def test_whoever_fetches_a_result_is_told_how_to_check_it() -> None:
    assert shown(FACT, ResultParams) == {
        "sha256": "f" * 64,
        "size": 1,
        "entries": 2,
        "raw_size": 3,
        "index_size": 10,
        "index_sha256": "e" * 64,
        "left_out_count": 11,
        "content_digest": "d" * 64,
        "manifest_size": 13,
        "manifest_sha256": "c" * 64,
    }


def test_what_a_node_tells_is_no_longer_than_it_may_be() -> None:
    much = PublishedFacts(size_bytes=1, sha256="f" * 10_000, warnings=("w" * 10_000,) * 1000)
    told = PublishedFacts(**much.told())
    assert told.sha256 == "f" * MAX_DIGEST
    assert told.warnings == ("w" * MAX_WARNING,) * MAX_WARNINGS
