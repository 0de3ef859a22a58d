"""Import names: `shared`, `compute` and `orchestrator` are taken by Tarpon, and by others too."""

import os
import sys
from importlib.util import find_spec
from itertools import pairwise

# Without pathlib, which takes longer to load than all else here, and each command waits for this.
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120


def leave_working_directory() -> None:
    """Import nothing from the working directory where this is `python -m tarpon`, which has Python look there first.

    The command `tarpon` does not look there either. A checkout that is not installed is left as it is.
    """
    if _is_the_program() and not sys.flags.safe_path and os.path.normpath(sys.path[0]) != _OURS:
        del sys.path[0]


def _is_the_program() -> bool:
    """Python calls itself `-m` while it looks for the module that it is to run, and imports the package of it."""
    modules = [module for option, module in pairwise(sys.orig_argv) if option == "-m"]
    return sys.argv[:1] == ["-m"] and modules[:1] != [] and modules[0].partition(".")[0] == "tarpon"


def require_ours(name: str) -> None:
    """Raises ImportError where Python finds another package by this name; that one is not imported for it."""
    if told := shadowed(name):
        raise ImportError(told, name="tarpon")


def shadowed(*names: str) -> str:
    """What another package has to do with the first of these names that it takes from us; empty where none does."""
    found = ((name, _elsewhere(name)) for name in names)
    return next((_told(name, theirs) for name, theirs in found if theirs), "")


def _elsewhere(name: str) -> str:
    """The file that Python takes for this package of ours, if it is another one."""
    try:
        spec = find_spec(name)
    except ValueError:  # made by a program, not found by Python
        return f"a module {name!r} that the program has made"
    if spec is None or not spec.has_location or spec.origin is None:
        return ""
    folder, ours = os.path.dirname(spec.origin), f"{_OURS}/{name}"  # noqa: PTH120
    return "" if folder == ours or os.path.realpath(folder) == os.path.realpath(ours) else spec.origin


def _told(name: str, theirs: str) -> str:
    return (
        f"Tarpon cannot import its own package {name!r} ({_OURS}/{name}), because Python finds {theirs} first: rename"
        " that one, or start Python so that it does not look there first (option -P, another folder or PYTHONPATH)."
    )
