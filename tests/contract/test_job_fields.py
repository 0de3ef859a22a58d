"""The page of a job's fields has each, and what it says of one is what becomes of a job that has it."""

import re
import types
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
import yaml

from shared.data.decoding import decode
from shared.errors import InvalidInput, InvalidJob
from shared.jobs.rules import check, normalised
from shared.jobs.spec import Job
from tests.documents import text_of

PAGE = text_of("docs/job-fields.md")
ROW = re.compile(r"^\| `([^`]+)` \| `([^`]+)` \| (?:`(\w+)` \| )?.+\|$", re.MULTILINE)
SUPPORTED = [(field, example) for field, example, code in ROW.findall(PAGE) if not code]
REFUSED = [(field, example, code) for field, example, code in ROW.findall(PAGE) if code]
REFUSED_WHOLE = {"Tasks[0].Network.Domains", "Tasks[0].Network.Ports"}
WHOLE: dict[str, Any] = {
    "Name": "a-job",
    "Type": "batch",
    "Constraints": [{"Key": "zone", "Operator": "in", "Values": ["eu"]}],
    "Tasks": [
        {
            "Name": "main",
            "Engine": {"Type": "process", "Params": {"Entrypoint": ["/bin/true"]}},
            "Publisher": {"Type": "s3managed"},
            "InputSources": [
                {"Source": {"Type": "urlDownload", "Params": {"URL": "https://example.com/x"}}, "Target": "/in"}
            ],
            "ResultPaths": [{"Name": "results", "Path": "/results"}],
            "Secrets": [{"Name": "key", "Path": "/run/secrets/key"}],
            "FailOnExitCode": True,
            "Retries": {"Max": 1},
        }
    ],
}
BESIDE: dict[str, dict[str, Any]] = {
    "Needs[0].": {"Needs": [{"Job": "other"}]},
    "Schedule.": {"Schedule": {"Cron": "@daily"}},
    "Verification.": {
        "Verification": {"Replicas": 3},
        "Tasks": [{name: value for name, value in WHOLE["Tasks"][0].items() if name != "Retries"}],
    },
}
"""What has to be there for a field to mean something."""


def fields(kind: type[msgspec.Struct], path: str = "") -> Iterator[str]:
    """The paths of all fields of a job, those of the first entry where there may be several."""
    hints = get_type_hints(kind)
    for each in msgspec.structs.fields(kind):
        inner, is_many = _struct_in(hints[each.name])
        here = f"{path}{each.encode_name}{'[0]' if is_many and inner else ''}"
        yield from fields(inner, f"{here}.") if inner else [here]


def _struct_in(hint: Any) -> tuple[type[msgspec.Struct] | None, bool]:
    """The shape in this type, where there is one, and whether there may be several."""
    if get_origin(hint) in {Union, types.UnionType}:
        found = [_struct_in(each) for each in get_args(hint)]
        return next((each for each in found if each[0]), (None, False))
    if get_origin(hint) is tuple:
        return _struct_in(get_args(hint)[0])[0], True
    return (hint, False) if isinstance(hint, type) and issubclass(hint, msgspec.Struct) else (None, False)


def job_with(field: str, value: str) -> Job:
    document: dict[str, Any] = deepcopy(WHOLE) | next((more for at, more in BESIDE.items() if field.startswith(at)), {})
    *above, last = field.replace("[0]", ".0").split(".")
    place: Any = document
    for each in above:
        place = place[int(each)] if each == "0" else place.setdefault(each, {})
    place[last] = yaml.safe_load(value)
    return decode(document, Job, what="The job", unknown="refuse")[0]


def at(job: Job, field: str) -> Any:
    found: Any = msgspec.json.decode(msgspec.json.encode(job))
    for each in field.replace("[0]", ".0").split("."):
        found = found[int(each)] if each == "0" else found[each]
    return found


def test_each_field_has_its_row() -> None:
    known = set(fields(Job))
    assert {field for field, _ in SUPPORTED} == known - REFUSED_WHOLE
    assert known >= REFUSED_WHOLE
    for each in REFUSED_WHOLE:
        assert any(field == each or each.rpartition(".")[2] in example for field, example, _ in REFUSED)


@pytest.mark.parametrize(("field", "example"), SUPPORTED, ids=[field for field, _ in SUPPORTED])
def test_a_field_that_is_supported_is_taken_and_kept(field: str, example: str) -> None:
    job = normalised(job_with(field, example))
    check(job)
    assert at(job, field) == yaml.safe_load(example)


@pytest.mark.parametrize(("field", "example", "code"), REFUSED, ids=[f"{field}: {text}" for field, text, _ in REFUSED])
def test_a_field_that_is_refused_is_named_with_its_code(field: str, example: str, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(normalised(job_with(field, example)))
    assert refused.value.code == code
    assert isinstance(refused.value, InvalidJob)
    assert refused.value.problems[0].startswith(field)
