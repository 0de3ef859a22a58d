"""The machine: how much it has, and how much of it tasks may use."""

import os
import shutil
from pathlib import Path

from shared.jobs.capacity import Capacity
from shared.jobs.quantities import parse_bytes, parse_cpu, parse_gpu, share_or_amount
from shared.settings.config import AllocatedCapacity

_CGROUP = Path("/sys/fs/cgroup")


def detect_capacity(data_dir: Path, *, gpus: int) -> Capacity:
    """What this process may use: CPUs and memory within its control group, and what is free where it keeps its data.

    Blocks. `gpus` is how many were found.
    """
    return Capacity(cpu=_cpus(), memory=_memory_bytes(), disk=shutil.disk_usage(data_dir).free, gpu=gpus)


def allocated(total: Capacity, settings: AllocatedCapacity) -> Capacity:
    """Raise InvalidQuantity for a setting that is neither a share nor an amount."""
    return Capacity(
        cpu=share_or_amount(settings.cpu, total.cpu, parse_cpu),
        memory=share_or_amount(settings.memory, total.memory, parse_bytes),
        disk=share_or_amount(settings.disk, total.disk, parse_bytes),
        gpu=share_or_amount(settings.gpu, total.gpu, parse_gpu),
    )


def _cpus() -> float:
    available = float(len(os.sched_getaffinity(0)))
    quota, _, period = _control("cpu.max").partition(" ")
    if quota.isdecimal() and period.isdecimal():
        return min(available, int(quota) / int(period))
    return available


def _memory_bytes() -> int:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _control("memory.max")
    return min(physical, int(limit)) if limit.isdecimal() else physical


def _control(name: str) -> str:
    """A limit of the control group that this process sees as its root; empty where there is none."""
    try:
        return (_CGROUP / name).read_text(encoding="ascii").strip()
    except OSError:
        return ""
