"""What the author of a job may say to its publisher, and what holds where nothing is said."""

from typing import Any

import pytest
from msgspec.structs import replace

from orchestrator.rules.fleet import shape_of
from orchestrator.rules.job_defaults import completed
from shared.errors import InvalidJob
from shared.jobs.publisher_params import HardLinks, copies_hard_links, is_plain, look, unknown_told
from shared.jobs.rules import normalised
from shared.jobs.spec import Job, SpecConfig, Task
from shared.protocol.messages import COPIES_HARD_LINKS, PUBLISHES_PLAIN
from shared.settings.config import BatchDefaults, DefaultPublisher, DefaultPublisherParams, TaskDefaults

PARAMS = "Tasks[0].Publisher.Params"


def job(params: dict[str, Any] | None = None, publisher: str = "s3managed") -> Job:
    task = Task(name="main", engine=SpecConfig(type="noop"), publisher=SpecConfig(type=publisher, params=params or {}))
    return Job(type="batch", tasks=(task,))


def defaults(hard_links: HardLinks, publisher: str = "") -> BatchDefaults:
    given = DefaultPublisher(type=publisher, params=DefaultPublisherParams(hard_links=hard_links))
    return BatchDefaults(task=TaskDefaults(publisher=given))


def stored(given: Job, settings: BatchDefaults | None = None) -> SpecConfig:
    return completed(normalised(given), settings or BatchDefaults()).task.publisher


@pytest.mark.parametrize(
    ("given", "default", "copies"),
    [
        ({}, "keep", False),
        ({}, "copy", True),
        ({"HardLinks": "copy"}, "keep", True),
        ({"hardlinks": " Copy "}, "keep", True),
        ({"HardLinks": "keep"}, "copy", False),
        ({"HardLinks": None}, "copy", True),
        ({"HardLinks": ""}, "keep", False),
        ({"Bucket": "of another program"}, "copy", True),
    ],
)
def test_the_job_decides_and_else_the_setting(given: dict[str, Any], default: HardLinks, *, copies: bool) -> None:
    assert copies_hard_links(stored(job(given), defaults(default))) is copies


def test_the_publisher_that_a_job_has_by_default_has_the_parameters_by_default_too() -> None:
    assert stored(job(publisher=""), defaults("copy", "s3managed")).params == {"HardLinks": "copy"}


@pytest.mark.parametrize("publisher", ["", "noop"])
def test_a_job_that_publishes_nothing_has_no_parameters(publisher: str) -> None:
    assert stored(job(publisher=publisher), defaults("copy")).params == {}


def test_what_is_the_default_is_not_written_into_a_job() -> None:
    assert stored(job()).params == {}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"HardLinks": "symlink"}, f"{PARAMS}.HardLinks 'symlink' is neither keep nor copy."),
        ({"HardLinks": 1}, f"{PARAMS}.HardLinks '1' is neither keep nor copy."),
        ({"HardLinks": ["copy"]}, f"{PARAMS}.HardLinks: expected a text, found a list"),
        ({"HardLinks": "keep", "hardlinks": "copy"}, "is given twice, as keys that differ in case"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        stored(job(given))
    assert problem in refused.value.message


def test_what_is_not_known_is_told_with_what_was_probably_meant() -> None:
    given = SpecConfig(type="S3Managed", params={"HardLink": "copy", "Bucket": None})
    assert list(unknown_told(given)) == [
        "Publisher.Params.HardLink is not known and was ignored; did you mean HardLinks?"
    ]
    assert list(unknown_told(replace(given, type="noop"))) == []


def test_a_node_reads_what_an_orchestrator_of_an_earlier_version_passed_on_unread() -> None:
    assert copies_hard_links(SpecConfig(type="S3managed", params={"hardLinks": "COPY"}))
    assert not copies_hard_links(SpecConfig(type="s3managed", params={"hardLinks": {"not": "known"}}))
    assert not copies_hard_links(SpecConfig(type="ipfs", params={"HardLinks": "copy"}))


def test_a_job_that_wants_copies_is_another_shape() -> None:
    assert shape_of(job({"HardLinks": "copy"}), frozenset()).abilities == (COPIES_HARD_LINKS,)
    assert shape_of(job({"HardLinks": "keep"}), frozenset()) == shape_of(job(), frozenset())


@pytest.mark.parametrize(
    ("given", "plain"),
    [({}, False), ({"Encoding": "gzip"}, False), ({"encoding": " PLAIN "}, True), ({"Encoding": None}, False)],
)
def test_a_result_is_plain_where_its_job_says_so(given: dict[str, Any], *, plain: bool) -> None:
    publisher = stored(job(given))
    assert is_plain(publisher) is plain
    assert (PUBLISHES_PLAIN in shape_of(job(publisher.params), frozenset()).abilities) is plain


@pytest.mark.parametrize("encoding", ["zip", "tar", "plain,gzip", 7])
def test_another_encoding_is_refused_with_the_name_of_the_field(encoding: object) -> None:
    (problem,) = look(SpecConfig(type="s3managed", params={"Encoding": encoding})).problems
    assert problem.startswith("Publisher.Params.Encoding ")
