"""GPUs of this machine: looked for with the tools of their makers, which count them as the libraries of tasks do."""

import contextlib
import csv
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from shared.protocol.nodes.gpus import MOST_GPUS, Gpu

NVIDIA, AMD = "NVIDIA", "AMD/ATI"
TOOL_SECONDS = 20.0
"""A driver that is broken may let its tool hang for ever."""
KILL_SECONDS = 1.0
_NVIDIA_SMI = ("nvidia-smi", "--query-gpu=index,name,memory.total,pci.bus_id", "--format=csv,noheader,nounits")
_ROCM_SMI = ("rocm-smi", "--showproductname", "--showbus", "--showmeminfo", "vram", "--json")
_CARD = re.compile(r"card(\d+)\Z")
_MAX_WORD, _MAX_WORDS = 100, 200
_MIB = 1 << 20


class FoundGpus(NamedTuple):
    gpus: tuple[Gpu, ...] = ()
    problem: str = ""
    """Why there may be some all the same, in a sentence."""


class ToolFailed(Exception):
    """In the words of the tool."""


def detect_gpus(path: str) -> FoundGpus:
    """Blocks. Of a machine with GPUs of two makers those of NVIDIA are found: by their numbers one could be another."""
    problem = ""
    for command, read in ((_NVIDIA_SMI, nvidia_gpus), (_ROCM_SMI, amd_gpus)):
        program = shutil.which(command[0], path=path)
        if program is None:
            continue
        try:
            gpus = read(_told((program, *command[1:]), {"PATH": path}))
        except ToolFailed as error:
            problem = problem or f"{command[0]} tells of no GPUs, so this node offers none: {error}"
            continue
        if gpus:
            return FoundGpus(gpus[:MOST_GPUS])
    return FoundGpus(problem=problem)


def nvidia_gpus(told: str) -> tuple[Gpu, ...]:
    """From what `nvidia-smi --query-gpu=index,name,memory.total,pci.bus_id` tells. Raises ToolFailed."""
    try:
        rows = [[word.strip() for word in row] for row in csv.reader(told.splitlines()) if row]
        return tuple(
            Gpu(
                index=int(index),
                name=name[:_MAX_WORD],
                vendor=NVIDIA,
                memory=int(memory) if memory.isdecimal() else 0,  # it may be [N/A], as where it is the machine's own
                pci_address=address.lower()[:_MAX_WORD],
            )
            for index, name, memory, address in rows
        )
    except ValueError:
        raise ToolFailed(f"{told.strip()[:_MAX_WORDS]!r} is not understood") from None


def amd_gpus(told: str) -> tuple[Gpu, ...]:
    """From what `rocm-smi --json` tells: keys differ in case from release to release. Raises ToolFailed."""
    try:
        cards = msgspec.json.decode(told, type=dict[str, dict[str, str]])
    except msgspec.MsgspecError:
        raise ToolFailed(f"{told.strip()[:_MAX_WORDS]!r} is not understood") from None
    found = {int(number[1]): card for name, card in cards.items() if (number := _CARD.match(name))}
    return tuple(_amd_gpu(index, found[card]) for index, card in enumerate(sorted(found)))


def _amd_gpu(index: int, card: Mapping[str, str]) -> Gpu:
    told = {key.lower(): value for key, value in card.items()}
    memory = told.get("vram total memory (b)", "")
    return Gpu(
        index=index,
        name=told.get("card series", "")[:_MAX_WORD],
        vendor=AMD,
        memory=int(memory) // _MIB if memory.isdecimal() else 0,
        pci_address=told.get("pci bus", "").lower()[:_MAX_WORD],
    )


def _told(command: tuple[str, ...], variables: Mapping[str, str]) -> str:
    """Raises ToolFailed."""
    try:
        tool = subprocess.Popen(
            command,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise ToolFailed(f"it cannot be run: {error.strerror}") from error
    try:
        output, errors = tool.communicate(timeout=TOOL_SECONDS)
    except subprocess.TimeoutExpired:
        _abandon(tool)
        raise ToolFailed(f"it does not end within {TOOL_SECONDS:g} s") from None
    if tool.returncode:
        words = " ".join((output + errors).split())[:_MAX_WORDS]
        raise ToolFailed(words.rstrip(".") or f"it ended with {tool.returncode}")
    return output


def _abandon(tool: "subprocess.Popen[str]") -> None:
    """What hangs in a driver does not even end by SIGKILL, so that nobody waits for it."""
    tool.kill()
    for pipe in (tool.stdout, tool.stderr):
        if pipe is not None:
            pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        tool.wait(KILL_SECONDS)
