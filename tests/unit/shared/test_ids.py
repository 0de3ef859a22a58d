"""Ids are safe in subjects and keys, and the same decision always has the same one."""

import uuid
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InvalidId
from shared.ids import (
    ExecutionId,
    JobId,
    execution_id,
    execution_key,
    is_safe_id,
    job_id,
    new_execution_id,
    new_job_id,
    node_id,
    short,
)
from shared.protocol.objects import archive_key, prefix_of, probe_key

UNSAFE = ["", ".", "a.b", "*", ">", "a b", "a/b", "../a", "ü", "a\n", "\n", "a\0", "x" * 65, "a:b", "$SYS", "٣"]


@pytest.mark.parametrize("text", UNSAFE)
@pytest.mark.parametrize(("check", "kind"), [(job_id, "job"), (execution_id, "execution"), (node_id, "node")])
def test_what_could_add_a_token_a_wildcard_or_a_path_is_no_id(
    check: Callable[[str], str], kind: str, text: str
) -> None:
    with pytest.raises(InvalidId, match=f"cannot be the name of this {kind}"):
        check(text)


def test_ids_are_uuids_of_what_decides_them_or_random_ones() -> None:
    tarpon = uuid.UUID("6b1a3f0e-5c1d-5d7e-9a55-746172706f6e")
    named = uuid.uuid5(tarpon, "default\nü")
    assert new_job_id("ü", "default") == f"j-{named}"
    assert new_execution_id("j-1.1.0.0") == f"e-{uuid.uuid5(tarpon, 'j-1.1.0.0')}"
    found = uuid.UUID(new_job_id().removeprefix("j-"))
    assert (found.version, found.variant) == (4, uuid.RFC_4122)


def test_an_error_about_an_id_quotes_only_the_beginning_of_it() -> None:
    with pytest.raises(InvalidId) as caught:
        node_id("x" * 100_000)
    assert len(caught.value.message) < 120
    assert "1 to 64 characters" in caught.value.hint


@pytest.mark.parametrize("text", ["a", "A-Z_09", "x" * 64, "-", "j-6b1a3f0e-5c1d-5d7e-9a55-746172706f6e"])
def test_everything_else_is_an_id(text: str) -> None:
    assert [job_id(text), execution_id(text), node_id(text)] == [text] * 3


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=70))
def test_a_safe_id_is_one_token_and_one_part_of_a_path(text: str) -> None:
    if is_safe_id(text):
        assert text.isascii()
        assert not set(text) & set(".*>/ \\%?#\r\n\t\0")
        assert 1 <= len(text) <= 64


class TestJobIds:
    def test_without_a_token_each_is_new(self) -> None:
        made = {new_job_id() for _ in range(100)}
        assert len(made) == 100
        assert all(is_safe_id(each) and each.startswith("j-") for each in made)

    def test_a_token_decides_the_id_within_its_namespace(self) -> None:
        assert new_job_id("token", "default") == new_job_id("token", "default")
        assert len({new_job_id("token", "default"), new_job_id("token", "other"), new_job_id("other", "default")}) == 3
        assert is_safe_id(new_job_id("any text at all / . * > ü", "default"))

    def test_the_id_of_a_token_never_changes(self) -> None:
        """A submit may be repeated to an orchestrator of another version."""
        assert new_job_id("token", "default") == "j-4312fc1e-0c39-508a-b50f-90421d5437ce"


class TestExecutionIds:
    def test_a_decision_has_one_key_and_one_id(self) -> None:
        key = execution_key(JobId("j-1"), 2, 3, 4)
        assert key == "j-1.2.3.4"
        assert new_execution_id(key) == new_execution_id(key)
        assert is_safe_id(new_execution_id(key))

    def test_the_id_of_a_decision_never_changes(self) -> None:
        """Two orchestrators, possibly of two versions, must not name one execution differently."""
        assert new_execution_id("j-1.1.0.0") == "e-024ad0f2-5866-5737-9b0b-3913b81b4d1e"

    def test_other_decisions_have_other_ids(self) -> None:
        keys = {execution_key(JobId("j-1"), *numbers) for numbers in [(1, 1, 11), (1, 11, 1), (11, 1, 1), (1, 1, 1)]}
        assert len({new_execution_id(key) for key in keys}) == 4


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("j-6b1a3f0e-5c1d-5d7e-9a55-746172706f6e", "j-6b1a3f0e"),
        ("e-6b1a3f0e-5c1d-5d7e-9a55-746172706f6e", "e-6b1a3f0e"),
        ("node-of-mine-with-a-long-name", "node-of-mine-with-a-long-name"),
        ("", ""),
    ],
)
def test_people_read_the_beginning_of_a_generated_id(identifier: str, expected: str) -> None:
    assert short(identifier) == expected


@pytest.mark.parametrize(("prefix", "begins"), [("", ""), ("a/b", "a/b/"), ("a/b/", "a/b/"), ("/", "")])
def test_a_result_lies_under_its_prefix_by_job_and_execution(prefix: str, begins: str) -> None:
    key = archive_key(prefix, "default", JobId("j-1"), ExecutionId("e-1"))
    assert key == f"{begins}j-1/e-1.tar.gz"
    assert prefix_of(key) == prefix.removesuffix("/")
    assert probe_key(prefix) == f"{begins}.tarpon-probe"


@pytest.mark.parametrize(("prefix", "begins"), [("", ""), ("a/b/", "a/b/")])
def test_a_result_of_another_namespace_lies_in_a_folder_of_that(prefix: str, begins: str) -> None:
    key = archive_key(prefix, "team-a", JobId("j-1"), ExecutionId("e-1"))
    assert key == f"{begins}namespaces/team-a/j-1/e-1.tar.gz"
    assert prefix_of(key) == prefix.removesuffix("/")


def test_what_begins_with_the_folder_of_a_namespace_is_of_no_other() -> None:
    """A policy by prefix opens all that begins with it."""
    names = ["a", "a-b", "namespaces", "j-1"]
    folders = [archive_key("k", name, JobId(""), ExecutionId("")).removesuffix("/.tar.gz") for name in names]
    for folder in folders:
        others = [other for other in folders if other is not folder]
        assert not any(other.startswith(f"{folder}/") for other in others)
    assert not archive_key("k", "default", new_job_id(), ExecutionId("e-1")).startswith("k/namespaces/")


@pytest.mark.parametrize("key", ["", "object", "folder/object", "folder/"])
def test_a_key_that_is_none_of_an_archive_has_no_prefix(key: str) -> None:
    assert prefix_of(key) == ""
