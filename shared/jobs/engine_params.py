"""Parameters of engines: what a job may say in `Engine.Params`, declared once for each engine that there is.

Command line and orchestrator look at a job by this before a node hears of it, and the node reads it by the same. Keys
may be in any case, a number where a text belongs is that text, and null is the same as leaving a key out; in a list it
is an empty text.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, ClassVar, NamedTuple, TypeVar

import msgspec

from shared.data.decoding import canonical, close_match, wrong_parts
from shared.errors import InvalidDocument, InvalidJob
from shared.jobs.spec import SpecConfig

P = TypeVar("P", bound="EngineParams")

DOCKER, PROCESS, WASM, NOOP = "docker", "process", "wasm", "noop"

MAX_IMAGE = 512
MAX_IMPORTS = 32
START = "_start"
"""The function that begins a WASI command."""
MAX_UNKNOWN = 10
"""How many unknown keys are told."""

_NAME = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?{_NAME}(?:/{_NAME})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@[A-Za-z][A-Za-z0-9+._-]*:[0-9a-fA-F]{32,128})?\Z"
)


class EngineParams(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", forbid_unknown_fields=True):
    """Of an engine that needs to be told nothing.

    What is asked of an engine by its name stands here too. Tasks in containers have a network and paths of their own;
    those that run `on_the_machine` see its own. Those of this engine see neither. Some `may_write` to folders of their
    node.
    """

    in_containers: ClassVar[bool] = False
    on_the_machine: ClassVar[bool] = False
    may_write: ClassVar[bool] = False

    def problems(self) -> Iterator[str]:
        """What is wrong although its types are right; each begins with the path below Params, or with a blank."""
        yield from ()


class CommandParams(EngineParams, frozen=True, kw_only=True, rename="pascal"):
    """A command: the words of `entrypoint` and then those of `parameters`."""

    entrypoint: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    environment_variables: tuple[str, ...] = ()
    working_directory: str = ""

    @property
    def command(self) -> list[str]:
        return [*self.entrypoint, *self.parameters]

    @property
    def variables(self) -> dict[str, str]:
        return variables_in(self.environment_variables)

    def problems(self) -> Iterator[str]:
        if "\0" in "".join((*self.command, *self.environment_variables, self.working_directory)):
            yield " holds a NUL character, which no command can have."
        yield from _variables_problems(self.environment_variables)


class ProcessParams(CommandParams, frozen=True, kw_only=True, rename="pascal"):
    on_the_machine: ClassVar[bool] = True

    def problems(self) -> Iterator[str]:
        if not self.command or not self.command[0]:
            yield " names no command; give Entrypoint or Parameters."
        yield from super().problems()
        if ".." in self.working_directory.split("/"):
            yield ".WorkingDirectory leaves the task's folder."


class DockerParams(CommandParams, frozen=True, kw_only=True, rename="pascal"):
    """Without an entrypoint the image's own is used, without either its own command."""

    in_containers: ClassVar[bool] = True
    may_write: ClassVar[bool] = True

    image: str = ""

    def problems(self) -> Iterator[str]:
        if not self.image:
            yield ".Image is missing."
        elif len(self.image) > MAX_IMAGE or not _IMAGE.match(self.image):
            yield f".Image: {self.image[:80]!r} is not the name of an image, such as busybox:1.37.0."
        yield from super().problems()
        folder = self.working_directory
        if folder and not PurePosixPath(folder).is_absolute():
            yield f".WorkingDirectory: {folder[:80]!r} is not an absolute path."


