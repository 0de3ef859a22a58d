"""Keys of plain results: what lies beside a manifest, and what of a result may be called as something else is."""

import pytest

from shared.ids import ExecutionId, JobId
from shared.protocol.objects import (
    archive_of,
    content_manifest_key,
    is_of_results,
    is_plain,
    is_record_key,
    manifests_above,
    plain_folder,
    plain_key,
    prefix_of,
    record_key,
)

KEY = "results/namespaces/a/j-1/e-1.manifest.json.gz"


def test_the_manifest_is_where_the_archive_would_be_and_the_files_are_beside_it() -> None:
    assert plain_key("results/", "a", JobId("j-1"), ExecutionId("e-1")) == KEY
    assert (is_plain(KEY), plain_folder(KEY), prefix_of(KEY)) == (True, "results/namespaces/a/j-1/e-1/", "results")
    assert not is_plain("results/j-1/e-1.tar.gz")


def test_its_record_is_another_one_than_that_of_an_archive_and_leads_back_to_it() -> None:
    assert record_key(KEY) == "results/namespaces/a/j-1/e-1.manifest.result.json"
    assert archive_of(record_key(KEY)) == KEY
    assert archive_of(record_key("j-1/e-1.tar.gz")) == "j-1/e-1.tar.gz"
    assert is_of_results(KEY)


def test_the_manifest_of_an_archive_is_told_from_that_of_a_plain_result_and_leads_back_to_it() -> None:
    below = content_manifest_key("j-1/e-1.tar.gz")
    assert (below, is_plain(below), archive_of(below)) == ("j-1/e-1.content.json.gz", False, "j-1/e-1.tar.gz")
    assert content_manifest_key(KEY) == KEY


@pytest.mark.parametrize("name", ["a.tar.gz", "x/y.index.json.gz", "b.result.json", "c.manifest.json.gz"])
def test_a_file_belongs_to_the_manifest_above_it_whatever_it_is_called(name: str) -> None:
    assert KEY in set(manifests_above(f"results/namespaces/a/j-1/e-1/{name}"))
    assert KEY not in set(manifests_above(f"results/namespaces/a/j-1/e-2/{name}"))


@pytest.mark.parametrize(
    ("key", "is_record"),
    [
        ("results/j-1/e-1.result.json", True),
        ("results/j-1/e-1.manifest.result.json", True),
        ("results/namespaces/a/j-1/e-1.result.json", True),
        ("results/j-1/e-1/x.result.json", False),
        ("results/j-1/e-1/a/x.result.json", False),
        ("results/namespaces/a/j-1/e-1/x.result.json", False),
        ("results/j-1/e-1.tar.gz", False),
    ],
)
def test_a_file_of_a_result_is_no_record(key: str, *, is_record: bool) -> None:
    assert is_record_key(key, "results/") is is_record
