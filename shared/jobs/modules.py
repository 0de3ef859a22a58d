"""Modules of a task of the wasm engine: which inputs they are.

As in the reference a module is named by the Target of an input, or by a path below that of a folder; an input's Alias
will do as well. The reference's command line gives targets such as `main.wasm`, which begin at the root like others.
"""

import posixpath
from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec.structs import replace

from shared.errors import InvalidJob
from shared.jobs.engine_params import WasmParams, kind_of, read_params
from shared.jobs.spec import InputSource, Task

_NETWORKS = frozenset({"", "default", "none"})


class ModulePlace(NamedTuple):
    """The input that a module is, or is in: then `below` is its path there."""

    target: str
    below: str = ""


def place_of(name: str, sources: tuple[InputSource, ...]) -> ModulePlace | None:
    """None where no input is named so. An alias comes first."""
    if by_alias := next((each for each in sources if each.alias and each.alias == name), None):
        return ModulePlace(by_alias.target)
    path = from_root(name)
    for each in sources:
        target = from_root(each.target)
        if path == target:
            return ModulePlace(each.target)
        if path.startswith(f"{target}/"):
            return ModulePlace(each.target, path.removeprefix(f"{target}/"))
    return None


def from_root(path: str) -> str:
    return posixpath.normpath(f"/{path}").replace("//", "/")


def normalised_targets(task: Task) -> Task:
    """The task of this engine with targets and result paths that begin at the root, as a module itself sees them."""
    if kind_of(task.engine) is not WasmParams:
        return task
    inputs = [
        replace(each, target=from_root(each.target)) if each.target and not each.target.startswith("/") else each
        for each in task.input_sources
    ]
    return replace(task, input_sources=tuple(inputs))


def modules_problems(task: Task) -> Iterator[str]:
    """Each in a sentence that begins with the path of what is wrong. Nothing is said of another engine's task."""
    if kind_of(task.engine) is not WasmParams:
        return
    if task.network.type.lower() not in _NETWORKS:
        yield f"Tasks[0].Network.Type {task.network.type[:80]!r} is not possible: a WebAssembly module has no network."
    params = _known(task.engine.params)
    if params is None:
        return
    imported = (("ImportModules", each) for each in params.import_modules)
    for path, name in (("EntryModule", params.entry_module), *imported):
        if name and place_of(name, task.input_sources) is None:
            yield (
                f"Tasks[0].Engine.Params.{path} {name[:80]!r} is neither the Target nor the Alias of one of"
                " InputSources, nor below a Target: a module is an input of the task."
            )


def _known(params: dict[str, Any]) -> WasmParams | None:
    """None of parameters of which other problems are told."""
    try:
        return read_params(params, WasmParams)
    except InvalidJob:
        return None
