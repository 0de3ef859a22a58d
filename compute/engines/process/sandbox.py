"""The sandbox of a task: what it sees of the machine and may do there, as arguments of bubblewrap (`bwrap`).

What is seen is listed, and all else is absent: the node may run as root, and then a task would own whatever it saw.
For the same reason nothing is left writable by which its owner could harm others, such as /proc/sys. There are no files
in memory: what a task writes goes to the disk, where it counts.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NOBODY = "65534"
"""Who a task is in its own eyes where the node is root: programs that think they were root try what they may not do."""

SYSTEM = ("/usr", "/opt", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Folders of programs, or links to such ones."""
MACHINE_FACTS = "/sys/devices/system"
"""How many processors there are, and which memory is near to them."""
GPU_FACTS = ("/sys/bus", "/sys/class", "/sys/dev", "/sys/devices", "/sys/module")
MASKED = "/proc/keys"
"""What the kernel tells of keyrings that are the node's, to whoever has its user."""
VAR_TMP = "/var/tmp"  # noqa: S108
TEMPORARY_PLACES = ("/tmp", "/dev/shm")  # noqa: S108  # the task's own


@dataclass(frozen=True, kw_only=True)
class SandboxBase:
    """What is the same for all tasks of a node.

    `links` are those of SYSTEM that are links, with their targets, and `system` what else of it is there; `shown` are
    further paths of the operator. `hidden` is the node's own folder, where something of these would show it.
    `devices` are those that take the place of the machine's own. `forbids_nesting`: this bwrap can.
    """

    links: Mapping[str, str] = field(default_factory=dict)
    system: Sequence[str] = (*SYSTEM, MACHINE_FACTS)
    shown: Sequence[str] = ()
    hidden: str = ""
    devices: Mapping[str, str] = field(default_factory=dict)
    forbids_nesting: bool = True
    is_root: bool = False


@dataclass(frozen=True, kw_only=True)
class SandboxView:
    """What one task sees beside that: its workspace and files at their own paths, and a folder for temporary files."""

    workspace: Path
    temporary: Path
    configuration: Path | None = None
    """What is shown as /etc."""
    working_directory: Path = Path("/")
    files: Sequence[Path] = ()
    """Read only."""
    inputs: Mapping[Path, Path] = field(default_factory=dict)
    """Read only too: files and folders, by the places in the workspace under which they are seen."""
    has_gpus: bool = False
    has_network: bool = True
    host_name: str = ""
    """The machine's own without."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def arguments(base: SandboxBase, view: SandboxView, gpus: Mapping[str, str]) -> list[str]:
    """All but the command. They hold the environment, so no command line may show them.

    `gpus` are the devices of a task that has some, by the paths under which it sees them.
    """
    return [
        *_namespaces(base, view),
        *_system(base, view),
        *_kernel(base, gpus),
        *(part for place in TEMPORARY_PLACES for part in ("--bind", str(view.temporary), place)),
        *_var_tmp(base, view),
        *("--remount-ro", "/dev"),
        *(part for path in base.shown for part in ("--ro-bind-try", path, path)),
        *_own(base, view),
        *("--remount-ro", "/"),
        *("--chdir", str(view.working_directory)),
        *(part for name, value in view.environment.items() for part in ("--setenv", name, value)),
    ]


def _namespaces(base: SandboxBase, view: SandboxView) -> Iterator[str]:
    yield from ("--unshare-user", "--cap-drop", "ALL")
    if base.forbids_nesting:
        yield "--disable-userns"
    if base.is_root:
        yield from ("--uid", NOBODY, "--gid", NOBODY)
    yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--new-session")
    if not view.has_network:
        yield "--unshare-net"
    if view.host_name:
        yield from ("--hostname", view.host_name)


def _system(base: SandboxBase, view: SandboxView) -> Iterator[str]:
    for path, target in base.links.items():
        yield from ("--symlink", target, path)
    for path in base.system:
        yield from ("--ro-bind-try", path, path)
    if view.configuration is not None:
        yield from ("--ro-bind", str(view.configuration), "/etc")


def _kernel(base: SandboxBase, gpus: Mapping[str, str]) -> Iterator[str]:
    yield from ("--proc", "/proc")
    yield from ("--ro-bind-try", os.devnull, MASKED, "--remount-ro", "/proc", "--dev", "/dev")
    for path, device in {**base.devices, **gpus}.items():
        yield from ("--dev-bind", device, path)
    for path in GPU_FACTS if gpus else ():
        yield from ("--ro-bind-try", path, path)


def _var_tmp(base: SandboxBase, view: SandboxView) -> tuple[str, ...]:
    """A link costs less than a mount; but bubblewrap makes no folder behind one, as for a node's folder below."""
    paths = (view.workspace, *view.files, *map(Path, base.shown), Path(base.hidden))
    if any(path.is_relative_to(VAR_TMP) for path in paths):
        return "--bind", str(view.temporary), VAR_TMP
    return "--symlink", "/tmp", VAR_TMP  # noqa: S108


def _own(base: SandboxBase, view: SandboxView) -> Iterator[str]:
    if base.hidden:
        yield from ("--tmpfs", base.hidden)
    yield from ("--bind", str(view.workspace), str(view.workspace))
    for file in view.files:
        yield from ("--ro-bind", str(file), str(file))
    for place, path in view.inputs.items():
        yield from ("--ro-bind", str(path), str(place))
    if base.hidden:
        yield from ("--remount-ro", base.hidden)


def seen_at(path: Path, inputs: Mapping[Path, Path]) -> Path:
    """Where that is on the machine what a task sees at this path of its workspace."""
    for place, shown in inputs.items():
        if path.is_relative_to(place):
            return shown / path.relative_to(place)
    return path