class WasmParams(EngineParams, frozen=True, kw_only=True, rename="pascal"):
    """A WebAssembly module: `entry_module` and `import_modules` name inputs, as shared/jobs/modules.py says.

    `entrypoint` is the function that is called, and `parameters` are what the module gets as its arguments.
    """

    may_write: ClassVar[bool] = True

    entry_module: str = ""
    entrypoint: str = START
    parameters: tuple[str, ...] = ()
    import_modules: tuple[str, ...] = ()
    environment_variables: tuple[str, ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        """In the order in which they are linked."""
        return (*self.import_modules, self.entry_module)

    @property
    def variables(self) -> dict[str, str]:
        return variables_in(self.environment_variables)

    def problems(self) -> Iterator[str]:
        if not self.entry_module:
            yield ".EntryModule is missing: the Target or Alias of the input that is the module."
        if not self.entrypoint:
            yield ".Entrypoint is empty; it is the name of a function, which is _start where none is given."
        if len(self.import_modules) > MAX_IMPORTS:
            yield f".ImportModules has {len(self.import_modules):,} entries; at most {MAX_IMPORTS} are possible."
        if "\0" in "".join((self.entrypoint, *self.parameters, *self.environment_variables)):
            yield " holds a NUL character, which no argument can have."
        yield from _variables_problems(self.environment_variables)


def variables_in(assignments: tuple[str, ...]) -> dict[str, str]:
    return dict(assignment.split("=", 1) for assignment in assignments)


def _variables_problems(assignments: tuple[str, ...]) -> Iterator[str]:
    for text in assignments:
        if not text.partition("=")[0] or "=" not in text:
            yield f".EnvironmentVariables: {text[:40]!r} is not NAME=value."


ENGINES: dict[str, type[EngineParams]] = {
    DOCKER: DockerParams,
    PROCESS: ProcessParams,
    WASM: WasmParams,
    NOOP: EngineParams,
}
ENGINE_NAMES = tuple(ENGINES)
_PATH = "Engine.Params"


class Looked(NamedTuple):
    """What a look at parameters finds: them in their normal form, and what is wrong."""

    params: dict[str, Any]
    problems: tuple[str, ...] = ()


@lru_cache(maxsize=256)
def _keys(kind: type[EngineParams]) -> frozenset[str]:
    """In small letters."""
    return frozenset(field.encode_name.lower() for field in msgspec.structs.fields(kind))


def look(engine: SpecConfig, kind: type[EngineParams] | None = None) -> Looked:
    """At an engine that is not known here, and of which no `kind` is given, nothing is looked at but nulls."""
    kind = kind or kind_of(engine)
    return Looked(without_nulls(engine.params)) if kind is None else _look(engine.params, kind)


def kind_of(engine: SpecConfig) -> type[EngineParams] | None:
    """What is declared of this engine; None of one that is not known here."""
    return ENGINES.get(engine.type) or ENGINES.get(engine.type.strip().lower())


def misspelt(engine: SpecConfig) -> str:
    """The engine that was probably meant by one that is not known here; empty where there is no such one."""
    return "" if not engine.type or kind_of(engine) is not None else close_match(engine.type.strip()[:80], ENGINE_NAMES)


def as_meant(engine: SpecConfig) -> SpecConfig:
    """The engine by its right name, so that its parameters can be looked at although its name is misspelt."""
    meant = misspelt(engine)
    return msgspec.structs.replace(engine, type=meant) if meant else engine


def _look(params: dict[str, Any], kind: type[EngineParams]) -> Looked:
    try:  # as programs write it
        plain = msgspec.convert(params, kind)
    except msgspec.ValidationError:
        return _look_closer(params, kind)
    return Looked(params, _told(plain))


def _look_closer(params: dict[str, Any], kind: type[EngineParams]) -> Looked:
    known = {key: _without_gaps(value) for key, value in params.items() if key.lower() in _keys(kind)}
    unknown = without_nulls({key: value for key, value in params.items() if key not in known})
    try:
        copy, _ = canonical(known, kind)
    except InvalidDocument as error:  # two keys that differ in case alone
        return Looked(params, (f"{_PATH}: {error.message}",))
    problems = tuple(wrong_parts(copy, kind, _PATH, strict=False))
    return Looked(copy | unknown, problems or _told(msgspec.convert(copy, kind, strict=False)))


def _without_gaps(value: Any) -> Any:
    """An argument of which nothing is left, as in a template without a value for it, is an empty one."""
    return ["" if item is None else item for item in value] if isinstance(value, list) else value


def _told(params: EngineParams) -> tuple[str, ...]:
    return tuple(f"{_PATH}{problem}" for problem in params.problems())


def unknown_told(engine: SpecConfig, verdict: str, kind: type[EngineParams] | None = None) -> Iterator[str]:
    """A sentence for each parameter that the engine does not know, with the one that was probably meant."""
    kind = kind or kind_of(engine)
    if kind is None or not engine.params:
        return
    unknown = [key for key, value in engine.params.items() if key.lower() not in _keys(kind) and value is not None]
    for key in unknown[:MAX_UNKNOWN]:
        meant = close_match(key[:80], (field.encode_name for field in msgspec.structs.fields(kind)))
        yield f"{_PATH}.{key[:80]} {verdict}" + (f"; did you mean {meant}?" if meant else "")
    if len(unknown) > MAX_UNKNOWN:
        yield f"{_PATH} has {len(unknown) - MAX_UNKNOWN:,} more parameters that are not known."


def read_params(params: Mapping[str, Any], kind: type[P]) -> P:
    """Raise InvalidJob, with every problem. Unknown keys are left alone: a newer program may know them."""
    known = {key: value for key, value in params.items() if key.lower() in _keys(kind)}
    try:  # as programs write it
        plain = msgspec.convert(known, kind)
    except msgspec.ValidationError:
        found = _look_closer(known, kind)
        if found.problems:
            raise InvalidJob(found.problems) from None
        return msgspec.convert(found.params, kind, strict=False)
    if problems := _told(plain):
        raise InvalidJob(problems)
    return plain


def without_nulls(params: dict[str, Any]) -> dict[str, Any]:
    """At every level, as programs in Go write null for whatever is absent. The very same where there are none."""
    return _without_nulls(params) if _has_null(params) else params


def _has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(item is None or _has_null(item) for item in value.values())
    return isinstance(value, list) and any(map(_has_null, value))


def _without_nulls(value: Any) -> Any:
    """Items of lists stay, because what they mean may be their place."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
