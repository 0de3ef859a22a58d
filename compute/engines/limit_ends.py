"""Ends of tasks that broke a limit, or were killed for one, in words."""

from compute.engines.engine import Broken
from shared.jobs.quantities import format_bytes
from shared.jobs.states import FailureReason


def over_output(name: str, limit_bytes: int) -> Broken:
    return Broken(FailureReason.OUTPUT_LIMIT_EXCEEDED, f"The task wrote more than {limit_bytes:,} bytes to {name}.")


def out_of_memory(limit_bytes: int) -> Broken:
    """`limit_bytes` 0: there was no limit."""
    limit = f"its limit of {limit_bytes:,} bytes" if limit_bytes else "the machine has"
    detail = f"The task needed more memory than {limit} (Resources.Memory) and was killed."
    return Broken(FailureReason.OUT_OF_MEMORY, detail)


def most_likely_out_of_memory(limit_bytes: int) -> Broken:
    detail = (
        f"The task was killed, most likely because it needed more memory than its limit of {limit_bytes:,} bytes "
        "(Resources.Memory). The node's container engine does not tell, and the node may not read the kernel's log."
    )
    return Broken(FailureReason.OUT_OF_MEMORY, detail)


def too_many_processes(limit: int) -> Broken:
    detail = (
        f"The task had more than {limit:,} processes and threads at once and was killed. "
        "The node's operator sets the limit with Engines.Types.Process.PidsLimit."
    )
    return Broken(FailureReason.PROCESS_LIMIT_EXCEEDED, detail)


def over_disk(used_bytes: int, limit_bytes: int) -> Broken:
    detail = (
        f"The task's files took {format_bytes(used_bytes)} of the node's disk, more than its limit of "
        f"{format_bytes(limit_bytes)}, and it was killed. Ask for more with Resources.Disk; for a job that does not, "
        "the limit is the node's Compute.DiskLimit."
    )
    return Broken(FailureReason.DISK_LIMIT_EXCEEDED, detail)


def task_killed(signal: str) -> Broken:
    detail = (
        f"The task was killed by {signal}: by somebody on the node's machine, by its kernel for want of memory, or by "
        "itself. A task that ends itself does so with an exit code."
    )
    return Broken(FailureReason.TASK_KILLED, detail)
