"""GPUs as the tools of their makers tell of them.

No GPU is here, and neither tool: texts as they print them, and stand-ins, test how these are read, and no more.
"""

import json
from pathlib import Path

import pytest

from compute.executions import machine_gpus
from compute.executions.machine_gpus import AMD, NVIDIA, ToolFailed, amd_gpus, detect_gpus, nvidia_gpus
from shared.protocol.nodes.gpus import Gpu, gpu_labels

TWO = "0, Tesla T4, 15360, 00000000:3B:00.0\n1, NVIDIA A100-SXM4-40GB, 40960, 00000000:AF:00.0\n"
CARD = {
    "PCI Bus": "0000:E7:00.0",
    "VRAM Total Memory (B)": "68702699520",
    "Card Series": "AMD Instinct MI210",
    "Card Vendor": "Advanced Micro Devices, Inc. [AMD/ATI]",
}


def test_what_nvidia_smi_tells_is_read() -> None:
    assert nvidia_gpus(TWO) == (
        Gpu(index=0, name="Tesla T4", vendor=NVIDIA, memory=15360, pci_address="00000000:3b:00.0"),
        Gpu(index=1, name="NVIDIA A100-SXM4-40GB", vendor=NVIDIA, memory=40960, pci_address="00000000:af:00.0"),
    )
    assert nvidia_gpus("\n") == ()
    assert nvidia_gpus("0, NVIDIA GB10, [N/A], 0000000F:01:00.0")[0].memory == 0


def test_what_rocm_smi_tells_is_read_in_the_order_in_which_its_library_counts() -> None:
    told = json.dumps({"card11": CARD, "card2": {"Card series": "Radeon VII"}, "system": {"Driver version": "6.10.5"}})
    assert amd_gpus(told) == (
        Gpu(index=0, name="Radeon VII", vendor=AMD),
        Gpu(index=1, name="AMD Instinct MI210", vendor=AMD, memory=65520, pci_address="0000:e7:00.0"),
    )


@pytest.mark.parametrize(("read", "told"), [(nvidia_gpus, "No devices were found"), (amd_gpus, "{"), (amd_gpus, "[]")])
def test_what_is_not_understood_is_told(read: object, told: str) -> None:
    assert callable(read)
    with pytest.raises(ToolFailed, match="is not understood"):
        read(told)


def stand_in(folder: Path, name: str, script: str) -> None:
    tool = folder / name
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)


def path_of(folder: Path) -> str:
    return f"{folder}:/usr/bin:/bin"


def test_a_machine_without_these_tools_has_none(tmp_path: Path) -> None:
    assert detect_gpus(str(tmp_path)) == ((), "")


def test_a_tool_that_finds_nothing_leaves_it_to_the_next(tmp_path: Path) -> None:
    stand_in(tmp_path, "nvidia-smi", "true")
    stand_in(tmp_path, "rocm-smi", f"echo '{json.dumps({'card0': CARD})}'")
    assert [each.vendor for each in detect_gpus(path_of(tmp_path)).gpus] == [AMD]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", "version mismatch"),
        ("exit 9", "it ended with 9"),
        ("printf 'no \\377 text'", "is not understood"),
        ("exec sleep 600", "it does not end within 0.2 s"),
    ],
)
def test_a_tool_that_fails_or_hangs_is_a_problem_for_the_operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    monkeypatch.setattr(machine_gpus, "TOOL_SECONDS", 0.2 if "sleep" in script else 20.0)
    stand_in(tmp_path, "nvidia-smi", script)
    found = detect_gpus(path_of(tmp_path))
    assert found.gpus == ()
    assert found.problem.startswith("nvidia-smi tells of no GPUs, so this node offers none: ")
    assert why in found.problem


def test_labels_are_those_of_the_reference() -> None:
    assert gpu_labels(nvidia_gpus(TWO)) == {
        "GPU-0": "Tesla-T4",
        "GPU-0-Memory": "15360-MiB",
        "GPU-1": "NVIDIA-A100-SXM4-40GB",
        "GPU-1-Memory": "40960-MiB",
    }
