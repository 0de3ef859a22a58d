"""The lowest releases are those that pyproject.toml names, of everything that anybody installs."""

from typing import Any

from tests.lowest_file import render


def project(*dependencies: str, extras: tuple[str, ...] = (), group: tuple[Any, ...] = ()) -> dict[str, Any]:
    return {
        "build-system": {"requires": ["hatchling>=1.27"]},
        "project": {"dependencies": list(dependencies), "optional-dependencies": {"more": list(extras)}},
        "dependency-groups": {"test": list(group)},
    }


def test_each_floor_is_pinned_wherever_it_is_named() -> None:
    found = render(project("b>=1.2", extras=("a>=3", "own[more]"), group=("C_d>=4.5.6", {"include-group": "x"}, "e")))
    assert found == "a==3\nb==1.2\nc-d==4.5.6\nhatchling==1.27\n"


def test_what_is_named_twice_alike_has_one_line() -> None:
    assert render(project("hatchling>=1.27")) == "hatchling==1.27\n"


def test_what_is_pinned_already_and_has_extras_is_understood() -> None:
    assert render(project("a[x,y]==1.4.1")).splitlines()[0] == "a==1.4.1"


def test_a_floor_with_a_ceiling_is_the_floor() -> None:
    assert render(project("a>=1.5,<3")).splitlines()[0] == "a==1.5"
