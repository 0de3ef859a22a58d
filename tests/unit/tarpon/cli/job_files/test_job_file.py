"""What people write into job files, and what they are told when it is wrong."""

import io
import json
import sys
from pathlib import Path

import pytest

from shared.errors import InvalidDocument
from shared.jobs.needs import needs_of
from shared.jobs.spec import Constraint, Job, Need
from tarpon.cli.job_files.checks import check_file
from tarpon.cli.job_files.file import JobFile, parse_job, read_job, read_job_file

MANAGED = """
name: managed-publisher-job
type: batch
count: 1
tasks:
  - name: main
    engine:
      type: docker
      params:
        image: busybox:1.37.0
        entrypoint:
          - /bin/sh
        parameters:
          - -c
          - echo Hello, I was stored by Managed Publisher!
    publisher:
      type: s3managed
"""


def refusal(text: str) -> str:
    with pytest.raises(InvalidDocument) as caught:
        parse_job(text, what="The job file job.yaml")
    return caught.value.message


def test_the_documented_job_is_read_as_it_stands() -> None:
    job = parse_job(MANAGED)
    assert (job.name, job.type, job.count) == ("managed-publisher-job", "batch", 1)
    assert job.task.engine.params["image"] == "busybox:1.37.0"
    assert job.task.publisher.type == "s3managed"


def test_keys_may_be_written_in_any_case() -> None:
    assert parse_job("NAME: a\nType: batch\ntAsKs: [{eNGINE: {TYPE: noop}}]").task.engine.type == "noop"


def test_json_is_read_like_yaml() -> None:
    assert parse_job(json.dumps({"Name": "a", "Tasks": [{"Name": "main"}]})) == parse_job(
        "Name: a\nTasks:\n- Name: main"
    )


def test_numbers_are_taken_where_texts_belong() -> None:
    job = parse_job("Tasks:\n- Resources: {CPU: 0.5}\n  Env: {PORT: 8080}")
    assert job.task.resources.cpu == "0.5"
    assert job.task.env == {"PORT": "8080"}


def test_a_list_that_is_left_empty_counts_as_left_out() -> None:
    assert parse_job("Name: a\nConstraints:\n").constraints == ()


def test_constraints_keep_their_values() -> None:
    job = parse_job("Constraints: [{Key: region, Operator: in, Values: [a, b]}]")
    assert job.constraints == (Constraint(key="region", operator="in", values=("a", "b")),)


def test_an_unknown_key_is_refused_with_the_key_that_was_meant() -> None:
    assert refusal("Name: a\nTsks: []") == (
        "The job file job.yaml is not valid: Tsks is not known; did you mean Tasks?"
    )


def test_an_unknown_key_deep_down_is_named_with_its_path() -> None:
    assert "Tasks[1].Publisher.Tipe" in refusal("Tasks:\n- Name: a\n- Publisher: {Tipe: s3managed}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("FailOnExitCode: true", "FailOnExitCode is not known; does it belong below Tasks[0]?"),
        ("InputSources: []", "InputSources is not known; does it belong below Tasks[0]?"),
        ("Tasks: [{Name: a}, {Count: 2}]", "Tasks[1].Count is not known; does it belong to the top level?"),
        (
            "Tasks:\n- Engine:\n  Type: docker",
            "Tasks[0].Type is not known; does it belong below Tasks[0].Engine?",
        ),
        (
            "Tasks: [{Engine: {Image: a}}]",
            "Tasks[0].Engine.Image is not known; does it belong below Tasks[0].Engine.Params?",
        ),
    ],
)
def test_a_key_that_is_known_at_another_level_is_told_with_that(text: str, told: str) -> None:
    assert told in refusal(text)


@pytest.mark.parametrize(
    ("task", "told"),
    [
        ("Publisher: s3managed", "Tasks[0].Publisher: expected a mapping, found a text; write {Type: s3managed}"),
        (
            "Timeouts: {ExecutionTimeout: 5m}",
            "Tasks[0].Timeouts.ExecutionTimeout: expected a whole number of seconds, found a text",
        ),
    ],
)
def test_what_is_to_be_written_instead_is_told(task: str, told: str) -> None:
    assert told in refusal(f"Tasks: [{{Name: main, {task}}}]")


