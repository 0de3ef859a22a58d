"""The schema of job files says of a file what the parser says, as far as a schema can."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from shared.data.json_schemas import schemas_of
from shared.jobs.engine_params import DockerParams, EngineParams, ProcessParams, WasmParams
from shared.jobs.publisher_params import ManagedParams
from shared.jobs.spec import Job
from tarpon.cli.job_files.checks import check_document
from tarpon.cli.job_files.schema import DESCRIPTIONS, job_schema
from tarpon.cli.job_files.template import filled
from tests.schema_file import FILE, content

ROOT = FILE.parents[1]
SCHEMA = jsonschema.Draft7Validator(job_schema())
TASK = {"Name": "main", "Engine": {"Type": "docker", "Params": {"Image": "busybox:1.37.0"}}}


def job(**changes: Any) -> dict[str, Any]:
    return {"Tasks": [TASK], **changes}


def with_task(**changes: Any) -> dict[str, Any]:
    return {"Tasks": [TASK | changes]}


def examples() -> Iterator[Path]:
    yield from (ROOT / "deploy" / "examples").glob("*.yaml")
    yield ROOT / "tests" / "fixtures" / "managed_publisher" / "job.yaml"


def test_the_schema_is_one_and_the_file_has_it() -> None:
    jsonschema.Draft7Validator.check_schema(job_schema())
    assert FILE.read_text(encoding="utf-8") == content(), "run `make docs`"


def test_every_key_is_described_and_no_other() -> None:
    types = (Job, EngineParams, ProcessParams, DockerParams, WasmParams, ManagedParams)
    _, known = schemas_of(types, ref_template="{name}")
    keys = {name: set(schema["properties"]) for name, schema in known.items()}
    assert {name: set(about) for name, about in DESCRIPTIONS.items()} == keys, (
        "describe it in tarpon/cli/job_files/schema.py"
    )
    assert all(text.endswith(".") for keys in DESCRIPTIONS.values() for text in keys.values())


@pytest.mark.parametrize("path", [*examples()], ids=lambda path: path.name)
def test_every_example_is_valid(path: Path) -> None:
    text = filled(path.read_text(), {"Name": "x", "Greeting": "Hello"}, what="the example")
    for document in yaml.safe_load_all(text):
        SCHEMA.validate(document)


@pytest.mark.parametrize(
    "document",
    [
        job(),
        job(Type="batch"),
        {"tasks": [TASK], "TYPE": "batch", "cOUNT": 3},
        job(Count="3"),
        job(Count=None, Labels=None, Constraints=None),
        job(Labels={"n": 1, "none": None}),
        job(Constraints=[{"Key": "zone", "Operator": "IN", "values": ["eu", 1]}]),
        with_task(Resources={"cpu": 0.5, "Memory": "512Mb", "gpu": 1}),
        with_task(Env={"PORT": 8080}),
        with_task(engine=None) | {"Tasks": [{"name": "main", "engine": {"type": "DOCKER", "params": {"image": "a"}}}]},
        with_task(Engine={"Type": "process", "Params": {"entrypoint": ["sh", 1], "WorkingDirectory": None}}),
        with_task(Engine={"Type": "noop"}),
        with_task(Publisher={"Type": "S3Managed", "Params": {"hardlinks": "Copy"}}),
        with_task(Publisher={"type": ""}),
        with_task(Timeouts={"ExecutionTimeout": "60"}),
    ],
)
def test_what_the_parser_takes_is_valid(document: dict[str, Any]) -> None:
    check_document(document, what="The job")
    SCHEMA.validate(document)


@pytest.mark.parametrize(
    "document",
    [
        job(Typ="batch"),
        job(Type="service"),
        job(Count=0),
        job(Count="many"),
        job(Labels=["a"]),
        job(Labels={"a": True}),
        with_task(Engine={"Type": "docker", "Params": {"Image": "a", "Imag": "b"}}),
        with_task(Engine={"type": "process", "params": {"entrypoint": "sh"}}),
        with_task(Resources={"CPU": {}}),
        with_task(ResultPaths=[{"Name": "a", "Folder": "b"}]),
        with_task(Name=""),
    ],
)
def test_what_the_parser_refuses_is_marked(document: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="is not valid"):
        check_document(document, what="The job")
    assert not SCHEMA.is_valid(document)


def test_several_jobs_are_valid_where_each_of_them_is() -> None:
    SCHEMA.validate({"Jobs": [job(Name="a"), job(Name="b", Needs=["a"]), job(needs=[{"job": "b", "ON": "Completed"}])]})
    assert not SCHEMA.is_valid({"jobs": [job(), job(Typ="batch")]})
    assert not SCHEMA.is_valid({"Jobs": [job()], "Name": "a"})
    assert not SCHEMA.is_valid({"Jobs": []})


def test_a_count_of_a_template_is_not_marked() -> None:
    SCHEMA.validate(job(Count="{{.Count}}"))
