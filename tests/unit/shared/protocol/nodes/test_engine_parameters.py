"""Parameters of an engine from outside are looked at by what nodes tell of them, which has bounds."""

from typing import Any

import msgspec
import pytest

from shared.jobs.engine_params import EngineParams
from shared.jobs.spec import SpecConfig
from shared.protocol.nodes.engine_parameters import (
    MAX_ENGINES,
    MAX_PARAMETERS,
    MOST_TOLD,
    ToldEngines,
    ToldParameter,
    told_of,
    told_problems,
)


class Params(EngineParams, frozen=True, kw_only=True, rename="pascal"):
    image: str
    words: tuple[str, ...] = ()
    nodes: int = 1
    shares: float = 1.0
    quiet: bool = False
    names: dict[str, str] = {}  # noqa: RUF012  # msgspec copies it
    others: dict[str, int] = {}  # noqa: RUF012  # as above


TOLD = told_of(Params)


def engine(**params: Any) -> SpecConfig:
    return SpecConfig(type="Outside", params=params)


def test_a_node_tells_names_kinds_and_what_is_required() -> None:
    assert [(each.name, each.kind, each.required) for each in TOLD] == [
        ("Image", "text", True),
        ("Words", "texts", False),
        ("Nodes", "whole number", False),
        ("Shares", "number", False),
        ("Quiet", "truth", False),
        ("Names", "texts by name", False),
        ("Others", "anything", False),
    ]


@pytest.mark.parametrize(
    "params",
    [
        {"Image": "a"},
        {"IMAGE": "a", "words": ["b", 1], "Nodes": "2", "shares": 1, "Quiet": None, "Names": {"a": "b"}},
        {"Image": "a", "Others": [1, {}]},
    ],
)
def test_what_fits_is_taken_as_that_of_any_engine(params: dict[str, Any]) -> None:
    assert told_problems(engine(**params), [TOLD]) == ()


def test_every_problem_is_told_with_its_path() -> None:
    assert told_problems(engine(Imgae="a", Words="b", Nodes=1.5), [TOLD]) == (
        "Engine.Params.Imgae is not known to the engine Outside; did you mean Image?",
        "Engine.Params.Image is missing",
        "Engine.Params.Nodes: expected a whole number, found a number with a fraction",
        "Engine.Params.Words: expected a list, found a text",
    )


def test_a_job_is_taken_if_one_of_the_nodes_would_take_it_and_where_none_tells_anything() -> None:
    newer = (*TOLD, ToldParameter(name="Later"))
    job = engine(Image="a", Later="b")
    assert told_problems(job, [TOLD])
    assert told_problems(job, [TOLD, newer]) == ()
    assert told_problems(engine(what="ever"), []) == ()


def test_a_kind_that_a_later_version_has_is_anything() -> None:
    assert told_problems(engine(a=[1]), [(ToldParameter(name="A", kind="matrix"),)]) == ()


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "\x1b[31m", "\x9b2J", "\u202eb"])
def test_a_name_by_which_no_parameter_can_be_called_is_left_out(name: str) -> None:
    told = (ToldParameter(name=name, required=True), ToldParameter(name="Image", required=True))
    assert told_problems(engine(Image="a"), [told]) == ()
    assert told_problems(engine(), [told]) == ("Engine.Params.Image is missing",)


def test_nodes_that_tell_too_many_different_things_are_not_believed() -> None:
    told = [(ToldParameter(name=f"P{number}", required=True),) for number in range(MOST_TOLD + 1)]
    assert told_problems(engine(), told[:-1]) == ("Engine.Params.P0 is missing",)
    assert told_problems(engine(), told) == ()


@pytest.mark.parametrize(
    "told",
    [
        {"a" * 65: []},
        {"a": [{"name": ""}]},
        {"a": [{"name": "b"}] * (MAX_PARAMETERS + 1)},
        {f"e{number}": [] for number in range(MAX_ENGINES + 1)},
    ],
)
def test_what_is_told_has_bounds(told: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(told, ToldEngines)
