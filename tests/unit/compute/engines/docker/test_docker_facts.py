"""What engines say of themselves, each in its own way, and what follows from it."""

from typing import Any

import pytest

from compute.engines.docker.facts import CDI, NVIDIA, facts_of
from shared.protocol.messages import ContainerEngine

SECCOMP = "name=seccomp,profile=builtin"
DOCKER: dict[str, Any] = {
    "ServerVersion": "20.10.24+dfsg1",
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"], ["userxattr", "false"]],
    "SecurityOptions": ["name=apparmor", SECCOMP],
    "DefaultRuntime": "runc",
    "CgroupVersion": "1",
    "Plugins": {"Log": ["awslogs", "json-file", "local"]},
    "NCPU": 2,
}
CONTAINERD = DOCKER | {
    "ServerVersion": "28.5.2",
    "Driver": "overlayfs",
    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
    "SecurityOptions": [SECCOMP, "name=cgroupns", "name=rootless", "name=userns"],
    "CgroupVersion": "2",
    "LiveRestoreEnabled": True,
}
PODMAN = {
    "ServerVersion": "5.4.2",
    "Driver": "overlay",
    "DriverStatus": [["Supports d_type", "true"]],
    "SecurityOptions": [SECCOMP, "name=rootless"],
    "DefaultRuntime": "crun",
    "CgroupVersion": "2",
    "Plugins": {"Log": ["k8s-file", "none", "passthrough"]},
    "NCPU": 2,
    "Rootless": True,
}


@pytest.mark.parametrize(
    ("info", "engine"),
    [
        (
            DOCKER,
            ContainerEngine(
                name="Docker",
                version="20.10.24+dfsg1",
                store="overlay2",
                isolation=("runc", "apparmor", "seccomp", "cgroup v1"),
            ),
        ),
        (
            CONTAINERD,
            ContainerEngine(
                name="Docker",
                version="28.5.2",
                store="overlayfs (containerd)",
                rootless=True,
                isolation=("runc", "seccomp", "cgroupns", "userns", "cgroup v2"),
            ),
        ),
        (
            PODMAN,
            ContainerEngine(
                name="Podman",
                version="5.4.2",
                store="overlay",
                rootless=True,
                isolation=("crun", "seccomp", "cgroup v2"),
            ),
        ),
        ({}, ContainerEngine(name="Docker")),
    ],
)
def test_an_engine_is_described_by_what_it_says(info: dict[str, Any], engine: ContainerEngine) -> None:
    assert facts_of(info).described == engine


def test_what_an_engine_lacks_follows_from_its_version() -> None:
    old, new, podman, old_podman = map(facts_of, (DOCKER, CONTAINERD, PODMAN, PODMAN | {"ServerVersion": "4.3.1"}))
    assert [each.log_driver for each in (old, new, podman)] == ["local", "local", "k8s-file"]
    assert [each.loses_newlines for each in (old, new, podman)] == [True, False, False]
    assert [each.is_outlived for each in (old, new, podman)] == [False, True, True]
    remapped = facts_of(DOCKER | {"SecurityOptions": [SECCOMP, "name=userns"]})
    assert [each.remaps_users for each in (old, new, podman, remapped)] == [False, False, False, True]
    assert [each.gpu_driver for each in (old, podman, old_podman)] == [NVIDIA, CDI, ""]
    assert [each.tells_kills for each in (old, podman, old_podman)] == [True, True, False]


def test_gpus_that_the_engine_has_descriptions_of_are_counted_and_asked_for_by_them() -> None:
    """As Docker 28.2 and later tell; none is here, so this tests how it is read alone."""
    ids = ["nvidia.com/gpu=0", "nvidia.com/gpu=1", "nvidia.com/gpu=GPU-5c8e-1", "nvidia.com/gpu=all", "amd.com/gpu=0"]
    told = {"ServerVersion": "28.2.0", "DiscoveredDevices": [{"Source": "cdi", "ID": each} for each in ids]}
    assert (facts_of(told).gpu_count, facts_of(told).gpu_driver) == (2, CDI)
    with_runtime = facts_of({**told, "Runtimes": {"runc": {}, "nvidia": {}}})
    assert (with_runtime.gpu_count, with_runtime.gpu_driver) == (2, NVIDIA)
