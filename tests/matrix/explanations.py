"""Why checks fail with peers, which the tables say below a red cell; one without an entry ends `make matrix` with 1."""

from collections.abc import Mapping

EXPLANATIONS: Mapping[str, Mapping[tuple[str, str], str]] = {
    "buckets": {},
    "nats": {},
    "engines": {},
}
"""For each part, by peer and check."""
