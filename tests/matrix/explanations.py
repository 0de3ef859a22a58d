"""Why checks fail with peers, which the tables say below a red cell; one without an entry ends `make matrix` with 1."""

from collections.abc import Mapping

EXPLANATIONS: Mapping[str, Mapping[tuple[str, str], str]] = {
    "buckets": {},
    "rules": {},
    "nats": {},
    "versions": {},
    "client": {},
    "engines": {
        ("rootless Podman", "out of memory"): (
            "This machine has cgroups v1, with which Podman puts no limits on containers of an ordinary user, and says"
            " nothing. With cgroups v2 it keeps them."
        ),
    },
}
"""For each part, by peer and check."""
