"""Room for inputs: whether a task may have them, and whether the disk takes them, before the first byte comes."""

from collections.abc import Iterable

from compute.disk.view_notes import Unpacked
from compute.inputs.failures import InputFailed
from shared.jobs.quantities import format_bytes
from shared.jobs.states import FailureReason


def check_allowed(needed_bytes: int, allowed_bytes: int) -> None:
    """Raises InputFailed. 0 is no limit."""
    if 0 < allowed_bytes < needed_bytes:
        detail = (
            f"The task needs {format_bytes(needed_bytes)} of inputs, and may fill {format_bytes(allowed_bytes)} of"
            " disk: ask for more with Resources.Disk."
        )
        raise InputFailed(FailureReason.INPUT_TOO_LARGE, detail)


def check_free(needed_bytes: int, free_bytes: int) -> None:
    """Raises InputFailed. `free_bytes` is what there could be at the most."""
    if free_bytes < needed_bytes:
        detail = (
            f"The task needs {format_bytes(needed_bytes)} of inputs, and the node's disk has {format_bytes(free_bytes)}"
            " left for them."
        )
        raise InputFailed(FailureReason.DISK_FULL, detail)


class UnpackedRoom:
    """What the archives of a task may fill when they are unpacked, all together; `limit_bytes` 0 is no limit."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._filled_bytes = 0

    def __repr__(self) -> str:
        return f"<UnpackedRoom of {self._limit_bytes} bytes, {self._filled_bytes} are filled>"

    @property
    def left_bytes(self) -> int:
        """At least 1; 0 is no limit."""
        return max(1, self._limit_bytes - self._filled_bytes) if self._limit_bytes else 0

    def fill(self, disk_bytes: int) -> None:
        self._filled_bytes += disk_bytes

    def take(self, archives: Iterable[Unpacked]) -> None:
        """These are there already. Raises InputFailed, as it would if they were unpacked for this task."""
        for each in archives:
            if 0 < self.left_bytes < each.raw_bytes:
                raise too_large(self.left_bytes, self.left_bytes)
            self.fill(each.disk_bytes)


def too_large(most: int, limit_bytes: int) -> InputFailed:
    why = "Resources.Disk of the task allows" if limit_bytes == most else "the node's disk has room for"
    detail = f"A result that the task reads is larger than {most:,} bytes when it is unpacked, which is what {why}."
    return InputFailed(FailureReason.INPUT_TOO_LARGE, detail)
