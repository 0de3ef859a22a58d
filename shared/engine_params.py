"""What the author of a job may say to its engine: `Engine.Params`, declared once for each engine that there is.

Command line and orchestrator look at a job by this before a node hears of it, and the node reads it by the same. Keys
may be in any case, a number where a text belongs is that text, and null is the same as leaving a key out.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple, TypeVar

import msgspec

from shared.decoding import canonical, close_match, read_plain, wrong_parts
from shared.errors import InvalidDocument, InvalidJob
from shared.jobspec import SpecConfig

P = TypeVar("P", bound="EngineParams")

MAX_IMAGE = 512
MAX_UNKNOWN = 10
"""How many unknown keys are told."""

_NAME = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?{_NAME}(?:/{_NAME})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@[A-Za-z][A-Za-z0-9+._-]*:[0-9a-fA-F]{32,128})?\Z"
)


class EngineParams(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Of an engine that needs to be told nothing."""

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
        return dict(assignment.split("=", 1) for assignment in self.environment_variables)

    def problems(self) -> Iterator[str]:
        if any("\0" in text for text in (*self.command, *self.environment_variables, self.working_directory)):
            yield " holds a NUL character, which no command can have."
        for text in self.environment_variables:
            if not text.partition("=")[0] or "=" not in text:
                yield f".EnvironmentVariables: {text[:40]!r} is not NAME=value."


class ProcessParams(CommandParams, frozen=True, kw_only=True, rename="pascal"):
    def problems(self) -> Iterator[str]:
        if not self.command or not self.command[0]:
            yield " names no command; give Entrypoint or Parameters."
        yield from super().problems()
        if ".." in PurePosixPath(self.working_directory).parts:
            yield ".WorkingDirectory leaves the task's folder."


class DockerParams(CommandParams, frozen=True, kw_only=True, rename="pascal"):
    """Without an entrypoint the image's own is used, without either its own command."""

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


ENGINES: dict[str, type[EngineParams]] = {"docker": DockerParams, "process": ProcessParams, "noop": EngineParams}
ENGINE_NAMES = ("docker", "process", "wasm", "noop")
"""Also of the one that is to come."""
_PATH = "Engine.Params"


class Looked(NamedTuple):
    """What a look at parameters finds: them in their normal form, what is wrong, and the keys that nobody knows."""

    params: dict[str, Any]
    problems: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def look(engine: SpecConfig) -> Looked:
    """At an engine that is not known here nothing is looked at but nulls."""
    kind = ENGINES.get(engine.type.strip().lower())
    if kind is None:
        return Looked(without_nulls(engine.params))
    return _look(engine.params, kind)


def _look(params: dict[str, Any], kind: type[EngineParams]) -> Looked:
    plain = read_plain(params, kind)
    if plain is not None:
        return Looked(params, tuple(f"{_PATH}{problem}" for problem in plain.problems()))
    names = {field.encode_name.lower() for field in msgspec.structs.fields(kind)}
    unknown = {key: value for key, value in params.items() if key.lower() not in names and value is not None}
    try:
        copy, _ = canonical({key: value for key, value in params.items() if key.lower() in names}, kind)
    except InvalidDocument as error:  # two keys that differ in case alone
        return Looked(params, (f"{_PATH}: {error.message}",), tuple(unknown))
    problems = wrong_parts(copy, kind, _PATH, strict=False)
    if not problems:
        problems = [f"{_PATH}{problem}" for problem in msgspec.convert(copy, kind, strict=False).problems()]
    return Looked(copy | unknown, tuple(problems), tuple(unknown))


def unknown_told(engine: SpecConfig, verdict: str) -> Iterator[str]:
    """A sentence for each parameter that the engine does not know, with the one that was probably meant."""
    unknown, kind = look(engine).unknown, ENGINES.get(engine.type.strip().lower(), EngineParams)
    for key in unknown[:MAX_UNKNOWN]:
        meant = close_match(key[:80], (field.encode_name for field in msgspec.structs.fields(kind)))
        yield f"{_PATH}.{key[:80]} {verdict}" + (f"; did you mean {meant}?" if meant else "")
    if len(unknown) > MAX_UNKNOWN:
        yield f"{_PATH} has {len(unknown) - MAX_UNKNOWN:,} more parameters that are not known."


def read_params(params: Mapping[str, Any], kind: type[P]) -> P:
    """Raise InvalidJob, with every problem. Unknown keys are left alone: a newer program may know them."""
    found = _look(dict(params), kind)
    if found.problems:
        raise InvalidJob(found.problems)
    return msgspec.convert(found.params, kind, strict=False)


def without_nulls(params: dict[str, Any]) -> dict[str, Any]:
    """The very same where there are none."""
    if None not in params.values():
        return params
    return {key: value for key, value in params.items() if value is not None}
