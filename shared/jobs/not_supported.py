"""Unsupported parts of Bacalhau's job files: each told in a sentence, with what to write instead.

The same sentences are told wherever a job comes in. None of it is ever left out silently, because the job would run
and not do what its author meant.
"""

from collections.abc import Iterator
from typing import Any

from shared.jobs.spec import InputSource, Network, SpecConfig

MANAGED_AS_YAML = "`Publisher: {Type: s3managed}`"
BRIDGE_AS_YAML = "`Network: {Type: Bridge}`"

_KEPT = "Results then go to the orchestrator's bucket, and `tarpon job get` fetches them from there."
_PUBLISHERS = {"s3", "local", "ipfs", "estuary"}
_TYPES = {
    "service": "Write `Type: batch` for what ends by itself.",
    "daemon": "Write `Type: ops` for what ends by itself on each node.",
}


def type_problem(kind: str) -> str:
    """Of a type of jobs; empty where it is none of those."""
    advice = _TYPES.get(kind, "")
    return f"{kind} is not supported yet: Tarpon runs batch and ops jobs. {advice}" if advice else ""


def publisher_problem(publisher: SpecConfig, *, instead: str = MANAGED_AS_YAML) -> str:
    """Of a publisher; empty where it is none of those. `instead` is how its author writes s3managed."""
    kind = publisher.type.strip().lower()
    if kind not in _PUBLISHERS:
        return ""
    return f"{kind} is not supported yet; write {instead} in its place. {_bucket(publisher.params) or _KEPT}"


def _bucket(params: dict[str, Any]) -> str:
    """Where the author's own bucket is named now."""
    named = next((value for key, value in params.items() if key.lower() == "bucket"), None)
    if not isinstance(named, str) or not named:
        return ""
    setting = f"Publishers.Types.S3Managed.Bucket={named[:63]}"
    return (
        f"The bucket is a setting of the orchestrator, so that no node needs its keys: for this one its operator sets"
        f" {setting!r}."
    )


_INPUTS = frozenset({"ipfs"})


def inputs_problem(sources: tuple[InputSource, ...], *, bridge: str = BRIDGE_AS_YAML) -> str:
    """`bridge` is how their author writes that a container has the engine's network."""
    kinds = sorted({source.source.type[:40] for source in sources if source.source.type.strip().lower() in _INPUTS})
    if not kinds:
        return ""
    return (
        f"inputs ({', '.join(kinds[:5])}) are not supported yet; let the task fetch what it needs. A container reaches"
        f" the network with {bridge}."
    )


def network_problems(network: Network) -> Iterator[str]:
    """Each begins with the path below the task's Network."""
    if network.type.strip().lower() == "http" or network.domains:
        yield (
            ": a network of some domains (HTTP, Domains) is not supported yet; leave Domains out, and write None, Host"
            " or Bridge as its Type."
        )
    if network.ports:
        yield (
            ".Ports: ports are not supported yet; leave them out. With `Network: {Type: Host}` a container listens on"
            " ports of the node itself."
        )
