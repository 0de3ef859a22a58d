"""Sandbox of a devstack's tasks: as an operator has it, and without where this machine cannot, which is told."""

import os
from pathlib import Path

from msgspec.structs import replace

from shared.settings.keys import environment_name
from tarpon.devstack.processes import SANDBOX, WantedProcesses


def with_sandbox(wanted: WantedProcesses, folder: Path) -> tuple[WantedProcesses, str]:
    """What to run, and what is to be told of it. Whoever asks for a sandbox by name is not given a stack without.

    Blocks.
    """
    from compute.engines.process.bubblewrap import Bubblewrap, SandboxUnavailable

    asked = {environment_name(key) for key in wanted.settings} | set(os.environ)
    if not wanted.is_sandboxed or environment_name(SANDBOX) in asked:
        return wanted, ""
    try:
        Bubblewrap.open(folder, path=os.environ.get("PATH", os.defpath))
    except SandboxUnavailable as error:
        return replace(wanted, is_sandboxed=False), f"Tasks of the engine process get all rights here: {error.why}"
    return wanted, ""
