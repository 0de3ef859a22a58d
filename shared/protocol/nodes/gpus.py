"""GPUs of a node, as it tells of them, and the labels that they give it."""

from collections.abc import Iterable
from typing import Annotated

import msgspec

MOST_GPUS = 64
_Word = Annotated[str, msgspec.Meta(max_length=100)]


class Gpu(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`index` is how the libraries of its maker count it. `memory` is in MiB; 0 and empty are not known."""

    index: Annotated[int, msgspec.Meta(ge=0)]
    name: _Word = ""
    vendor: _Word = ""
    memory: Annotated[int, msgspec.Meta(ge=0)] = 0
    pci_address: _Word = ""


ToldGpuIds = Annotated[tuple[_Word, ...], msgspec.Meta(max_length=MOST_GPUS)]
ToldGpus = Annotated[tuple[Gpu, ...], msgspec.Meta(max_length=MOST_GPUS)]


def gpu_labels(gpus: Iterable[Gpu]) -> dict[str, str]:
    """As the reference has them: GPU-0=Tesla-T4, GPU-0-Memory=15360-MiB."""
    labels: dict[str, str] = {}
    for each in gpus:
        if each.name:
            labels[f"GPU-{each.index}"] = "-".join(each.name.split())
        if each.memory:
            labels[f"GPU-{each.index}-Memory"] = f"{each.memory}-MiB"
    return labels
