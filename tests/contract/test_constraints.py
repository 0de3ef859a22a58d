"""constraints.txt is what users of the checkout install by: names and releases alone, and all that is asked for."""

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.constraints_file import FILE, NOT_NEEDED, ROOT, render

PIN = re.compile(r"[a-z0-9][a-z0-9._-]*==[0-9][0-9a-z.]*( ; python_version [<>]=? \"3\.\d+\"( and .*)?)?")


def pins() -> list[Requirement]:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def asked_for() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"].values()
    extras = project["project"]["optional-dependencies"].values()
    named = [project["build-system"]["requires"], project["project"]["dependencies"], *extras, *groups]
    return [Requirement(each) for group in named for each in group if isinstance(each, str)]


def test_each_line_is_a_name_and_a_release() -> None:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("# ") and not PIN.fullmatch(line)] == []


def test_each_dependency_is_pinned_to_a_release_that_it_allows() -> None:
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins()}
    wanted = [each for each in asked_for() if each.name not in NOT_NEEDED]
    assert [each.name for each in wanted if canonicalize_name(each.name) not in pinned] == []
    assert [str(each) for each in wanted if pinned[canonicalize_name(each.name)] not in each.specifier] == []


def test_pip_itself_is_pinned() -> None:
    assert "pip" in {pin.name for pin in pins()}


def test_what_all_interpreters_take_has_one_line() -> None:
    assert render({(3, 11): {"a": "1", "pip": "9"}, (3, 12): {"a": "1"}}).splitlines()[1:] == ["a==1", "pip==9"]


def test_what_interpreters_take_in_different_releases_has_a_line_for_each_range() -> None:
    found = {(3, 11): {"a": "1"}, (3, 12): {"a": "2"}, (3, 13): {"a": "3"}, (3, 14): {"a": "3"}}
    assert render(found).splitlines()[1:] == [
        'a==1 ; python_version < "3.12"',
        'a==2 ; python_version >= "3.12" and python_version < "3.13"',
        'a==3 ; python_version >= "3.13"',
    ]


def test_what_the_checkout_or_the_interpreter_brings_is_left_out() -> None:
    assert render({(3, 11): {"tarpon-jobs": "0.1.0", "setuptools": "66"}}).splitlines()[1:] == []
