"""What runs with which peers, in bulk: `python -m tests.matrix [--part buckets|rules|nats|engines|client|versions]`.

The tables in docs/compatibility.md, and seen.json beside this file, get the columns of the peers that were asked for.
What is not on this machine is shown as such. Ends with 1 if a check fails and explanations.py does not say why.
"""

import argparse
import os
import sys
from datetime import UTC, datetime
from typing import Any

from benchmarks.running import end_on_sigterm, tell, warn_of_load
from tests.matrix import (
    bucket_checks,
    client_checks,
    client_peers,
    engine_checks,
    engine_peers,
    nats_checks,
    page,
    rule_checks,
    version_checks,
)
from tests.matrix.cells import Check, NotHere, Peer, column
from tests.matrix.explanations import EXPLANATIONS
from tests.servers import aws_environment, without_aws

PARTS = ("buckets", "rules", "nats", "engines", "client", "versions")


def main() -> None:
    arguments = _arguments()
    end_on_sigterm()
    warn_of_load()
    _forget_aws()
    is_explained = True
    for part in [arguments.part] if arguments.part else PARTS:
        try:
            checks, peers = _part(part)
        except NotHere as error:
            tell(f"{part}: not here: {error}")
            continue
        for peer in peers:
            if not arguments.peers or peer.name in arguments.peers.split(","):
                found = column(peer, checks, datetime.now(UTC).date(), tell)
                page.write(
                    part, [found], EXPLANATIONS
                )  # now, for the run may be broken off, or another go on beside it
        for name, check in page.unexplained(page.load().get(part, []), EXPLANATIONS[part]):
            tell(f"{name}: {check}: fails, and explanations.py does not say why")
            is_explained = False
    sys.exit(not is_explained)


def _part(name: str) -> tuple[list[Check[Any]], list[Peer[Any]]]:
    if name == "buckets":
        return list(bucket_checks.CHECKS), list(bucket_checks.PEERS)
    if name == "rules":
        return list(rule_checks.CHECKS), list(rule_checks.PEERS)
    if name == "nats":
        return list(nats_checks.CHECKS), list(nats_checks.peers())
    if name == "client":
        return list(client_checks.CHECKS), list(client_peers.peers())
    if name == "versions":
        return list(version_checks.CHECKS), list(version_checks.peers())
    return list(engine_checks.CHECKS), list(engine_peers.peers())


def _forget_aws() -> None:
    """The developer's own keys, profiles and roles never matter."""
    for name in os.environ.keys() - without_aws(dict(os.environ)).keys():
        del os.environ[name]
    os.environ.update(aws_environment())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, default="", help="all, if none is named")
    parser.add_argument("--peers", default="", help="only these, separated by commas")
    return parser.parse_args()


if __name__ == "__main__":
    main()
