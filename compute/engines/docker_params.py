"""What the author of a job says about its container: `Engine.Params` of the docker engine."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec

from shared.errors import InvalidJob

_NAME = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?{_NAME}(?:/{_NAME})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@[A-Za-z][A-Za-z0-9+._-]*:[0-9a-fA-F]{32,128})?\Z"
)
MAX_IMAGE = 512


class DockerParams(msgspec.Struct, frozen=True, kw_only=True, rename=lambda name: name.replace("_", "")):
    """Keys in lower case. Without an entrypoint the image's own is used, without either its own command."""

    image: str
    entrypoint: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    environment_variables: tuple[str, ...] = ()
    working_directory: str = ""

    @property
    def variables(self) -> dict[str, str]:
        return dict(assignment.split("=", 1) for assignment in self.environment_variables)


def parse_params(params: Mapping[str, Any]) -> DockerParams:
    """Raise InvalidJob, with every problem. Unknown keys are left alone."""
    try:
        parsed = msgspec.convert({key.lower(): value for key, value in params.items()}, DockerParams)
    except msgspec.ValidationError as error:
        raise InvalidJob([f"Engine.Params of the docker engine: {error}"]) from None
    found = list(_problems(parsed))
    if found:
        raise InvalidJob(found)
    return parsed


def _problems(params: DockerParams) -> Iterator[str]:
    if len(params.image) > MAX_IMAGE or not _IMAGE.match(params.image):
        yield f"Image: {params.image[:80]!r} is not the name of an image, such as busybox:1.37.0"
    texts = (*params.entrypoint, *params.parameters, *params.environment_variables, params.working_directory)
    if any("\0" in text for text in texts):
        yield "Engine.Params of the docker engine holds a NUL character"
    for text in params.environment_variables:
        if not text.partition("=")[0] or "=" not in text:
            yield f"EnvironmentVariables: {text[:40]!r} is not NAME=value"
    folder = params.working_directory
    if folder and not PurePosixPath(folder).is_absolute():
        yield f"WorkingDirectory: {folder[:80]!r} is not an absolute path"
