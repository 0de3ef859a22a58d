"""The labels that every node has without being given any, with the names of the reference."""

from collections.abc import Iterable, Mapping

from shared.protocol.nodes.gpus import Gpu, gpu_labels
from shared.runtime.version import architecture, operating_system

NAME = "name"
OS_TYPE = "os_type"
OS_ARCH = "os_arch"
ISOLATION = "isolation_"
"""Of an engine, whose name follows: what keeps its tasks in their place."""
_NONE: Mapping[str, str] = {}


def with_automatic(
    labels: Mapping[str, str], name: str, isolation: Mapping[str, str] = _NONE, gpus: Iterable[Gpu] = ()
) -> dict[str, str]:
    """The labels of this machine's node of that name; what is automatic takes the place of what was given."""
    given = {key: value for key, value in labels.items() if not key.startswith(ISOLATION)}
    of_engines = {f"{ISOLATION}{engine}": what for engine, what in isolation.items()}
    return {**given, OS_TYPE: operating_system(), OS_ARCH: architecture(), NAME: name, **of_engines, **gpu_labels(gpus)}


def overridden(labels: Mapping[str, str]) -> list[str]:
    """Those of the labels that `with_automatic` takes the place of."""
    return sorted(key for key in labels if key in {NAME, OS_TYPE, OS_ARCH} or key.startswith(ISOLATION))
