"""Room for inputs: whether a task may have them, and whether the disk takes them, before the first byte comes."""

from compute.inputs.failures import InputFailed
from shared.jobs.quantities import format_bytes
from shared.jobs.states import FailureReason


def check_room(needed_bytes: int, *, allowed_bytes: int, free_bytes: int) -> None:
    """Raises InputFailed. `allowed_bytes` 0 is no limit; `free_bytes` is what there could be at the most."""
    if 0 < allowed_bytes < needed_bytes:
        detail = (
            f"The task needs {format_bytes(needed_bytes)} of inputs, and may fill {format_bytes(allowed_bytes)} of"
            " disk: ask for more with Resources.Disk."
        )
        raise InputFailed(FailureReason.INPUT_TOO_LARGE, detail)
    if free_bytes < needed_bytes:
        detail = (
            f"The task needs {format_bytes(needed_bytes)} of inputs, and the node's disk has {format_bytes(free_bytes)}"
            " left for them."
        )
        raise InputFailed(FailureReason.DISK_FULL, detail)
