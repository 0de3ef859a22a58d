"""Parameters of a job for this engine, and which image they name."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from shared.jobs.engine_params import CommandParams

_LOCAL = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,99})@sha256:(?P<digest>[0-9a-f]{64})\Z")


class LocalImage(NamedTuple):
    """NAME.tar in the folder of the operator, which has to have this digest."""

    name: str
    digest: str


class RootfsParams(CommandParams, frozen=True, kw_only=True, rename="pascal"):
    """`image` is the Target of an input that is a tar, or NAME@sha256:DIGEST of one that the node keeps."""

    image: str

    @property
    def local_image(self) -> LocalImage | None:
        found = _LOCAL.match(self.image)
        return LocalImage(found["name"], found["digest"]) if found else None

    def problems(self) -> Iterator[str]:
        if not self.image.startswith("/") and self.local_image is None:
            yield f".Image: {self.image[:80]!r} is neither the Target of an input nor NAME@sha256:DIGEST."
        if not self.command or not self.command[0]:
            yield " names no command; give Entrypoint or Parameters."
        if self.working_directory and not self.working_directory.startswith("/"):
            yield f".WorkingDirectory: {self.working_directory[:80]!r} is not an absolute path."
        yield from super().problems()
