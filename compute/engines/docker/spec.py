"""The specification of a container: the request that creates it, with all that confines the task."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compute.engines import reproducible
from compute.engines.docker.facts import CDI, CDI_NVIDIA, EngineFacts
from compute.engines.engine import Run
from compute.engines.gpus import for_container
from shared.errors import InvalidJob
from shared.ids import ExecutionId, NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.engine_params import DockerParams
from shared.jobs.spec import Task

EXECUTION_LABEL = "tarpon.execution"
NODE_LABEL = "tarpon.node"
LOG_FILE_BYTES = 256 << 20
"""The engine's own copy of the output, from which it is read when the node was away: two files of this size."""
LEAST_MEMORY_BYTES = 6 << 20
"""The engine refuses to run a container with less."""
RESULT_FOLDER_MODE = 0o777
"""While the task runs, whose user may be any; the folder above it lets no other user of the machine in."""
HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
HOSTS_NAME = ".hosts"
NO_NETWORK = "none"
_HOST = "host"
_NETWORKS = {"": NO_NETWORK, "default": NO_NETWORK, "none": NO_NETWORK, "host": _HOST, "full": _HOST}
_BRIDGE = "bridge"


@dataclass(frozen=True, kw_only=True)
class Confinement:
    """What the node's operator sets for every container."""

    node_id: NodeId
    pids_limit: int
    bridge_network: str


def container_name(execution_id: ExecutionId) -> str:
    return f"tarpon-{execution_id}"


def container_spec(run: Run, params: DockerParams, confinement: Confinement, facts: EngineFacts) -> dict[str, Any]:
    """Raise InvalidJob for a network that no container can have."""
    variables = for_container(run.variables(params.variables), run.devices)
    network = network_of(run, confinement)
    spec: dict[str, Any] = {
        "Image": params.image,
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "Labels": {EXECUTION_LABEL: run.execution_id, NODE_LABEL: confinement.node_id},
        # Whoever stops the container from outside kills it, so that its end is never one that the task chose. This
        # node asks a task to stop by a signal of its own.
        "StopSignal": "SIGKILL",
        "HostConfig": {"NetworkMode": network, "Mounts": _mounts(run), **_host_config(run, confinement, facts)},
    }
    if network == NO_NETWORK:
        # An engine that sets up a network, even one without a way out, takes twice as long to start a container. The
        # loopback interface is there all the same; its names, which the engine would have written, come from us.
        spec["NetworkDisabled"] = True
        spec["HostConfig"]["Mounts"].append(_to_read(hosts_file(run), "/etc/hosts"))
    if run.task.reproducible:
        spec["Hostname"] = reproducible.HOST_NAME
    if params.entrypoint:
        spec["Entrypoint"] = list(params.entrypoint)
    if params.parameters:
        spec["Cmd"] = list(params.parameters)
    if params.working_directory:
        spec["WorkingDir"] = params.working_directory
    if has_the_node_s_user(facts):
        # What the task leaves has to be the node's to read and to remove.
        spec["User"] = f"{os.geteuid()}:{os.getegid()}"
        if facts.remaps_users:  # to users whose files the node could neither read nor remove
            spec["HostConfig"]["UsernsMode"] = "host"
    return spec


def has_the_node_s_user(facts: EngineFacts) -> bool:
    """Whether containers run as this node's own user, and not as root or whomever their images name."""
    return os.geteuid() != 0 and not facts.rootless


def network_of(run: Run, confinement: Confinement) -> str:
    kind = run.task.network.type.strip().lower()
    if kind == _BRIDGE:
        return confinement.bridge_network
    if kind not in _NETWORKS:
        raise InvalidJob([f"the docker engine has no network {kind[:40]!r}; there are None, Bridge and Host"])
    return _NETWORKS[kind]


def has_host_network(task: Task) -> bool:
    return _NETWORKS.get(task.network.type.strip().lower()) == _HOST


def _host_config(run: Run, confinement: Confinement, facts: EngineFacts) -> dict[str, Any]:
    return {
        "Init": True,  # reaps what the task leaves behind, and lets SIGTERM end a task that does not handle it
        "PidsLimit": confinement.pids_limit,
        "CapDrop": ["NET_RAW"],
        "SecurityOpt": ["no-new-privileges"],
        "LogConfig": _log_config(facts),
        **_limits(run.resources, facts),
        **_device_requests(run.devices or (), facts),
    }


def hosts_file(run: Run) -> Path:
    """One for all containers, none of which can change it."""
    return run.workspace.root.with_name(HOSTS_NAME)


def make_hosts_file(run: Run) -> None:
    """Where it is not there. Blocks."""
    place = hosts_file(run)
    if not place.exists():
        draft = place.with_name(f"{place.name}-{run.execution_id}")
        draft.write_text(HOSTS, encoding="ascii")
        draft.replace(place)  # whole, for whoever mounts it meanwhile


def _mounts(run: Run) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = [
        {"Type": "bind", "Source": os.fspath(run.workspace.place(each.path)), "Target": each.path}
        for each in run.task.result_paths
    ]
    return [
        *results,
        *(_to_read(each.path, each.target) | {"ReadOnly": not each.is_writable} for each in run.inputs),
        *(_to_read(each.file, each.path) for each in run.secrets),
    ]


def _to_read(source: Path, target: str) -> dict[str, Any]:
    """Without what is mounted in it, which some engines would let the task write to."""
    options = {"NonRecursive": True}
    return {
        "Type": "bind",
        "Source": os.fspath(source),
        "Target": target,
        "ReadOnly": True,
        "BindOptions": options,
    }


def _log_config(facts: EngineFacts) -> dict[str, Any]:
    options = {"max-size": str(LOG_FILE_BYTES)}
    if facts.log_driver == "local":
        options |= {"max-file": "2", "compress": "false"}
    return {"Type": facts.log_driver, "Config": options}


def _limits(resources: Capacity, facts: EngineFacts) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if resources.cpu > 0:
        limits["NanoCpus"] = int(min(max(resources.cpu, 0.01), facts.cpus) * 1_000_000_000)
    if resources.memory > 0:
        limits["Memory"] = memory_limit(resources)
        limits["MemorySwap"] = limits["Memory"]  # the sum of both, so no swap
    return limits


def _device_requests(devices: tuple[str, ...], facts: EngineFacts) -> dict[str, Any]:
    if not devices:
        return {}
    ids = [f"{CDI_NVIDIA}{device}" for device in devices] if facts.gpu_driver == CDI else list(devices)
    return {"DeviceRequests": [{"Driver": facts.gpu_driver, "DeviceIDs": ids, "Capabilities": [["gpu"]]}]}


def memory_limit(resources: Capacity) -> int:
    return max(resources.memory, LEAST_MEMORY_BYTES)
