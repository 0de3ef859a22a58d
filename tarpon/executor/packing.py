"""A batch of calls as a folder that is sent to those who run them."""

import json
import sys
import sysconfig
import threading
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import cloudpickle

_INSTALLED = tuple({Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_registering = threading.Lock()
"""Whom cloudpickle packs by value is known to the whole process."""

PYTHON = sys.version_info[:2]
PROGRAM = "run_calls.py"


class PackedCall(NamedTuple):
    """A function and its arguments, by cloudpickle."""

    content: bytes


def packed(function: Callable[..., Any], arguments: Sequence[Any], named: dict[str, Any]) -> PackedCall:
    """What is of a module that was not installed travels with it, as no node has that. Installed ones are named alone.

    Raises what cannot be packed raises, such as TypeError for a lock.
    """
    own = _own_package(function)
    with _registering:
        is_new = own is not None and own.__name__ not in cloudpickle.list_registry_pickle_by_value()
        if is_new:
            cloudpickle.register_pickle_by_value(own)
        try:
            return PackedCall(cloudpickle.dumps((function, tuple(arguments), named)))
        finally:
            if is_new:
                cloudpickle.unregister_pickle_by_value(own)


def _own_package(function: Callable[..., Any]) -> ModuleType | None:
    """The outermost package of the function, or its module, where that is nowhere that programs are installed."""
    name = getattr(function, "__module__", None) or ""
    module = sys.modules.get(name.partition(".")[0]) or sys.modules.get(name)
    places = [getattr(sys.modules.get(name), "__file__", None) or "", *getattr(module, "__path__", ())]
    place = next((each for each in places if each), "")
    if module is None or not place or any(Path(place).is_relative_to(each) for each in _INSTALLED):
        return None
    return module


def write_batch(folder: Path, calls: Sequence[PackedCall], *, pickles: bool) -> None:
    """Program, calls and cloudpickle itself, so that a node needs Python alone. Blocks."""
    for each in files("tarpon.executor.remote").iterdir():
        if each.name in {PROGRAM, "values.py"}:
            (folder / each.name).write_bytes(each.read_bytes())
    library = folder / "cloudpickle"
    library.mkdir()
    for each in Path(str(cloudpickle.__file__)).parent.glob("*.py"):
        (library / each.name).write_bytes(each.read_bytes())
    told = {"python": list(PYTHON), "sizes": [len(call.content) for call in calls], "pickles": pickles}
    (folder / "calls.json").write_text(json.dumps(told), encoding="utf-8")
    with (folder / "calls.bin").open("wb") as file:
        file.writelines(call.content for call in calls)
