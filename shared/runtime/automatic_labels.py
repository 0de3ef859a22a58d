"""The labels that every node has without being given any, with the names of the reference."""

from collections.abc import Mapping

from shared.runtime.version import architecture, operating_system

NAME = "name"
OS_TYPE = "os_type"
OS_ARCH = "os_arch"


def with_automatic(labels: Mapping[str, str], name: str) -> dict[str, str]:
    """The labels of this machine's node of that name; what is automatic takes the place of what was given."""
    return {**labels, OS_TYPE: operating_system(), OS_ARCH: architecture(), NAME: name}


def overridden(labels: Mapping[str, str]) -> list[str]:
    """Those of the labels that `with_automatic` takes the place of."""
    return sorted(labels.keys() & {NAME, OS_TYPE, OS_ARCH})
