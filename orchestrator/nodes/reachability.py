"""Reachability: which nodes cannot reach the store of a publisher, as far as is known without trying."""

from collections.abc import Mapping

from orchestrator.rules.records import NodeRecord
from orchestrator.s3.bucket import Bucket
from shared.data.loopback_hosts import is_loopback
from shared.ids import NodeId
from shared.jobs.rules import MANAGED
from shared.runtime.loopback import loopback_id


def unreachable_publishers(nodes: Mapping[NodeId, NodeRecord], bucket: Bucket | None) -> dict[NodeId, dict[str, str]]:
    """For each node that is elsewhere while the endpoint of S3 is on loopback: the publisher and the reason."""
    if bucket is None:
        return {}
    endpoint = bucket.location.public_endpoint or bucket.location.endpoint
    if not is_loopback(endpoint):
        return {}
    here = loopback_id()
    reason = (
        f"cannot reach the S3 endpoint {endpoint}, which is on the orchestrator's own loopback; the operator sets"
        " Publishers.Types.S3Managed.PublicEndpoint to an address that nodes reach"
    )
    return {node: {MANAGED: reason} for node, record in nodes.items() if record.info.loopback_id != here}
