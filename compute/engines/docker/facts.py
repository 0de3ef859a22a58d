"""Facts about a container engine, read from what it says of itself."""

from collections.abc import Mapping
from typing import Any

import msgspec

from shared.protocol.messages import ContainerEngine

DOCKER, PODMAN = "Docker", "Podman"
LOG_DRIVERS = ("local", "k8s-file", "json-file")
"""The first one that the engine has: `local` and Podman's `k8s-file` keep bytes as they are, `json-file` text alone."""
NVIDIA, CDI = "nvidia", "cdi"
CDI_NVIDIA = "nvidia.com/gpu="
_PODMAN_WITH_CDI = _PODMAN_TELLS_KILLS = 5
_LOCAL_KEEPS_NEWLINES = 26
_CONTAINERD_STORE = ["driver-type", "io.containerd.snapshotter.v1"]
_ROOTLESS, _REMAPPED = "rootless", "name=userns"


class EngineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """`is_outlived`: whether containers go on while it is restarted."""

    version: str
    rootless: bool
    is_outlived: bool
    log_driver: str
    cpus: int
    name: str = ""
    store: str = ""
    """How it keeps images."""
    isolation: tuple[str, ...] = ()
    """What keeps its containers apart: the runtime, and what the kernel does."""
    remaps_users: bool = False
    """A container's users are others on the machine, and the engine runs as root all the same."""
    loses_newlines: bool = False
    """Its log does, of long lines."""
    tells_kills: bool = True
    """Whether it tells, mostly, that the kernel has killed something of a container for want of memory."""
    tells_ends: bool = False
    """Whether it tells of an end last, after all that has led to it."""
    gpu_count: int = 0
    """How many the engine knows by number, which it tells where it has their descriptions (CDI)."""
    gpu_driver: str = ""
    """By which name GPUs are asked for; empty where they would not be given, whatever is asked for."""

    @classmethod
    def unknown(cls) -> "EngineFacts":
        """Of an engine that is away."""
        return cls(version="", rootless=False, is_outlived=False, log_driver=LOG_DRIVERS[0], cpus=1)

    @property
    def described(self) -> ContainerEngine:
        """For users."""
        return ContainerEngine(
            name=self.name, version=self.version, store=self.store, rootless=self.rootless, isolation=self.isolation
        )


def facts_of(info: Mapping[str, Any]) -> EngineFacts:
    """From the answer to GET /info."""
    is_podman = "Rootless" in info  # Podman alone has this field
    version = str(info.get("ServerVersion") or "")
    drivers = (info.get("Plugins") or {}).get("Log") or ()
    driver = next((name for name in LOG_DRIVERS if name in drivers), LOG_DRIVERS[-1])
    options = [str(option) for option in info.get("SecurityOptions") or ()]
    # Docker says so among its security options, Podman in its field.
    rootless = bool(info.get("Rootless")) or any(_ROOTLESS in option for option in options)
    return EngineFacts(
        name=PODMAN if is_podman else DOCKER,
        version=version,
        store=_store(info),
        isolation=_isolation(info, options),
        rootless=rootless,
        remaps_users=not rootless and any(_REMAPPED in option for option in options),
        # Podman has no daemon: its containers never need its service.
        is_outlived=bool(info.get("LiveRestoreEnabled")) or is_podman,
        log_driver=driver,
        cpus=max(1, int(info.get("NCPU") or 1)),
        loses_newlines=driver == "local" and _major(version) < _LOCAL_KEEPS_NEWLINES,
        tells_kills=not is_podman or _major(version) >= _PODMAN_TELLS_KILLS,
        tells_ends=not is_podman,
        gpu_count=_gpu_count(info),
        gpu_driver=_gpu_driver(info, version, is_podman=is_podman),
    )


def _store(info: Mapping[str, Any]) -> str:
    """Docker has two: its own drivers, and containerd's snapshots, which it tells as `overlayfs`."""
    driver = str(info.get("Driver") or "")
    return f"{driver} (containerd)" if _CONTAINERD_STORE in (info.get("DriverStatus") or ()) else driver


def _isolation(info: Mapping[str, Any], options: list[str]) -> tuple[str, ...]:
    """The security options are such as `name=seccomp,profile=default`."""
    kinds = [option.partition(",")[0].removeprefix("name=") for option in options]
    control_groups = str(info.get("CgroupVersion") or "")
    found = [
        str(info.get("DefaultRuntime") or ""),
        *(kind for kind in kinds if kind != _ROOTLESS),
        f"cgroup v{control_groups}" if control_groups else "",
    ]
    return tuple(each for each in found if each)


def _gpu_count(info: Mapping[str, Any]) -> int:
    """Since version 28.2 Docker tells which it has found descriptions of: each has several names, one is its number."""
    found = [str(each.get("ID") or "") for each in info.get("DiscoveredDevices") or ()]
    return sum(each.removeprefix(CDI_NVIDIA).isdecimal() for each in found if each.startswith(CDI_NVIDIA))


def _gpu_driver(info: Mapping[str, Any], version: str, *, is_podman: bool) -> str:
    """Podman ignores the driver of NVIDIA, and before 5.0 the other one too. Docker has it by NVIDIA's runtime."""
    if not is_podman:
        return CDI if _gpu_count(info) and NVIDIA not in (info.get("Runtimes") or ()) else NVIDIA
    return CDI if _major(version) >= _PODMAN_WITH_CDI else ""


def _major(version: str) -> int:
    """0 where it is not a number."""
    first = version.partition(".")[0]
    return int(first) if first.isdecimal() else 0
