"""Modules of a run: found among its inputs, read once, and known by their digests."""

import hashlib
import os
import posixpath
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from compute.engines.engine import Broken, Run
from compute.engines.wasm.ends import invalid, too_large
from compute.engines.wasm.module_bytes import memories, problem
from shared.jobs.engine_params import WasmParams
from shared.jobs.modules import place_of

_WASM = ".wasm"


class ModuleRefused(Exception):
    """It is not run, and why."""

    def __init__(self, end: Broken) -> None:
        self.end = end
        super().__init__(end.detail)


@dataclass(frozen=True)
class SourceModule:
    """`path` is that of the file, `names` are those under which other modules import it."""

    name: str
    path: Path
    names: tuple[str, ...]
    content: bytes = field(repr=False)
    digest: str
    memories: int


def modules_of(run: Run, params: WasmParams, limit_bytes: int) -> list[SourceModule]:
    """Those that are imported, and last the one that is run. Blocks. Raises ModuleRefused, OSError."""
    return [_read(run, name, limit_bytes) for name in params.modules]


def _read(run: Run, name: str, limit_bytes: int) -> SourceModule:
    path = _file_of(run, name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ModuleRefused(invalid(name, f"cannot be read: {error.strerror}")) from error
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ModuleRefused(invalid(name, "is not a file"))
        if status.st_size > limit_bytes:
            raise ModuleRefused(too_large(name, status.st_size, limit_bytes))
        content = file.read(status.st_size)
    if why := problem(content):
        raise ModuleRefused(invalid(name, why))
    digest = hashlib.sha256(content).hexdigest()
    return SourceModule(name, path, tuple(_names(run, name)), content, digest, memories(content))


def _file_of(run: Run, name: str) -> Path:
    """Where it is on the machine. A folder with one module alone is that module, as in the reference."""
    place = place_of(name, run.task.input_sources)
    found = next((each.path for each in run.inputs if place is not None and each.target == place.target), None)
    if place is None or found is None:
        raise ModuleRefused(invalid(name, "is none of the task's inputs"))
    path = found / place.below
    if place.below or path.is_symlink():
        path = Path(os.path.realpath(path))
        if not path.is_relative_to(os.path.realpath(found)):
            raise ModuleRefused(invalid(name, "is a link that leaves its input"))
    try:
        inside = [each for each in path.iterdir() if each.suffix == _WASM] if path.is_dir() else [path]
    except OSError as error:
        raise ModuleRefused(invalid(name, f"cannot be read: {error.strerror}")) from error
    if len(inside) != 1:
        raise ModuleRefused(invalid(name, f"is a folder with {len(inside)} files *{_WASM}, and one alone would do"))
    return inside[0]


def _names(run: Run, name: str) -> Iterator[str]:
    """Compilers write the module's own name, and the reference wants paths."""
    place = place_of(name, run.task.input_sources)
    path = f"{place.target}/{place.below}".rstrip("/") if place else name
    file = posixpath.basename(path)
    yield from dict.fromkeys((name, path, path.lstrip("/"), file, file.removesuffix(_WASM)))
