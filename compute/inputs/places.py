"""Places of inputs: where in an execution's folder each one goes, and what may be in the way there."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from compute.disk import private_file
from compute.disk.input_files import MountedInput
from compute.disk.workspace import Workspace
from compute.inputs.failures import InputFailed, not_placed
from compute.inputs.order import InputOrder
from shared.jobs.engine_params import kind_of
from shared.jobs.inputs.kinds import is_managed, is_writable
from shared.jobs.spec import InputSource

_NAMED_BADLY = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL})
_IN_THE_WAY = frozenset({errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY})


class InputPlace(NamedTuple):
    """Of the `number`th input of a task. Nothing is at `path` yet, and its folder is there.

    `is_mounted`: a container, or walls around a task, show what is there, or another path in its stead, so that nobody
    can change it. Else the task finds it there itself, and may change it: it shares it with nobody.
    """

    number: int
    source: InputSource
    path: Path
    is_mounted: bool

    @property
    def target(self) -> str:
        return self.source.target


def places_of(order: InputOrder) -> tuple[InputPlace, ...]:
    """One for each of the task's inputs, in their order. Does not block.

    A task on the machine itself has in common with others what the cache keeps, if its engine can show it that.
    """
    engine, workspace = kind_of(order.task.engine), order.workspace
    has_own = engine is not None and engine.on_the_machine
    places = list[InputPlace]()
    for number, each in enumerate(order.task.input_sources):
        if has_own and not (order.is_shown and is_managed(each.source)):
            places.append(InputPlace(number, each, workspace.place(each.target), is_mounted=False))
        else:
            places.append(InputPlace(number, each, workspace.inputs / str(number), is_mounted=True))
    return tuple(places)


def make_way(places: Sequence[InputPlace], workspace: Workspace) -> None:
    """Make the folders that the inputs go into. Blocks. Raises InputFailed, OSError."""
    for place in places:
        if place.is_mounted:
            private_file.make_folder(workspace.inputs)
            continue
        with told_of(place.target):
            place.path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(place.path):
            raise not_placed(
                f"There is something else at {place.target[:200]} already, where an input of the task goes."
            )


def mounted(place: InputPlace, path: Path | None = None) -> MountedInput:
    may_change = place.is_mounted and is_writable(place.source.source)
    return MountedInput(place.target, path or place.path, is_writable=may_change)


@contextmanager
def told_of(target: str) -> Iterator[None]:
    """What the job or its inputs are to blame for becomes InputFailed; the node's own errors stay what they are."""
    try:
        yield
    except OSError as error:
        if (told := in_words(error, target)) is None:
            raise
        raise told from None


def in_words(error: OSError, target: str) -> InputFailed | None:
    if error.errno in _NAMED_BADLY:
        return not_placed(f"The input at {target[:200]} has a name that this node's disk cannot have.")
    if error.errno in _IN_THE_WAY:
        return not_placed(f"The input at {target[:200]} has a file where it needs a folder, or something twice.")
    return None
