"""A program finds whatever the client raises in tarpon.errors, under the name that the documents have."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from types import ModuleType

import pytest

import shared.errors
import tarpon
from shared.errors import TarponError
from tarpon import errors

NOT_FOR_PROGRAMS = (
    "tarpon.__main__",
    "tarpon.cli",
    "tarpon.devstack",
    "tarpon.devstack.seaweedfs",
    "tarpon.devstack.child_processes",
    "tarpon.devstack.dies_with_parent",
)


def client_modules() -> list[ModuleType]:
    names = [found.name for found in pkgutil.walk_packages(tarpon.__path__, "tarpon.")]
    return [importlib.import_module(name) for name in names if not name.startswith(NOT_FOR_PROGRAMS)]


MODULES = client_modules()
KNOWN = {
    name: kind
    for module in (shared.errors, *MODULES)
    for name, kind in vars(module).items()
    if inspect.isclass(kind) and issubclass(kind, TarponError)
}


def documented(module: ModuleType) -> set[str]:
    """The errors that docstrings of the module name."""
    parts = [module, *(each for each in vars(module).values() if getattr(each, "__module__", "") == module.__name__)]
    parts += [each for part in parts if inspect.isclass(part) for each in vars(part).values()]
    words = {word for part in parts for word in re.findall(r"\b[A-Z]\w+", inspect.getdoc(part) or "")}
    return words & set(KNOWN)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_each_error_that_the_client_raises_or_documents_is_public(module: ModuleType) -> None:
    used = {name for name in vars(module) if name in KNOWN} | documented(module)
    assert used - set(errors.__all__) == set()


def test_a_public_error_is_the_class_that_is_raised() -> None:
    assert {name: getattr(errors, name) for name in errors.__all__} == {name: KNOWN[name] for name in errors.__all__}


def test_every_public_error_stands_in_the_tree_that_is_shown() -> None:
    shown = set(re.findall(r"\b[A-Z]\w+", (errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0]))
    assert set(errors.__all__) <= shown


def test_errors_are_found_without_an_import_of_their_own() -> None:
    code = "import tarpon; print(tarpon.errors.TarponError.__name__, tarpon.notebook.show.__name__)"
    done = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "TarponError show\n"
