"""GPUs of a task: told by the variables that the libraries of their makers read.

They hide the others; they do not lock them away.
"""

from collections.abc import Mapping

_CONTAINERS = "NVIDIA_VISIBLE_DEVICES"
"""What the container runtime of NVIDIA gives a container; in there its devices are numbered anew."""
_PROCESSES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
_SHIFTING = ("ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
"""Below the others, which then count what these have left."""
_NO_CONTAINERS, _NO_PROCESSES = "void", "-1"
_ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""As nvidia-smi numbers them; else the fastest comes first."""


def for_container(variables: Mapping[str, str], devices: tuple[str, ...] | None) -> dict[str, str]:
    """What a container sees: on a node that gives GPUs no job and no image gives itself any. None changes nothing."""
    if devices is None:
        return dict(variables)
    return {**variables, _CONTAINERS: ",".join(devices) or _NO_CONTAINERS}


def for_process(variables: Mapping[str, str], devices: tuple[str, ...] | None) -> dict[str, str]:
    """What a process sees. None changes nothing."""
    if devices is None:
        return dict(variables)
    kept = {name: value for name, value in variables.items() if name not in _SHIFTING}
    visible = dict.fromkeys(_PROCESSES, ",".join(devices) or _NO_PROCESSES)
    return {**kept, **_ORDER, **visible, _CONTAINERS: ",".join(devices) or _NO_CONTAINERS}
