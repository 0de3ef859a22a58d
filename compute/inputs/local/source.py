"""Paths of the node as a source of inputs: mounted as they are, or copied for a task without a container."""

from functools import partial
from pathlib import Path

from compute.inputs.disk_left import left_bytes
from compute.inputs.local.allowed_paths import AllowedPaths
from compute.inputs.local.copying import LocalCopy
from compute.inputs.objects.stoppable import IsUnwanted, stoppable
from compute.inputs.order import InputOrder
from compute.inputs.places import InputPlace, told_of
from compute.inputs.read_inputs import path_read
from shared.jobs.inputs.kinds import LocalInputParams, read_params


class LocalInputs:
    """Of a node."""

    def __init__(self, allowed: AllowedPaths) -> None:
        self._allowed = allowed

    def __repr__(self) -> str:
        return f"<LocalInputs {self._allowed!r}>"

    async def provide(self, place: InputPlace, order: InputOrder) -> Path:
        """Raises InputFailed, and OSError where the disk is full."""
        params = read_params(place.source.source, LocalInputParams)
        path = params.source_path
        order.on_known((path_read(place.number, path),))
        if place.is_mounted:
            return await stoppable(lambda _: self._mountable(path, to_write=params.read_write))
        limit_bytes = await left_bytes(order)
        await stoppable(partial(self._copy, path, place, limit_bytes))
        return place.path

    def _mountable(self, path: str, *, to_write: bool) -> Path:
        """The engine is given a name, not what is there now: who can exchange it meanwhile decides what is mounted."""
        with self._allowed.mountable(path, to_write=to_write) as found:
            return Path(found.real)

    def _copy(self, path: str, place: InputPlace, limit_bytes: int, is_unwanted: IsUnwanted) -> None:
        copy = LocalCopy(path, limit_bytes, is_unwanted)
        with told_of(place.target), self._allowed.found(path) as found:
            copy.run(found.descriptor, place.path)