def test_fields_that_the_server_owns_are_unknown() -> None:
    assert "State" in refusal("Name: a\nState: {StateType: Completed}")


def test_a_wrong_type_is_told_with_its_path() -> None:
    message = refusal("Tasks:\n- Name: main\n  InputSources: nothing")
    assert "Tasks[0].InputSources: expected a list, found a text" in message


def test_all_problems_are_told_at_once() -> None:
    message = refusal("Nam: a\nCount: many\nTasks: [{Nme: b}]")
    assert all(part in message for part in ("Nam ", "Count", "Tasks[0].Nme"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n- b", "is a list"),
        ("just text", "is a single value"),
        ("", "is empty"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ("a: [1", "cannot be read at line"),
        ("!!python/object/apply:os.system ['true']", "not supported"),
    ],
)
def test_what_is_no_mapping_is_refused_in_words(text: str, told: str) -> None:
    assert told in refusal(text)


def test_a_dash_is_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Name: from-stdin")))
    assert read_job("-") == Job(name="from-stdin")


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument, match=r"nothing\.yaml does not exist"):
        read_job(str(tmp_path / "nothing.yaml"))


def test_a_directory_is_not_a_job(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument, match="cannot be read: Is a directory"):
        read_job(str(tmp_path))


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(b"Name: \xff\xfe")
    with pytest.raises(InvalidDocument, match="not UTF-8"):
        read_job(str(path))


# ---- several jobs ---------------------------------------------------------------------------------------------------


def in_file(folder: Path, text: str) -> JobFile:
    path = folder / "jobs.yaml"
    path.write_text(text)
    return read_job_file(str(path), lambda text, _: text.replace("{{.Name}}", "filled"))


JOB = "Tasks: [{Name: main, Engine: {Type: noop}}]"


@pytest.mark.parametrize(
    "text",
    [
        f"---\nName: a\n{JOB}\n---\nName: '{{{{.Name}}}}'\nNeeds: [a]\n{JOB}\n---\n",
        f"Jobs:\n- {{Name: a, {JOB}}}\n- {{Name: '{{{{.Name}}}}', Needs: [a], {JOB}}}",
        f"jobs: [{{name: a, {JOB}}}]\n---\nNAME: '{{{{.Name}}}}'\nneeds: [{{JOB: a}}]\n{JOB}",
    ],
    ids=["documents", "a list", "both"],
)
def test_a_file_may_hold_several_jobs(tmp_path: Path, text: str) -> None:
    first, second = check_file(in_file(tmp_path, text))
    assert (first.name, second.name) == ("a", "filled")
    assert needs_of(second) == (Need(job="a"),)


def test_anchors_are_those_of_their_own_document(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument, match="refers to nothing that ends before it"):
        in_file(tmp_path, "Meta: &all {a: b}\n---\nMeta: *all")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Name: a\n---\n- b\n", "Document 2 of The job file"),
        ("Jobs: [a]", "Jobs: expected a list of jobs."),
        ("Jobs: []", "Jobs: expected a list of jobs."),
        ("Jobs: [{Name: a}]\nName: b", "beside Jobs there may be nothing else, and 'Name' is."),
        (f"Name: a\n{JOB}\n---\nName: a\n{JOB}", "job 2 (a): job 1 has the same name."),
        (f"Name: a\nNeeds: [b]\n{JOB}\n---\nName: b\nNeeds: [a]\n{JOB}", "They need each other in a loop"),
        (f"Name: a\nNeeds: [a]\n{JOB}\n---\nName: b\n{JOB}", "job 1 (a): Needs[0]: the job cannot need itself."),
        (f"Name: a\nNeeds: [{{Job: b, On: complete}}]\n{JOB}", "Needs[0].On 'complete' is not known; did you mean"),
        (f"Name: a\nNeeds: {['b' + str(n) for n in range(257)]}\n{JOB}", "Needs has 257 entries; at most 256"),
    ],
)
def test_what_is_wrong_with_several_jobs_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        check_file(in_file(tmp_path, text))
    assert told in caught.value.message
