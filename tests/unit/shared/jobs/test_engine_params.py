"""What may be said to an engine is declared once, and read in the same way wherever it is looked at."""

from typing import Any

import pytest

from shared.errors import InvalidJob
from shared.jobs.engine_params import (
    MAX_UNKNOWN,
    DockerParams,
    ProcessParams,
    look,
    read_params,
    unknown_told,
    without_nulls,
)
from shared.jobs.spec import SpecConfig


def docker(**params: Any) -> SpecConfig:
    return SpecConfig(type="docker", params={"Image": "busybox", **params})


@pytest.mark.parametrize(
    "params",
    [
        {"IMAGE": "busybox", "parameters": ["a", 1, 2.5], "EnvironmentVariables": None, "workingdirectory": "/w"},
        {"Image": "busybox", "Parameters": ["a", "1", "2.5"], "WorkingDirectory": "/w"},
    ],
)
def test_it_is_read_whatever_the_case_of_its_keys_and_without_nulls(params: dict[str, Any]) -> None:
    normal = {"Image": "busybox", "Parameters": ["a", "1", "2.5"], "WorkingDirectory": "/w"}
    assert look(SpecConfig(type=" Docker", params=params)) == (normal, ())
    read = read_params(params, DockerParams)
    assert (read.image, read.parameters, read.working_directory) == ("busybox", ("a", "1", "2.5"), "/w")


def test_nothing_in_a_list_is_an_empty_text() -> None:
    assert look(docker(Parameters=["--from", None])) == ({"Image": "busybox", "Parameters": ["--from", ""]}, ())
    assert read_params({"Image": "busybox", "Parameters": ["--from", None]}, DockerParams).parameters == ("--from", "")


def test_what_is_in_its_normal_form_stays_the_very_same() -> None:
    engine = docker(Entrypoint=["sh"])
    assert look(engine).params is engine.params
    assert without_nulls(engine.params) is engine.params


def test_what_is_not_known_is_kept_and_told_and_no_node_minds() -> None:
    engine = docker(Paramters=["a"], Nothing=None)
    assert look(engine).params == {"Image": "busybox", "Paramters": ["a"]}
    assert list(unknown_told(engine, "is not known")) == [
        "Engine.Params.Paramters is not known; did you mean Parameters?"
    ]
    assert read_params(engine.params, DockerParams).parameters == ()


def test_many_that_are_not_known_are_told_briefly() -> None:
    told = list(unknown_told(docker(**{f"x{number}": 1 for number in range(5000)}), "is not known"))
    assert len(told) == MAX_UNKNOWN + 1
    assert "4,990 more" in told[-1]


def test_the_engine_that_does_nothing_needs_to_be_told_nothing() -> None:
    assert list(unknown_told(SpecConfig(type="noop", params={"Seconds": 1}), "is not known")) == [
        "Engine.Params.Seconds is not known"
    ]


def test_an_engine_that_is_not_known_is_told_whatever_there_is() -> None:
    assert look(SpecConfig(type="other", params={"a": None, "b": {"c": None}})) == ({"b": {}}, ())


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({}, " names no command"),
        ({"Entrypoint": [""]}, " names no command"),
        ({"Entrypoint": ["true", "a\0b"]}, " holds a NUL character"),
        ({"Entrypoint": "true"}, ".Entrypoint: expected a list, found a text"),
        ({"Entrypoint": ["true"], "EnvironmentVariables": ["=x"]}, ".EnvironmentVariables: '=x' is not NAME=value"),
        ({"Entrypoint": ["true"], "WorkingDirectory": "a/../.."}, ".WorkingDirectory leaves the task's folder"),
        ({"Entrypoint": ["true"], "WorkingDirectory": False}, "expected a text, found false; write it in quotes"),
    ],
)
def test_what_cannot_be_run_is_told_with_its_place(params: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        read_params(params, ProcessParams)
    assert f"Engine.Params{told}" in caught.value.message or told in caught.value.message


@pytest.mark.parametrize(
    ("image", "is_one"),
    [("busybox", True), ("a.b:5000/c/d:1@sha256:" + "0" * 64, True), ("A b", False), ("x" * 600, False), ("-", False)],
)
def test_an_image_has_a_name_that_an_engine_takes(image: str, *, is_one: bool) -> None:
    assert (look(docker(Image=image)).problems == ()) is is_one


@pytest.mark.parametrize("kind", ["wasm", "docker"])
def test_nulls_are_left_out_at_every_level_also_of_what_is_not_known(kind: str) -> None:
    given = {"Modules": [{"Source": {"Params": None}, "Alias": "a"}, None], "More": {"Deep": {"Er": None}}, "No": None}
    assert look(SpecConfig(type=kind, params=given)).params == {
        "Modules": [{"Source": {}, "Alias": "a"}, None],
        "More": {"Deep": {}},
    }
